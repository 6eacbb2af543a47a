import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { eventually, outcomeOf } from "../job/harness.ts";
import { cancel, launch, nothingLeft, runs } from "./carried.ts";
import { asRoot, PLACE, runOn, startOn } from "./cluster.ts";
import { HOST_DOCKER, loadInto } from "./slurm.ts";

/* While Slurm is asked what a number is, srun is on its way: here squeue answers only when the test lets it. */

const DIRECTORY = join(PLACE, "begun");
const GATE = join(DIRECTORY, "answer");
const SQUEUE = `#!/bin/sh\nuntil [ -e ${GATE} ]; do sleep 0.1; done\nexec /usr/bin/squeue "$@"\n`;

/** @returns how it ended, and what it has printed so far */
function enter(id: string, ...options: readonly string[]) {
  const words = `PATH=${DIRECTORY}:$PATH; exec gangway ssh "$@"`;
  const child = startOn("ctl", ["sh", "-c", words, "sh", ...options, id, "hostname"]);
  return outcomeOf(child, "");
}

/** Names of the steps that run in a job, its script's aside. */
function stepsOf(id: string): string[] {
  const names = asRoot("ctl", ["squeue", "--steps", "--noheader", "--format=%j", `--jobs=${id}`]).split("\n");
  return names.map((name) => name.trim()).filter((name) => !/^(?:|batch|extern|interactive)$/.test(name));
}

let job = "";

beforeAll(async () => {
  mkdirSync(DIRECTORY, { recursive: true });
  writeFileSync(join(DIRECTORY, "squeue"), SQUEUE, { mode: 0o755 });
  for (const host of ["n1", "n2"] as const) loadInto(HOST_DOCKER, host, "debian");
  job = await launch(["-N1", "-n1", "--nodelist=n1"]);
  await runs(job);
});

beforeEach(() => rmSync(GATE, { force: true }));

afterEach(async () => {
  writeFileSync(GATE, "");
  await nothingLeft();
});

afterAll(async () => {
  await cancel(job);
  rmSync(DIRECTORY, { recursive: true, force: true });
});

test("srun is begun before Slurm has answered, and carries the session when it has", async () => {
  const session = enter(job);
  await eventually("the session's step has begun", 30, () => stepsOf(job).includes("gangway"));
  writeFileSync(GATE, "");
  expect(await session).toMatchObject({ code: 0, stdout: "n1\n", stderr: "" });
});

test("what was begun ends, unheard, where the answer is another: an array has several", async () => {
  const array = await launch(["-N1", "-n1", "--nodelist=n2", "--array=3,5"]);
  try {
    await runs(`${array}_3`, "n2");
    await runs(`${array}_5`, "n2");
    const session = enter(array);
    await eventually("a step has begun", 30, () => stepsOf(array).includes("gangway"));
    writeFileSync(GATE, "");
    const { code, stdout, stderr } = await session;
    expect({ code, stdout }).toEqual({ code: 65, stdout: "" });
    expect(stderr).toMatch(/^gangway: job \d+ is an array of 2 jobs\n {2}those that run: \d+_[35], \d+_[35]\n$/);
    await eventually("the step has ended", 30, () => stepsOf(array).length === 0);
  } finally {
    await runOn("ctl", ["scancel", array]);
  }
});

test.each([
  ["a node is named", `.n1`, []],
  ["it is tried until the job runs", "", ["--auto-retry"]],
])("nothing is begun where %s", async (_case, node, options) => {
  const session = enter(`${job}${node}`, ...options);
  await eventually("Slurm is asked", 30, () => asRoot("ctl", ["ps", "-eo", "args"]).includes(`${DIRECTORY}/squeue`));
  // Slurm takes part of a second to begin a step.
  await new Promise((resolve) => setTimeout(resolve, 1500));
  expect(stepsOf(job)).not.toContain("gangway");
  writeFileSync(GATE, "");
  expect(await session).toMatchObject({ code: 0, stdout: "n1\n", stderr: "" });
});
