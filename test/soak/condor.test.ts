import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { kill, killedAfter, nothingLeft, VICTIMS, type Victim, waitingSession } from "../condor/carried.ts";
import { CondorJob, condorUp, runThere, there } from "../condor/condor.ts";
import { IMAGES } from "../job/harness.ts";

/* From the host that submits to the rig's pool, by condor_ssh_to_job: what test/condor/submit-host.test.ts does, in full. */

const GIB = 2 ** 30;
/** SHA-256 of so many zeros. */
const SUM = "49bc20df15e412a64472421e13fe86ff1c5165e18b2afccf160d4dc19fe68a14";
const SUBMIT = { machine: "submit" } as const;

let job: CondorJob;
beforeAll(async () => {
  condorUp();
  job = await CondorJob.submit(["executable = wrapper", `arguments = "${IMAGES.debian} sleep 3600"`], SUBMIT);
  await there(["gangway", "ssh", "--auto-retry", job.cluster, "true"], SUBMIT);
});
afterAll(async () => {
  await job.remove();
  await nothingLeft();
});

describe("1 GiB to the job, and back", () => {
  it.each([
    ["up", (target: string) => `head -c ${GIB} /dev/zero | gangway ssh ${target} sha256sum`],
    ["down", (target: string) => `gangway ssh ${target} head -c ${GIB} /dev/zero | sha256sum`],
  ] as const)("%s", async (_name, script) => {
    const { code, stdout, stderr } = await runThere(["sh", "-c", script(`${job.cluster}.0`)], SUBMIT);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: `${SUM}  -\n`, stderr: "" });
    await nothingLeft();
  });
});

describe("killed at any moment, nothing is left", () => {
  it.each(Object.keys(VICTIMS) as Victim[])("%s, while a command runs", async (victim) => {
    const session = await waitingSession(job.cluster);
    kill(victim);
    expect(await session.ended).not.toBe(0);
    await nothingLeft();
  });

  it.each(Array.from({ length: 20 }, (_, n) => n * 45))("gangway, %i ms after its start", async (ms) => {
    expect(await killedAfter(job.cluster, ms)).not.toBe(0);
    await nothingLeft({ scratch: false });
  });
});
