import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DOCKER, gangway, IMAGES, inDirectory, ROOTLESS, type RunResult } from "./harness.ts";
import { HeldJob } from "./held.ts";
import { Traces } from "./traces.ts";

// A launch within a workload manager's job of one node: the manager is played by its variables. (Real ones come with
// launches across nodes.)

const engines = [DOCKER, ROOTLESS];
const here = hostname();
const slurm = { SLURM_JOB_ID: "4321", SLURM_JOB_NODELIST: here, SLURM_TASKS_PER_NODE: "3" };

let traces: Traces[];
beforeAll(async () => {
  traces = await Promise.all(engines.map((engine) => Traces.watch(engine)));
});
afterAll(async () => {
  for (const each of traces) await each.gone();
  for (const each of traces) each.close();
});

const tell = 'echo "$GANGWAY_JOB_ID $(hostname)"; sort /var/hostsfile | uniq -c | tr -s " "; ssh $(hostname) hostname';

async function launch(
  words: readonly string[],
  env: Readonly<Record<string, string>>,
  engine = DOCKER,
): Promise<RunResult> {
  return await gangway(["run", "--image", IMAGES.bare, "--pull", "never", ...words], { engine, env });
}

describe.each(engines)("in a manager's job of this node, on $name", (engine) => {
  test("a job has the manager's id, node name and slots, and its node is reached by that name", async () => {
    const result = await launch(["--", "sh", "-c", tell], slurm, engine);
    expect(result.stderr).toBe("");
    expect(result.stdout).toBe(`4321 ${here}\n 3 ${here}\n${here}\n`);
  });

  test("launches that run at once have an id each, a later one the first again", async () => {
    const wait = 'echo "$GANGWAY_JOB_ID"; sleep 3';
    const three = await Promise.all([1, 2, 3].map(() => launch(["--", "sh", "-c", wait], slurm, engine)));
    expect(three.map(({ stderr }) => stderr)).toEqual(["", "", ""]);
    expect(three.map(({ stdout }) => stdout).toSorted()).toEqual(["4321\n", "4321-2\n", "4321-3\n"]);
    expect((await launch(["--", "sh", "-c", 'echo "$GANGWAY_JOB_ID"'], slurm, engine)).stdout).toBe("4321\n");
  });
});

test.each([
  ["an array's task", { ...slurm, SLURM_ARRAY_JOB_ID: "4000", SLURM_ARRAY_TASK_ID: "7" }, "4000_7"],
  ["a component", { ...slurm, SLURM_HET_JOB_ID: "4320", SLURM_HET_JOB_OFFSET: "1" }, "4320+1"],
  ["a requeued job", { ...slurm, SLURM_RESTART_COUNT: "1" }, "4321-r1"],
])("%s is called as its manager calls it, and found by that", async (_what, env, id) => {
  const words = ["--", "sh", "-c", 'echo "$GANGWAY_JOB_ID"'];
  expect((await launch(words, env)).stdout).toBe(`${id}\n`);
});

test("HTCondor's ad is read; one that the user may not read is an error", async () => {
  await inDirectory(async (scratch) => {
    const ad = join(scratch, ".job.ad");
    writeFileSync(ad, "ClusterId = 32\nProcId = 0\nRequestCpus = 2\n");
    const result = await launch(["--", "sh", "-c", tell], { _CONDOR_JOB_AD: ad });
    expect(result.stdout).toBe(`32.0 ${here}\n 2 ${here}\n${here}\n`);
    const secret = join(scratch, "secret");
    mkdirSync(secret, { mode: 0o700 });
    writeFileSync(join(secret, ".job.ad"), "ClusterId = 1\n");
    const refused = await launch(["--", "true"], { _CONDOR_JOB_AD: join(secret, ".job.ad") });
    expect(refused.stderr).toMatch(/_CONDOR_JOB_AD: .*permission denied/);
    rmSync(secret, { recursive: true });
  });
});

test("what the user says goes before what the manager says", async () => {
  const words = ["--", "sh", "-c", 'echo "$GANGWAY_JOB_ID $(hostname)"'];
  expect((await launch(["--name", "mine", ...words], slurm)).stdout).toBe(`mine ${here}\n`);
  expect((await launch(["--nodes", "2", ...words], slurm)).stdout).toBe("4321 node1\n");
  expect((await launch(["--wlm", "none", ...words], slurm)).stdout).toMatch(/^[a-z][a-z0-9]{5} node1\n$/);
  expect((await launch(words, { ...slurm, GANGWAY_WLM: "none" })).stdout).toMatch(/ node1\n$/);
  expect((await launch(["--hosts", here, ...words], {})).stdout).toMatch(new RegExp(`^[a-z][a-z0-9]{5} ${here}\n$`));
});

test("a detached job has the manager's id as well", async () => {
  await inDirectory(async (directory) => {
    const words = ["--detach", "--output", join(directory, "out"), "--", "sh", "-c", "exit 3"];
    expect((await launch(words, slurm)).stdout).toBe("4321\n");
    expect((await gangway(["wait", "4321"])).code).toBe(3);
  });
});

test("a taken --name is an error, not another id", async () => {
  const held = await HeldJob.start();
  try {
    const result = await launch(["--name", held.id, "--", "true"], slurm);
    expect(result.code).toBe(125);
    expect(result.stderr).toContain(`there is a job "${held.id}" already`);
  } finally {
    await held.end();
  }
});

test.each([
  [{ ...slurm, SLURM_JOB_NODELIST: "n[0-999999999]" }, "more than 100000 names"],
  [{ ...slurm, SLURM_JOB_ID: "../../etc" }, 'SLURM_JOB_ID: "../../etc" is not a number'],
])("what cannot be launched is said in a line, with what to do: %j", async (env, message) => {
  const result = await launch(["--", "true"], env);
  expect(result.code).toBe(125);
  expect(result.stdout).toBe("");
  expect(result.stderr).toContain(message);
  expect(result.stderr).toMatch(/\n.*\S/);
  expect(result.stderr).not.toContain("    at ");
});
