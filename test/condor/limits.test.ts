import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { eventually, IMAGES } from "../job/harness.ts";
import { CondorJob, condorUp, nothingLeft, there } from "./condor.ts";

beforeAll(condorUp);

const jobs: CondorJob[] = [];

/** A vanilla job that runs a shell script in a container, by the example's wrapper. */
async function submit(script: string, lines: readonly string[]): Promise<CondorJob> {
  const words = ["executable = wrapper", `arguments = "${IMAGES.debian} sh ./script"`];
  const job = await CondorJob.submit([...words, "transfer_input_files = script", ...lines], { files: { script } });
  jobs.push(job);
  return job;
}

afterEach(async () => {
  for (const job of jobs.splice(0)) await job.remove();
});

/** So many MiB that are really there. */
const hog = (mebibytes: number, then: string) => `exec python3 -c '
import time
x = bytearray(${mebibytes} << 20)
x[::4096] = b"x" * len(x[::4096])
${then}
'\n`;

describe("a job whose slot has a cgroup", () => {
  test("what the command takes is the job's: HTCondor counts it", async () => {
    const job = await submit(hog(200, "time.sleep(12)"), ["request_memory = 600"]);
    expect(await job.exitCode()).toBe(0);
    const used = /Memory \(MB\) +: +(\d+)/.exec(job.read("log"))?.[1];
    expect(Number(used)).toBeGreaterThanOrEqual(200);
  });

  test("its memory is the slot's, and no more", async () => {
    const job = await submit(hog(900, 'open("never", "w")'), ["request_memory = 300"]);
    // HTCondor holds what went over; the launcher, if it was not the one that was killed, says 137.
    await eventually("it is ended", 60, async () => {
      const state = await job.attribute("JobStatus");
      return state === "5" || (state === "" && (await job.exitCode()) === 137);
    });
    await nothingLeft();
  });

  test("nor has a session more", async () => {
    const job = await submit("sleep 600\n", ["request_memory = 300"]);
    await job.running();
    const script = hog(900, 'print("too much")').replaceAll("'", "'\\''");
    const { code, stdout } = await job.ssh([`gangway shell -- sh -c '${script}'`]);
    expect(stdout).not.toContain("too much");
    expect(code).not.toBe(0);
  });

  test("condor_suspend stops command and sessions alike, condor_continue lets them go on", async () => {
    const count = (file: string) => `while :; do echo x >>${file}; sleep 0.1; done`;
    const job = await submit(`${count("command")}\n`, []);
    await job.running();
    const session = job.ssh([`gangway shell -- sh -c '${count("session")}'`]);
    const scratch = await there([
      "sh",
      "-c",
      'sed -n \'s/.*CondorScratchDir = "\\(.*\\)"/\\1/p\' "$0"/log',
      job.directory,
    ]);
    const sizes = () => there(["sh", "-c", 'cat "$0"/command | wc -l; cat "$0"/session | wc -l', scratch]);
    const grows = async () => {
      const before = (await sizes()).split("\n").map(Number);
      await new Promise((resolve) => setTimeout(resolve, 1500));
      const after = (await sizes()).split("\n").map(Number);
      return after.map((size, index) => size > (before[index] ?? 0));
    };
    await eventually("both count", 60, async () => (await grows()).every((more) => more));
    await there(["condor_suspend", job.cluster]);
    await eventually("both stand still", 60, async () => (await grows()).every((more) => !more));
    await there(["condor_continue", job.cluster]);
    await eventually("both go on", 60, async () => (await grows()).every((more) => more));
    await job.remove();
    await session;
    await nothingLeft();
  });
});
