import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually, IMAGES, INSTALL, type RunResult } from "../job/harness.ts";
import { alignQueues, asRoot, CondorJob, condorUp, runThere, there } from "./condor.ts";

/*
 * Two queues on one machine, each with a job of the same number, and both jobs' containers here. HTCondor's own command, which
 * enters the job beside its container, tells which is which by the file that the command has written.
 */

const OURS = `${INSTALL}/lib/gangway/condor/condor_ssh_to_job`;
const TELL = "readlink /proc/self/ns/pid >instance; while :; do sleep 0.2; done\n";

let second: string;
/** Of the second queue first: its launch has the plain number, 7.0, and that of this host's own queue is 7.0-2. */
let theirQueues: CondorJob;
let ownQueues: CondorJob;
let held: CondorJob;

const ours = async (words: readonly string[]) => await runThere([OURS, ...words]);
const theirs = async (words: readonly string[]) => await runThere(["condor_ssh_to_job", ...words]);
const firstLine = ({ code, stderr }: RunResult) => ({ code, said: stderr.split("\n")[0] });

async function submit(queue: readonly string[], ...lines: string[]): Promise<CondorJob> {
  const words = ["executable = wrapper", `arguments = "${IMAGES.bare} sh ./script"`, "transfer_input_files = script"];
  return await CondorJob.submit([...words, ...lines], { files: { script: TELL }, queue });
}

beforeAll(async () => {
  condorUp();
  second = `second@${asRoot(["hostname"]).trim()}`;
  const other = ["-name", second];
  await alignQueues([], other, "first");
  theirQueues = await submit(other);
  await theirQueues.running();
  ownQueues = await submit([]);
  expect(ownQueues.cluster).toBe(theirQueues.cluster);
  await ownQueues.running(`${ownQueues.cluster}.0-2`);
  held = await submit(other, "hold = true");
});

afterAll(async () => {
  for (const job of [theirQueues, ownQueues, held]) await job.remove();
  for (const queue of [[], ["-name", second]]) await there(["condor_rm", ...queue, "-all"]);
});

describe("a job's number in two queues", () => {
  test("means the job of the queue that was named, else of this host's own", async () => {
    const { cluster } = ownQueues;
    const instance = async (...words: string[]) => {
      let seen = "";
      // The starter needs a moment more, which -auto-retry takes for five seconds.
      await eventually("HTCondor's own gets in", 30, async () => {
        seen = (await theirs([...words, "cat instance"])).stdout;
        return seen !== "";
      });
      return seen;
    };
    const own = await instance(cluster);
    const other = await instance("-name", second, cluster);
    expect(own).toMatch(/^pid:/);
    expect(other).not.toBe(own);
    const tell = "readlink /proc/self/ns/pid";
    expect(await ours([cluster, tell])).toMatchObject({ code: 0, stdout: own });
    expect(await ours(["-name", second, cluster, tell])).toMatchObject({ code: 0, stdout: other });
  });

  test("is not mixed up by gangway shell in a session of HTCondor's own, which enters the container of that job", async () => {
    const { cluster } = ownQueues;
    const shell =
      "gangway shell -- printenv GANGWAY_JOB_ID; gangway shell -- readlink /proc/self/ns/pid | cmp - instance";
    expect(await theirs([cluster, shell])).toMatchObject({ code: 0, stdout: `${cluster}.0-2\n` });
    expect(await theirs(["-name", second, cluster, shell])).toMatchObject({ code: 0, stdout: `${cluster}.0\n` });
  });

  test("in a queue that is not there is nobody's; -pool alone means its own queue", async () => {
    const { cluster } = ownQueues;
    expect(firstLine(await ours(["-name", "nobody.invalid", cluster, "true"]))).toEqual({
      code: 1,
      said: "No such schedd named nobody.invalid in local pool",
    });
    const pool = await there(["condor_config_val", "COLLECTOR_HOST"]);
    expect(await ours(["-p", pool, cluster, "echo $GANGWAY_JOB_ID; exit 3"])).toMatchObject({
      code: 3,
      stdout: `${cluster}.0-2\n`,
    });
  });

  test("that only another queue has is no job here; a held one is held", async () => {
    const { cluster } = held;
    for (const words of [[cluster], ["-name", second, cluster]])
      expect(firstLine(await ours(words))).toEqual(firstLine(await theirs(words)));
    expect((await ours(["-name", second, cluster])).stderr).toMatch(/^The job is on hold: "/);
  });

  test("that is no longer in its queue is not taken for the other's", async () => {
    await there(["condor_rm", ownQueues.cluster]);
    await eventually("it has left the queue", 30, async () => (await ownQueues.attribute("JobStatus")) === "");
    const { cluster } = ownQueues;
    expect(firstLine(await ours([cluster, "true"]))).toEqual(firstLine(await theirs([cluster, "true"])));
    expect((await ours(["-name", second, cluster, "exit 3"])).code).toBe(3);
  });
});
