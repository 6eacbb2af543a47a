import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CarriedSession, cancel, launch, nothingLeft, runs, type Victim } from "../cluster/carried.ts";
import { runOn } from "../cluster/cluster.ts";
import { HOST_DOCKER, loadInto } from "../cluster/slurm.ts";

/* From the controller of the three hosts, by srun: what test/cluster/carriers.test.ts does, in full. */

const GIB = 2 ** 30;
/** SHA-256 of so many zeros. */
const SUM = "49bc20df15e412a64472421e13fe86ff1c5165e18b2afccf160d4dc19fe68a14";
const VICTIMS: readonly Victim[] = ["gangway", "ssh", "srun", "guard", "command"];

let job = "";
beforeAll(async () => {
  for (const host of ["n1", "n2"] as const) loadInto(HOST_DOCKER, host, "debian");
  job = await launch(["-N2", "--nodelist=n[1-2]"]);
  await runs(job);
});
afterAll(async () => {
  await cancel(job);
});

describe.each(["", ".n2"])("1 GiB to job%s's node, and back", (node) => {
  it.each([
    ["up", (target: string) => `head -c ${GIB} /dev/zero | gangway ssh ${target} sha256sum`],
    ["down", (target: string) => `gangway ssh ${target} head -c ${GIB} /dev/zero | sha256sum`],
  ] as const)("%s", async (_name, script) => {
    const { code, stdout, stderr } = await runOn("ctl", ["sh", "-c", script(`${job}${node}`)]);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: `${SUM}  -\n`, stderr: "" });
    await nothingLeft();
  });
});

describe("killed at any moment, nothing is left", () => {
  it.each([...VICTIMS, "far end", "slurmstepd"] as const)("%s, while a command runs", async (victim) => {
    // The far end is told from the others' by its host.
    const elsewhere = victim === "far end" || victim === "slurmstepd";
    const session = elsewhere ? new CarriedSession(`${job}.n2`, { host: "n2" }) : new CarriedSession(job);
    await session.up();
    session.kill(victim);
    expect(await session.ended).not.toBe(0);
    await nothingLeft();
  });

  it.each(Array.from({ length: 40 }, (_, n) => n * 12))("gangway, %i ms after its start", async (ms) => {
    const session = new CarriedSession(job);
    await session.killAfter(ms);
    expect(await session.ended).not.toBe(0);
    await nothingLeft();
  });
});
