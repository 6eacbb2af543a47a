import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { IMAGES } from "../job/harness.ts";
import type { HeldJob } from "../job/held.ts";
import { CARRIERS, thereAndBack } from "../reach/bulk.ts";
import { Client, OURS, STOCK, settled, startJob, WAYS } from "../reach/client.ts";

const MEBIBYTES = 1024;
const SESSIONS = 1000;

const CLIENTS = WAYS.flatMap((way) => [STOCK, OURS].map((programs) => ({ way, programs })));

let job: HeldJob;
beforeAll(async () => {
  job = await startJob({ image: IMAGES.bare });
});
afterAll(async () => {
  expect(await job.end()).toBe(0);
});

describe.each(CLIENTS)("1 GiB of random bytes by $way.name, $programs.name", ({ way, programs }) => {
  it.each(CARRIERS)("$name, there and back", async (carrier) => {
    const client = new Client(job, way, programs);
    expect(await thereAndBack(client, carrier, MEBIBYTES)).toEqual([]);
    client.close();
  });
});

interface Census {
  /** KiB of memory that init and the launcher have. */
  readonly memory: readonly number[];
  /** Their open files, the container's processes, the files of the job's directory on the host. */
  readonly counts: readonly number[];
}

async function census(client: Client): Promise<Census> {
  const { stdout } = await client.sh(
    "grep VmRSS: /proc/1/status | tr -dc '0-9\\n'; ls /proc/1/fd | wc -l; ls -d /proc/[0-9]* | wc -l",
  );
  const [init = 0, initFiles = 0, processes = 0] = stdout.trim().split("\n").map(Number);
  const launcher = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${job.pid}/status`, "utf8"))?.[1] ?? "0";
  // Logs that have grown to their limit begin anew, once.
  const files = readdirSync(job.directory, { recursive: true }).filter(
    (name) => !String(name).endsWith(".log.1"),
  ).length;
  return {
    memory: [init, Number(launcher)],
    counts: [initFiles, processes, readdirSync(`/proc/${job.pid}/fd`).length, files],
  };
}

describe.each(CLIENTS)(`${SESSIONS} sessions one after another by $way.name, $programs.name`, ({ way, programs }) => {
  it("all of them succeed, and neither side grows", async () => {
    const client = new Client(job, way, programs);
    // The first ones fill what is kept.
    for (let n = 0; n < 50; n += 1) await client.sh("true");
    const counts = async () => JSON.stringify((await census(client)).counts);
    await settled(counts);
    const before = await census(client);
    const failures: string[] = [];
    for (let n = 0; n < SESSIONS; n += 1) {
      const { code, stdout, stderr } = await client.sh(`echo ${n}`);
      if (code !== 0 || stdout !== `${n}\n` || stderr !== "") failures.push(`${n}: ${code} ${stdout}${stderr}`);
    }
    expect(failures).toEqual([]);
    await settled(counts);
    const after = await census(client);
    expect(after.counts).toEqual(before.counts);
    const [init = 0, launcher = 0] = after.memory.map((size, at) => size - (before.memory[at] ?? 0));
    expect(init).toBeLessThanOrEqual(64);
    // The launcher is a program of Node's, whose heap breathes: 1,000 leaks of 16 KiB would show.
    expect(launcher).toBeLessThanOrEqual(16_000);
    client.close();
  });
});
