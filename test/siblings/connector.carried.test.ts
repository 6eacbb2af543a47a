// The end of a carrier on a job's host: for the commonest case it is the connector, for all else it executes gangway.
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { afterEach, describe, expect, it } from "vitest";
import { BEAT, RESTING } from "../../src/session/carriers/frames.ts";
import { copyNear } from "../../src/session/carriers/near.ts";
import { parseReply, readMarkedLine, renderLine } from "../../src/session/carriers/words.ts";
import { connection, take } from "./connections.ts";
import { buildAll, cleanUp, makeDirectory, Started, until } from "./helpers.ts";

const { connector } = buildAll();
const SILENCE_MS = 600;
const KEY = `ssh-ed25519 ${"A".repeat(68)} gangway session`;
/** Where silence is not what is tried: the machine may have other things to do for a while. */
const LONG_MS = 30_000;
const request = (silenceMs: number) => renderLine({ op: "sign", job: "7", publicKey: KEY, silenceMs });
const REQUEST = request(SILENCE_MS);
const RECORD = '{"job":"7","user":"ann",\n"udiImage":"/opt/tree","nodes":[{"name":"n1"}]}\n';
const ANSWER = { kind: "signed", certificate: `ssh-ed25519-cert-v01@openssh.com ${"C".repeat(80)}`, serial: "1" };
const SIGNED = { ...ANSWER, authority: `ssh-ed25519 ${"B".repeat(68)}`, expires: "2026-01-01T00:00:00Z" };

const servers: Server[] = [];
afterEach(async () => {
  for (const child of processes.splice(0)) child.kill("SIGKILL");
  for (const server of servers.splice(0)) server.close();
  await cleanUp();
});

async function listen(path: string, take: (socket: Socket) => void): Promise<void> {
  const server = createServer({ allowHalfOpen: true }, (socket) => take(socket.on("error", () => undefined)));
  servers.push(server);
  await new Promise<void>((done) => server.listen(path, done));
}

/** A job's directory, its launcher and its head's sshd, which says every byte again. */
async function makeJob({ answer = JSON.stringify(SIGNED) } = {}) {
  const base = makeDirectory();
  chmodSync(base, 0o700);
  const job = join(base, "7");
  mkdirSync(join(job, "0"), { recursive: true, mode: 0o700 });
  writeFileSync(join(job, "job.json"), RECORD, { mode: 0o644 });
  const asked: string[] = [];
  await listen(join(job, "launcher.sock"), (socket) => {
    socket.on("data", (chunk: Buffer) => {
      asked.push(chunk.toString());
      socket.end(answer === "" ? "" : `${answer}\n`);
    });
  });
  const sockets: Socket[] = [];
  await listen(join(job, "0/ssh"), (socket) => {
    sockets.push(socket);
    socket.pipe(socket);
  });
  const program = join(base, "program");
  writeFileSync(program, '#!/bin/sh\necho "$1"\ncat\n', { mode: 0o755 });
  return { base, job, asked, sockets, program };
}

/** Its streams may be given to another process, which Started would wait for. */
const processes: ChildProcess[] = [];

function startToGive(job: { base: string; program: string }, padding: string) {
  const words = ["--carried", job.program, "7", String(LONG_MS), padding, job.base];
  const child = spawn(connector, words, { stdio: ["pipe", "pipe", "inherit"] });
  processes.push(child);
  return { child, stdin: child.stdin as Writable, stdout: child.stdout as Readable };
}

function start(
  job: { base: string; program: string },
  { id = "7", padding = "0", base = job.base, silenceMs = SILENCE_MS } = {},
) {
  const started = new Started(connector, ["--carried", job.program, id, String(silenceMs), padding, base]);
  const { stdin, stdout } = started.process;
  return { started, stdin: stdin as Writable, stdout: stdout as Readable };
}

describe("connector --carried", () => {
  it.each(["0", "3000"])(
    "has the key signed, and carries what the client's side sends; padding %s",
    async (padding) => {
      const job = await makeJob();
      const { child, stdin, stdout } = startToGive(job, padding);
      const gone = new Promise((resolve) => child.once("exit", resolve));
      stdin.write(request(LONG_MS));
      const reply = parseReply(await readMarkedLine(stdout, 5000));
      expect(reply.kind === "ready" && reply.kit).toMatch(/^certificate ssh-.*^host n1\.7\.job$.*^user ann$/ms);
      expect(JSON.parse(job.asked.join(""))).toMatchObject({ op: "sign", publicKey: KEY });
      const { inside, outside } = await connection();
      const cut = copyNear(inside, {
        incoming: stdout,
        outgoing: stdin,
        connector,
        silenceMs: LONG_MS,
        padding: Number(padding),
      });
      const everyValue = Buffer.from(Array.from({ length: 40_000 }, (_, n) => n));
      const data = Buffer.concat([
        Buffer.from("small"),
        randomBytes(3_000_000),
        everyValue,
        Buffer.alloc(40_000, "\n"),
      ]);
      const back = take(outside, data.length);
      outside.write("small");
      await until("what is small comes by itself", () => outside.bytesRead === 5);
      outside.write(data.subarray(5));
      expect((await back).equals(data)).toBe(true);
      outside.end();
      expect(await cut).toBe(false);
      expect(await gone).toBe(0);
    },
  );

  it("lives by beats for longer than silence is death, and no longer without", async () => {
    const job = await makeJob();
    const { started, stdin, stdout } = start(job);
    stdin.write(REQUEST);
    await readMarkedLine(stdout, 5000);
    let beats = 0;
    stdout.resume().on("data", (chunk: Buffer) => {
      beats += chunk.length / BEAT.length;
    });
    const timer = setInterval(() => stdin.write(BEAT), SILENCE_MS / 4);
    await until("it beats, too", () => beats > 8);
    clearInterval(timer);
    expect(await started.ended).toBe(1);
    await until("the sshd is left", () => job.sockets.every((socket) => socket.readableEnded));
  });

  it("waits for one that is stopped, and ends with the carrier", async () => {
    const job = await makeJob();
    const { started, stdin, stdout } = start(job);
    stdin.write(REQUEST);
    await readMarkedLine(stdout, 5000);
    let beats = 0;
    stdout.resume().on("data", (chunk: Buffer) => {
      beats += chunk.length / BEAT.length;
    });
    stdin.write(RESTING);
    await until("it lives for longer than silence is death", () => beats > 8);
    stdin.end();
    expect(await started.ended).toBe(1);
  });

  it("ends on what is no frame, and on a request that is none", async () => {
    const job = await makeJob();
    const one = start(job);
    one.stdin.write(`${REQUEST}x\0\0\0`);
    expect(await one.started.ended).toBe(1);
    const two = start(job);
    two.stdin.write("something else\n");
    expect(await two.started.ended).toBe(1);
    expect(two.started.err()).toBe("connector: the job's launcher does not answer\n");
  });

  it("says what the launcher refuses", async () => {
    const job = await makeJob({ answer: '{"kind":"refused","reason":"no such thing","exitCode":69}' });
    const { stdin, stdout } = start(job);
    stdin.write(REQUEST);
    expect(parseReply(await readMarkedLine(stdout, 5000))).toEqual({
      kind: "refused",
      exitCode: 69,
      message: "no such thing",
    });
    stdin.end();
  });

  const others = {
    "a job that is not here": () => ({ id: "8" }),
    "a run base that is not": (job: { base: string }) => ({ base: join(job.base, "none") }),
    "a run base that others can change": (job: { base: string }) => {
      chmodSync(job.base, 0o777);
      return {};
    },
    "a record that is a link": (job: { base: string; job: string }) => {
      rmSync(join(job.job, "job.json"));
      symlinkSync("/etc/hostname", join(job.job, "job.json"));
      return {};
    },
    "a head on another host": (job: { job: string }) => {
      rmSync(join(job.job, "0/ssh"));
      return {};
    },
    "a launcher that is gone": (job: { job: string }) => {
      rmSync(join(job.job, "launcher.sock"));
      return {};
    },
  } as const;

  it.each(Object.entries(others))("leaves to gangway, unread: %s", async (_name, change) => {
    const job = await makeJob();
    const { started, stdin } = start(job, change(job));
    stdin.end(REQUEST);
    expect(await started.ended).toBe(0);
    expect(started.out()).toBe(`carried\n${REQUEST}`);
    expect(job.asked).toEqual([]);
  });

  it.each([
    [[]],
    [["relative", "7", "600", "0"]],
    [["/p", "../7", "600", "0"]],
    [["/p", "7", "1", "0"]],
    [["/p", "7", "600", "99999999"]],
  ])("words that are none are refused: %j", async (words) => {
    const started = new Started(connector, ["--carried", ...words]);
    expect(await started.ended).toBe(1);
    expect(started.err()).toMatch(/^connector: usage: /);
  });
});
