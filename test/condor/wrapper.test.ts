import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { eventually, IMAGES, OTHER, USER } from "../job/harness.ts";
import { inPart } from "../whole.ts";
import { CondorJob, condorUp, nothingLeft, nothingRuns, runBase, runThere, there } from "./condor.ts";

beforeAll(condorUp);

const jobs: CondorJob[] = [];

/** A vanilla job that runs a shell script in a container, by the example's wrapper. */
async function submit(script: string, lines: readonly string[] = []): Promise<CondorJob> {
  const words = ["executable = wrapper", `arguments = "${IMAGES.debian} sh ./script 'a  b' c"`];
  const job = await CondorJob.submit([...words, "transfer_input_files = script", ...lines], { files: { script } });
  jobs.push(job);
  return job;
}

afterEach(async () => {
  for (const job of jobs.splice(0)) await job.remove();
});

describe("a vanilla job whose executable is the job wrapper", () => {
  test("HTCondor has its files and exit code, and its arguments reach the command as they were written", async () => {
    const job = await submit('for word; do echo "<$word>"; done; cat; echo problem >&2; echo made >result; exit 7\n', [
      "input = log",
      "request_cpus = 2",
    ]);
    expect(await job.exitCode()).toBe(7);
    expect(job.read("out")).toMatch(/^<a {2}b>\n<c>\n/);
    // Its stdin: the log, as it was when the job began.
    expect(job.read("out")).toContain("Job submitted from host");
    expect(job.read("err")).toBe("problem\n");
    // What the command leaves in its directory, HTCondor brings home.
    expect(job.read("result")).toBe("made\n");
    await nothingLeft();
  });

  test("the job lends its id and its cpus, its environment and its directories", async () => {
    const script = `echo $GANGWAY_JOB_ID $GANGWAY_NODE_SLOTS $OMP_NUM_THREADS; echo "$COLOUR"
      [ "$PWD" = "$_CONDOR_SCRATCH_DIR" ] && [ -r "$_CONDOR_JOB_AD" ] && echo scratch
      touch /tmp/here && [ -e "$_CONDOR_SCRATCH_DIR/tmp/here" ] && echo tmp\n`;
    const job = await submit(script, ["request_cpus = 3", "environment = \"COLOUR='deep  blue'\""]);
    expect(await job.exitCode()).toBe(0);
    expect(job.read("out")).toBe(`${job.cluster}.0 3 3\ndeep  blue\nscratch\ntmp\n`);
  });

  test("a command that a signal ends has 128 and the signal's number, as in a shell", async () => {
    const job = await submit("kill -KILL $$\n");
    expect(await job.exitCode()).toBe(137);
  });

  test("a launch that fails is an exit code of its own, with the reason in the job's stderr", async () => {
    const job = await CondorJob.submit(["executable = wrapper", 'arguments = "gangway-test/missing true"']);
    jobs.push(job);
    expect(await job.exitCode()).toBe(125);
    expect(job.read("err")).toContain("gangway-test/missing");
  });

  test("a directory that is the job's own, of a name that this machine has too, is not mixed up", async () => {
    const script = `#!/bin/sh
PATH=/usr/local/bin:/usr/bin:/bin
export PATH
echo mine >/tmp/mine
exec gangway run --image $1 --volume /tmp:/data -- cat /data/mine
`;
    const lines = ["executable = own", `arguments = "${IMAGES.debian}"`];
    const job = await CondorJob.submit(lines, { files: { own: script } });
    jobs.push(job);
    expect(await job.exitCode()).toBe(0);
    expect(job.read("out")).toBe("mine\n");
    await nothingLeft();
  });

  test("another user's job has no part in it: without a right to the engine it says whose it is", async () => {
    const lines = ["executable = wrapper", `arguments = "${IMAGES.debian} id"`];
    const job = await CondorJob.submit(lines, { user: OTHER });
    jobs.push(job);
    expect(await job.exitCode()).toBe(125);
    expect(job.read("err")).toContain("no permission on the engine's socket");
  });
});

describe("its end", () => {
  const SLEEPER = "echo begun\nsleep 600\n";
  /** Ignores what can be ignored, and has a child of another session. */
  const STUBBORN = "trap '' TERM HUP INT\nsetsid sleep 600 &\nwhile :; do sleep 1; done\n";

  async function end(job: CondorJob, command: string, options: readonly string[] = []): Promise<void> {
    await job.running();
    // Whoever is evicted would begin again at once.
    if (command === "condor_vacate_job") await there(["condor_qedit", job.cluster, "Requirements", "false"]);
    await there([command, ...options, job.cluster]);
  }

  const commands = ["condor_rm", "condor_hold", "condor_vacate_job"];

  test.each(inPart(commands, (command) => command !== "condor_hold"))("by %s leaves nothing of it", async (command) => {
    await end(await submit(SLEEPER), command);
    await nothingLeft();
  });

  const forced = [
    { by: "condor_rm", options: [] },
    { by: "condor_vacate_job", options: ["-fast"] },
  ];

  test.each(inPart(forced, ({ by }) => by === "condor_vacate_job"))(
    "by $by $options of what does not obey: all that runs is killed, and the next `gangway gc` clears the rest",
    async ({ by, options }) => {
      await end(await submit(STUBBORN, ["kill_sig_timeout = 4"]), by, options);
      await nothingRuns();
      await there(["gangway", "gc"]);
      await nothingLeft();
    },
  );

  test("a job that was held and released begins again, with an id of its own", async () => {
    const job = await submit("while [ ! -e go ]; do sleep 0.1; done; echo $GANGWAY_JOB_ID\n");
    await job.running();
    await there(["condor_hold", job.cluster]);
    await eventually("it is held", 30, async () => (await job.attribute("JobStatus")) === "5");
    await nothingLeft();
    await there(["condor_release", job.cluster]);
    await job.running(`${job.cluster}.0-r1`);
    await there(["gangway", "shell", `${job.cluster}.0-r1`, "--", "true"]);
    job.release();
    expect(await job.exitCode()).toBe(0);
    expect(job.read("out")).toBe(`${job.cluster}.0-r1\n`);
  });

  test("a time limit of the submit file ends it", async () => {
    const job = await submit(SLEEPER, ["allowed_execute_duration = 4"]);
    await job.running();
    await eventually("it is held", 90, async () => (await job.attribute("JobStatus")) === "5");
    expect(await job.attribute("HoldReason")).toContain("allowed execute duration");
    await nothingLeft();
  });

  test("its private files are the user's alone, and in memory", async () => {
    const job = await submit("while [ ! -e go ]; do sleep 0.1; done\n");
    await job.running();
    expect(await there(["stat", "-c", "%a %U", runBase()])).toBe("700 gangway-test");
    expect((await runThere(["ls", runBase()], { user: OTHER })).code).not.toBe(0);
    // HTCondor tells everybody whose job it is.
    const other = await runThere(["gangway", "ssh", `${job.cluster}.0`, "true"], { user: OTHER });
    expect(other).toMatchObject({ code: 77, stderr: expect.stringContaining(USER.name) as string });
  });
});
