import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, IMAGES } from "../job/harness.ts";
import type { HeldJob } from "../job/held.ts";
import { WHOLE } from "../whole.ts";
import { Client, OURS, SOCKET, STOCK, settled, startJob, TCP } from "./client.ts";

/** Signals whose default action ends a process, as sh names them where it does. */
const DEADLY = [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 31, 34, 64];

describe.each([
  { image: "bare", way: SOCKET, programs: STOCK },
  { image: "debian", way: TCP, programs: OURS },
  { image: "scratch", way: SOCKET, programs: OURS },
] as const)("$image image, by $way.name, $programs.name", ({ image, way, programs }) => {
  const probe = image === "scratch" ? "/probe" : "probe";
  let job: HeldJob;
  let client: Client;
  beforeAll(async () => {
    job = await startJob({ image: IMAGES[image], words: ["--ulimit", "core=0"] });
    client = new Client(job, way, programs);
    await client.openMaster();
  });
  afterAll(async () => {
    await client.closeMaster();
    client.close();
    expect(await job.end()).toBe(0);
  });

  /** The status of a command for each number, many at once over one connection. */
  async function statuses(numbers: readonly number[], command: (n: number) => string): Promise<Map<number, number>> {
    const found = new Map<number, number>();
    const waiting = [...numbers];
    const worker = async () => {
      for (let n = waiting.shift(); n !== undefined; n = waiting.shift()) {
        found.set(n, (await client.sh(command(n))).code);
      }
    };
    await Promise.all([worker(), worker(), worker(), worker()]);
    return new Map(numbers.map((n) => [n, found.get(n) ?? -1]));
  }

  it("every exit code from 0 to 255", async () => {
    const all = Array.from({ length: 256 }, (_, n) => n);
    expect(await statuses(all, (n) => `exit ${n}`)).toEqual(new Map(all.map((n) => [n, n])));
  });

  it("death by a signal is 128+n", async () => {
    const expected = new Map(DEADLY.map((n) => [n, 128 + n]));
    expect(await statuses(DEADLY, (n) => `exec ${probe} kill ${n}`)).toEqual(expected);
  });

  it("the same without a control master", async () => {
    const alone = ["-o", "ControlPath=none", client.host()];
    expect(await client.ssh([...alone, "exit 255"])).toMatchObject({ code: 255, stderr: "" });
    expect(await client.ssh([...alone, "exit 7"])).toMatchObject({ code: 7, stderr: "" });
    expect(await client.ssh([...alone, `exec ${probe} kill 15`])).toMatchObject({ code: 143 });
    expect(await client.ssh([...alone, "no-such-program"])).toMatchObject({ code: 127 });
  });

  it("the streams: each of its own, ended each by itself", async () => {
    expect(await client.sh(`${probe} both`)).toMatchObject({ code: 0, stdout: "out\n", stderr: "err\n" });
    // What comes after the end of the input, and input that nobody reads.
    expect(await client.sh(`${probe} wc`, { input: "12345" })).toMatchObject({ code: 0, stdout: "5\n" });
    const early = await client.sh(`${probe} early 2`, { input: Buffer.alloc(1_000_000) });
    expect(early).toMatchObject({ code: 0, stdout: expect.stringContaining("late") as string });
  });

  it("what a client that is killed ran is gone with it; what called setsid stays; the job goes on", async () => {
    const alone = ["-o", "ControlPath=none", client.host()];
    const child = client.start([...alone, `echo in; setsid sleep 4321 >/dev/null 2>&1 </dev/null & sleep 1234`]);
    await new Promise((resolve) => child.stdout.once("data", resolve));
    const running = async (seconds: number) => (await client.sh(`pgrep -x -f 'sleep ${seconds}'`)).stdout !== "";
    await eventually("both run", 20, async () => (await running(1234)) && (await running(4321)));
    child.kill("SIGKILL");
    await eventually("the command is gone", 20, async () => !(await running(1234)));
    expect(await running(4321)).toBe(true);
    expect(await client.sh("pkill -x -f 'sleep 4321'")).toMatchObject({ code: 0 });
    expect((await client.sh("echo still here")).stdout).toBe("still here\n");
  });
});

describe("many sessions", () => {
  const SESSIONS = WHOLE ? 100 : 50;
  let job: HeldJob;
  beforeAll(async () => {
    job = await startJob({ image: IMAGES.bare });
  });
  afterAll(async () => {
    expect(await job.end()).toBe(0);
  });

  /** What is in the container: processes, but for the session's own, and init's descriptors. */
  async function census(client: Client): Promise<string> {
    return (await client.sh("ls /proc/1/fd | wc -l; ps -o comm | sort | uniq -c; ls -A /run/gangway")).stdout;
  }

  it.each([SOCKET, TCP])(`${SESSIONS} at once by $name, and nothing of them stays`, async (way) => {
    const client = new Client(job, way);
    const before = await settled(() => census(client));
    // Each waits until all are there.
    const meet = `echo >/w/here.$N; while [ "$(ls /w | wc -l)" -lt ${SESSIONS} ]; do sleep 0.2; done; echo met $N`;
    const results = await Promise.all(
      Array.from({ length: SESSIONS }, (_, n) => client.sh(`N=${n}; ${meet}`).then((result) => [n, result] as const)),
    );
    for (const [n, result] of results) expect.soft(result).toMatchObject({ code: 0, stdout: `met ${n}\n`, stderr: "" });
    expect((await client.sh("rm /w/here.*")).code).toBe(0);
    await eventually("the container is as it was", 20, async () => (await census(client)) === before);
    client.close();
  });

  it(`${SESSIONS} at once on one connection`, async () => {
    const client = new Client(job);
    await client.openMaster();
    const before = await settled(() => census(client));
    const all = await Promise.all(Array.from({ length: SESSIONS }, (_, n) => client.sh(`sleep 1; echo ${n}`)));
    expect(all.map(({ stdout }) => stdout)).toEqual(all.map((_, n) => `${n}\n`));
    await eventually("the container is as it was", 20, async () => (await census(client)) === before);
    await client.closeMaster();
    client.close();
  });
});
