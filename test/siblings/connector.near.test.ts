// The client's side of a workload manager's carrier, once the way to the node's sshd is open.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { dirname } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { BEAT } from "../../src/session/carriers/frames.ts";
import { copyNear } from "../../src/session/carriers/near.ts";
import { connection, take } from "./connections.ts";
import { buildAll, cleanUp, isAlive, Started, startedIn, until } from "./helpers.ts";

const { connector } = buildAll();
const SILENCE_MS = 600;
/** Where silence is not what is tried. */
const LONG_MS = 30_000;
const FIN = Buffer.from("f\0\0\0");

/** What this file has started and is still there. */
function running(): number[] {
  return startedIn([dirname(connector)]).filter((pid) =>
    readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("--near"),
  );
}

afterEach(async () => {
  for (const pid of running()) process.kill(pid, "SIGKILL");
  await cleanUp();
});

function data(text: string): Buffer {
  const bytes = Buffer.from(text);
  const head = Buffer.from("d\0\0\0");
  head.writeUIntBE(bytes.length, 1, 3);
  return Buffer.concat([head, bytes]);
}

async function start({ silenceMs = LONG_MS, padding = 0, before = "" } = {}) {
  const [client, carrier] = [await connection(), await connection()];
  if (before !== "") carrier.inside.unshift(data(before));
  const side = { incoming: carrier.inside, outgoing: carrier.inside, connector, silenceMs, padding };
  const cut = copyNear(client.inside, side);
  const said: Buffer[] = [];
  carrier.outside.on("data", (chunk: Buffer) => said.push(chunk));
  // This process has a copy of each, by which a connection would stay open.
  void cut.then(() => client.inside.destroy());
  return { cut, client: client.outside, carrier: carrier.outside, said: () => Buffer.concat(said) };
}

async function closed(socket: Socket): Promise<void> {
  await until("the client is left", () => socket.readableEnded || socket.destroyed);
}

/** Of a socket that another process is to have. */
function descriptorOf(socket: Socket): number {
  return (socket as unknown as { _handle: { fd: number } })._handle.fd;
}

/** As `S`. */
function stateOf(pid: number): string {
  return /^State:\s*(\S)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "";
}

describe("connector --near", () => {
  it("gives the client what was read before, and then what comes, and sends on what the client says", async () => {
    const { cut, client, carrier, said } = await start({ before: "SSH-2.0-before\r\n" });
    const got = take(client, 21);
    carrier.write(data("then\n"));
    expect(String(await got)).toBe("SSH-2.0-before\r\nthen\n");
    client.write("hello");
    await until("it is said", () => said().includes("hello"));
    client.destroy();
    expect(await cut).toBe(false);
    expect(said().equals(Buffer.concat([BEAT, data("hello"), FIN]))).toBe(true);
  });

  it("puts padding behind what is small, and a newline of it behind nothing else", async () => {
    const { client, said } = await start({ padding: 100 });
    client.write("small");
    const padding = Buffer.concat([Buffer.from("p\0\0\x64"), Buffer.alloc(99), Buffer.from("\n")]);
    await until("it is said", () => said().length >= 2 * BEAT.length + 5 + padding.length);
    expect(said().equals(Buffer.concat([BEAT, data("small"), padding]))).toBe(true);
    client.write("x".repeat(200));
    await until("more is said", () => said().includes("x".repeat(200)));
    await pause(20);
    expect(
      said()
        .subarray(-204)
        .equals(data("x".repeat(200))),
    ).toBe(true);
  });

  it("ends with the sshd, when the client has all of it", async () => {
    const { cut, client, carrier } = await start();
    const got = take(client, Number.POSITIVE_INFINITY);
    carrier.write(Buffer.concat([data("the last"), FIN]));
    expect(String(await got)).toBe("the last");
    expect(await cut).toBe(false);
  });

  it.each([
    ["a carrier that ends without a word", (carrier: Socket) => carrier.end()],
    ["what is no frame", (carrier: Socket) => carrier.write("x\0\0\0")],
    ["a frame that is too long", (carrier: Socket) => carrier.write(Buffer.from("d\xff\xff\xff", "latin1"))],
  ])("%s is cut", async (_name, act) => {
    const { cut, client, carrier } = await start();
    client.resume();
    act(carrier);
    expect(await cut).toBe(true);
    await closed(client);
  });

  it("silence is cut, beats are none", async () => {
    const { cut, carrier, said } = await start({ silenceMs: SILENCE_MS });
    const timer = setInterval(() => carrier.write(BEAT), SILENCE_MS / 4);
    await until("it beats, too", () => said().length > 8 * BEAT.length);
    clearInterval(timer);
    expect(await cut).toBe(true);
  });

  it("carries each direction to its own end", async () => {
    const { cut, client, carrier, said } = await start();
    client.end("the question");
    await until("its end is said", () => said().includes(FIN));
    const got = take(client, Number.POSITIVE_INFINITY);
    carrier.write(Buffer.concat([data("the answer"), FIN]));
    expect(String(await got)).toBe("the answer");
    expect(await cut).toBe(false);
  });

  it("passes on all that a carrier has brought, also when that has gone meanwhile and the client is slow", async () => {
    const { cut, client, carrier } = await start();
    const all = Buffer.alloc(3_000_000, "0123456789");
    const frames = [];
    for (let at = 0; at < all.length; at += 1_000_000) frames.push(data(String(all.subarray(at, at + 1_000_000))));
    carrier.end(Buffer.concat([...frames, FIN]));
    carrier.once("finish", () => carrier.destroy());
    await pause(200);
    expect((await take(client, Number.POSITIVE_INFINITY)).equals(all)).toBe(true);
    expect(await cut).toBe(false);
  });

  it("a client that went is not waited for, where the carrier takes nothing any more", async () => {
    const { cut, client, carrier } = await start();
    carrier.pause();
    const feed = () => {
      while (client.write(Buffer.alloc(65_536))) {}
    };
    client.on("drain", feed);
    feed();
    await pause(300);
    client.destroy();
    expect(await cut).toBe(false);
  });

  it("where the client reads and writes by two, it ends with whoever reads", async () => {
    const [writes, reads, carrier] = [await connection(), await connection(), await connection()];
    const descriptors = { from: descriptorOf(writes.inside), to: descriptorOf(reads.inside) };
    const side = { incoming: carrier.inside, outgoing: carrier.inside, connector, silenceMs: LONG_MS, padding: 0 };
    const cut = copyNear(descriptors, side);
    await until("it runs", () => running().length === 1);
    reads.outside.destroy();
    expect(await cut).toBe(false);
  });

  it.each(["incoming", "outgoing"])("a carrier whose %s stream had ended before is cut", async (which) => {
    const [client, carrier, other] = [await connection(), await connection(), await connection()];
    const ended = other.inside;
    await new Promise((resolve) => ended.once("close", resolve).destroy());
    const streams = { incoming: carrier.inside, outgoing: carrier.inside, [which]: ended };
    expect(await copyNear(client.inside, { ...streams, connector, silenceMs: LONG_MS, padding: 0 })).toBe(true);
  });

  it("does not outlive who started it", async () => {
    // The shell does not read: what it has in common with its child does not block any more.
    const script = 'exec 6<&0; "$0" --near 30000 0 <&6 3</dev/null 4<&6 5>&1 & echo $!; wait';
    const parent = spawn("/bin/sh", ["-c", script, connector], { stdio: ["pipe", "pipe", "ignore"] });
    const pid = Number(await new Promise((resolve) => parent.stdout?.once("data", (text) => resolve(String(text)))));
    await until("it waits", () => stateOf(pid) === "S");
    parent.kill("SIGKILL");
    await until("it is gone", () => !isAlive(pid));
  });

  it.each([[[]], [["600"]], [["1", "0"]], [["600", "99999999"]], [["600", "0", "more"]], [["600", "0"]]])(
    "words that are none, or descriptors that are not there, are refused: %j",
    async (words) => {
      const started = new Started(connector, ["--near", ...words]);
      expect(await started.ended).toBe(1);
      expect(started.err()).toMatch(/^connector: usage: /);
    },
  );
});
