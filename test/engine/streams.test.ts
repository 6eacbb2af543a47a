import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { ContainerSpec, Engine } from "../../src/engine/types.ts";
import { inPart } from "../whole.ts";
import {
  IMAGE,
  loadContractImage,
  open,
  readBoth,
  removeImages,
  run,
  specOf,
  sweep,
  testEngines,
  until,
} from "./support.ts";

const MIB = 1 << 20;

/** Reads with pauses, as a slow terminal or disk does. */
async function digestSlowly(source: Readable): Promise<{ digest: string; bytes: number }> {
  const hash = createHash("sha256");
  let bytes = 0;
  let pauseAt = MIB / 16;
  for await (const chunk of source as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
    if (bytes >= pauseAt) {
      pauseAt += MIB / 16;
      await sleep(1);
    }
  }
  return { digest: hash.digest("hex"), bytes };
}

/** As `yes`. */
function endlessly(): Readable {
  return new Readable({
    read() {
      this.push(Buffer.alloc(65_536, "y\n"));
    },
  });
}

// Both Podmans are one program.
describe.each(inPart(testEngines(), ({ name }) => name !== "podman"))("streams on $name", (target) => {
  let engine: Engine;
  let image: string;
  const shell = (script: string, changes: Partial<ContainerSpec> = {}): ContainerSpec =>
    specOf(target, image, { argv: ["/bin/sh", "-c", script], ...changes });

  beforeAll(async () => {
    engine = open(target);
    await loadContractImage(target.socket);
    image = (await engine.inspectImage(IMAGE))?.id ?? "";
  });

  afterEach(() => sweep(engine));
  afterAll(async () => {
    await removeImages(target.socket, IMAGE);
    engine.close();
  });

  test("keep standard output and error apart", async () => {
    const { stdout, stderr } = await run(engine, shell("echo out; echo err >&2; printf last"));
    expect({ stdout, stderr }).toEqual({ stdout: "out\nlast", stderr: "err\n" });
  });

  test("lose nothing of a command that ends at once", async () => {
    for (let round = 0; round < 10; round++) {
      const { stdout } = await run(engine, shell(`echo ${round}; exit 1`));
      expect(stdout).toBe(`${round}\n`);
    }
  });

  test("end standard input where the caller ends it, before the start too", async () => {
    expect((await run(engine, shell("wc -l"))).stdout.trim()).toBe("0");
    expect((await run(engine, shell("cat; echo end"), "half")).stdout).toBe("halfend\n");
  });

  test("bring output that comes after standard input's end", async () => {
    const id = await engine.create(shell("cat; sleep 0.5; echo late; sleep 0.2; echo later >&2"));
    const attachment = await engine.attach(id, false);
    const outputs = readBoth(attachment);
    await engine.start(id);
    attachment.stdin.end("early ");
    const [stdout, stderr] = await outputs;
    expect([stdout.toString(), stderr.toString()]).toEqual(["early late\n", "later\n"]);
  });

  test("talk to and fro while they are open", async () => {
    const id = await engine.create(shell('while read -r line; do echo "got $line"; done'));
    const attachment = await engine.attach(id, false);
    await engine.start(id);
    for (const word of ["one", "two"]) {
      attachment.stdin.write(`${word}\n`);
      const [chunk] = (await once(attachment.stdout, "data")) as [Buffer];
      expect(chunk.toString()).toBe(`got ${word}\n`);
    }
    attachment.stdin.end();
    attachment.stdout.resume();
    await once(attachment.stdout, "end");
  });

  test("carry 64 MiB each way, whole, at the pace of a slow reader", async () => {
    const data = randomBytes(64 * MIB);
    const id = await engine.create(shell("cat; echo done >&2"));
    const attachment = await engine.attach(id, false);
    const digested = digestSlowly(attachment.stdout);
    attachment.stderr.resume();
    await engine.start(id);
    attachment.stdin.end(data);
    expect(await digested).toEqual({ digest: createHash("sha256").update(data).digest("hex"), bytes: data.length });
  });

  test("hold the command back while nobody reads", async () => {
    const id = await engine.create(shell("head -c 67108864 /dev/zero; echo done >&2"));
    const attachment = await engine.attach(id, false);
    await engine.start(id);
    let done = false;
    attachment.stderr.on("data", () => {
      done = true;
    });
    await sleep(500);
    // What has been taken off the wire, and waits, is a few pieces, not the 64 MiB.
    expect(attachment.stdout.readableLength).toBeLessThan(MIB);
    expect(done).toBe(false);
    expect((await digestSlowly(attachment.stdout)).bytes).toBe(64 * MIB);
    await until("standard error came", () => done);
  });

  test("go on for one output when the other is dropped", async () => {
    const id = await engine.create(shell("head -c 8388608 /dev/zero; echo after >&2"));
    const attachment = await engine.attach(id, false);
    attachment.stdout.destroy();
    const [stderr] = await Promise.all([attachment.stderr.toArray(), engine.start(id)]);
    expect(Buffer.concat(stderr as Buffer[]).toString()).toBe("after\n");
  });

  test("survive a command that does not read its input", async () => {
    const id = await engine.create(shell("exec <&-; echo out"));
    const attachment = await engine.attach(id, false);
    const outputs = readBoth(attachment);
    await engine.start(id);
    attachment.stdin.end(Buffer.alloc(4 * MIB));
    expect((await outputs)[0].toString()).toBe("out\n");
  });

  test("bring the last byte of a command that never read its endless input", async () => {
    for (let round = 0; round < 5; round++) {
      const id = await engine.create(shell("head -c 262144 /dev/zero; echo last"));
      const attachment = await engine.attach(id, false);
      const output = digestSlowly(attachment.stdout);
      attachment.stderr.resume();
      await engine.start(id);
      endlessly().pipe(attachment.stdin);
      expect((await output).bytes).toBe(262_144 + "last\n".length);
      attachment.destroy();
      await engine.remove(id);
    }
  });

  test("end the command's input when the caller vanishes", async () => {
    const id = await engine.create(shell("cat >/dev/null; exit 9"));
    const attachment = await engine.attach(id, false);
    await engine.start(id);
    attachment.destroy();
    await until("the command has ended", async () => (await engine.inspect(id))?.running === false);
    expect((await engine.inspect(id))?.exitCode).toBe(9);
  });

  test("are one raw stream on a terminal", async () => {
    const id = await engine.create(
      shell("test -t 0 && echo terminal; echo err >&2; read -r line; echo $line", { tty: true }),
    );
    const attachment = await engine.attach(id, true);
    const outputs = readBoth(attachment);
    await engine.start(id);
    attachment.stdin.write("typed\n");
    const [stdout, stderr] = await outputs;
    expect(stdout.toString().replaceAll("typed\r\n", "")).toBe("terminal\r\nerr\r\n");
    expect(stdout.toString().split("typed\r\n").length).toBe(3);
    expect(stderr.length).toBe(0);
  });

  test("are at their end without standard input too", async () => {
    const { stdout } = await run(engine, shell("cat; echo end", { openStdin: false }));
    expect(stdout).toBe("end\n");
  });
});
