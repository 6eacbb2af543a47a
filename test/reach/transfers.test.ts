import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, IMAGES, run } from "../job/harness.ts";
import type { HeldJob } from "../job/held.ts";
import { inPart } from "../whole.ts";
import { CARRIERS, randomFile, sum, thereAndBack } from "./bulk.ts";
import { Client, OURS, quoted, SOCKET, STOCK, settled, startJob, TCP } from "./client.ts";

const MEBIBYTES = 64;

let job: HeldJob;
beforeAll(async () => {
  job = await startJob({ image: IMAGES.bare });
});
afterAll(async () => {
  expect(await job.end()).toBe(0);
});

describe.each([
  { way: SOCKET, programs: STOCK },
  { way: TCP, programs: STOCK },
  { way: SOCKET, programs: OURS },
])(`${MEBIBYTES} MiB of random bytes by $way.name, $programs.name`, ({ way, programs }) => {
  const first = way === SOCKET && programs === STOCK;

  it.each(inPart(CARRIERS, ({ name }) => first || ["scp", "rsync"].includes(name)))(
    "$name, there and back",
    async (carrier) => {
      const client = new Client(job, way, programs);
      expect(await thereAndBack(client, carrier, MEBIBYTES)).toEqual([]);
      client.close();
    },
  );

  it("a reader that sleeps first, on either side, loses nothing", async () => {
    const client = new Client(job, way, programs);
    randomFile(client.path("slow"), 8);
    const ssh = client.argv([client.host()]).map(quoted).join(" ");
    const script = `${ssh} 'sleep 1; cat' <slow | { sleep 2; sha256sum; }`;
    const result = await run(["/bin/bash", "-o", "pipefail", "-c", script], { cwd: client.directory });
    expect(result).toMatchObject({ code: 0, stderr: "", stdout: `${await sum(client.path("slow"))}  -\n` });
    client.close();
  });

  it.each([
    ["an upload", "cat >/t/half", true],
    ["a download", "cat /dev/zero", false],
  ] as const)("a client killed amid %s: nothing of it stays, the job is unharmed", async (_, command, sends) => {
    const client = new Client(job, way, programs);
    const processes = async () => (await client.sh("ps -o comm | sort | uniq -c")).stdout;
    const before = await settled(processes);
    const child = client.start([client.host(), command]);
    if (sends) {
      const feed = () => {
        while (child.stdin.writable && child.stdin.write(Buffer.alloc(65_536))) {}
      };
      child.stdin.on("drain", feed);
      feed();
      await eventually("it flows", 20, async () => (await client.sh("test -s /t/half")).code === 0);
    } else {
      await new Promise((resolve) => child.stdout.once("data", resolve));
    }
    child.kill("SIGKILL");
    await eventually("the container is as it was", 20, async () => (await processes()) === before);
    await client.sh("rm -f /t/half");
    client.close();
  });
});

it("a killed rsync leaves no process, and the transfer can be repeated", async () => {
  const client = new Client(job);
  randomFile(client.path("data"), MEBIBYTES);
  const processes = async () => (await client.sh("ps -o comm | sort | uniq -c")).stdout;
  const before = await settled(processes);
  const ssh = client.argv([]).join(" ");
  const limited = ["/usr/bin/rsync", "--bwlimit=1m", "-e", ssh, client.path("data"), `${client.host()}:/t/data`];
  // By timeout(1), which kills the whole of its process group, as a machine that is switched off does.
  await run(["timeout", "-s", "KILL", "1", ...limited], { cwd: client.directory });
  await eventually("the container is as it was", 20, async () => (await processes()) === before);
  expect(await client.rsync([client.path("data"), `${client.host()}:/t/data`])).toMatchObject({ code: 0, stderr: "" });
  const digest = await sum(client.path("data"));
  expect((await client.sh("sha256sum /t/data")).stdout).toBe(`${digest}  /t/data\n`);
  await client.sh("rm -f /t/data /t/.data*");
  client.close();
});

it("binary bytes of every value, in both directions on both streams", async () => {
  const client = new Client(job);
  const bytes = Buffer.from(Array.from({ length: 256 * 256 }, (_, n) => (n * 31 + (n >> 8)) % 256));
  const result = await client.sh("tee /dev/stderr | cat", { input: bytes });
  const hash = (data: Buffer) => createHash("sha256").update(data).digest("hex");
  expect(hash(result.bytes)).toBe(hash(bytes));
  client.close();
});
