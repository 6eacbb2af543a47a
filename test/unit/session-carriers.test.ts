import { type Duplex, duplexPair, PassThrough } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BEAT, FrameReader, Pump, RESTING } from "../../src/session/carriers/frames.ts";
import { parseSqueue, slurmClient } from "../../src/session/carriers/slurm.ts";
import { NoLineError, parseReply, parseRequest, readMarkedLine, renderLine } from "../../src/session/carriers/words.ts";

const SILENCE_MS = 400;

/** Two sides of a carrier in this process, with what connects to each. */
function sides() {
  const [up, down] = [new PassThrough(), new PassThrough()];
  const side = (incoming: PassThrough, outgoing: PassThrough) => {
    const [inside, outside] = duplexPair();
    return { outside, pump: new Pump(inside, { incoming, outgoing, silenceMs: SILENCE_MS }) };
  };
  return { client: side(down, up), far: side(up, down), up, down };
}

/** To its end: an iteration would close the other direction, too. */
async function all(stream: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  await new Promise((resolve) => stream.once("end", resolve));
  return Buffer.concat(chunks);
}

function frame(kind: string, data: Buffer): Buffer {
  const head = Buffer.from([kind.charCodeAt(0), 0, 0, 0]);
  head.writeUIntBE(data.length, 1, 3);
  return Buffer.concat([head, data]);
}

describe("frames", () => {
  test("are the same however the stream is cut", () => {
    const pieces = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 20 });
    fc.assert(
      fc.property(pieces, fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }), (data, cuts) => {
        const sent = data.map((bytes) => Buffer.from(bytes));
        const stream = Buffer.concat([
          ...sent.flatMap((bytes) => [BEAT, frame("d", bytes), frame("p", bytes)]),
          RESTING,
          frame("f", Buffer.alloc(0)),
        ]);
        const got: Buffer[] = [];
        const told: string[] = [];
        const reader = new FrameReader({
          data: (bytes) => got.push(Buffer.from(bytes)),
          fin: () => told.push("fin"),
          beat: () => told.push("beat"),
          resting: () => told.push("resting"),
        });
        for (let at = 0, n = 0; at < stream.length; n++) {
          const next = at + (cuts[n % cuts.length] ?? 1);
          reader.push(stream.subarray(at, next));
          at = next;
        }
        expect(Buffer.concat(got).equals(Buffer.concat(sent))).toBe(true);
        expect(told).toEqual([...sent.map(() => "beat"), "resting", "fin"]);
        expect(reader.lacks).toBe(0);
      }),
    );
  });

  test.each([
    ["another kind", Buffer.from("x\0\0\0")],
    ["a beat with bytes", Buffer.from("b\0\0\x01")],
    ["a length beyond all", Buffer.from("d\xff\xff\xff", "latin1")],
  ])("%s is no frame", (_name, bytes) => {
    const nothing = () => undefined;
    const reader = new FrameReader({ data: nothing, fin: nothing, beat: nothing, resting: nothing });
    expect(() => reader.push(bytes)).toThrow("no frame");
  });
});

describe("a pump on each side", () => {
  test("puts padding behind what is small, where it is asked for, which the other side passes over", async () => {
    const outgoing = new PassThrough();
    const [inside, outside] = duplexPair();
    new Pump(inside, { incoming: new PassThrough(), outgoing, silenceMs: 20_000, padding: 100 });
    outside.write("small");
    await pause(10);
    const small = Buffer.concat([Buffer.alloc(99), Buffer.from("\n")]);
    expect(outgoing.read()).toEqual(Buffer.concat([frame("d", Buffer.from("small")), frame("p", small)]));
    outside.write(Buffer.alloc(5000));
    await pause(10);
    expect(outgoing.read()).toEqual(Buffer.concat([frame("d", Buffer.alloc(5000)), frame("p", Buffer.from("\n"))]));
  });

  test("carries each direction to its own end", async () => {
    const { client, far } = sides();
    const data = Buffer.alloc(3_000_000, "0123456789");
    const received = all(far.outside);
    client.outside.end(data);
    expect((await received).equals(data)).toBe(true);
    // The other direction is still open.
    const answer = all(client.outside);
    far.outside.end("answer");
    expect((await answer).toString()).toBe("answer");
    expect(await Promise.all([client.pump.ended, far.pump.ended])).toEqual(["closed", "closed"]);
  });

  test("a carrier that ends without a word is cut, on both sides", async () => {
    const { client, far, up, down } = sides();
    up.end();
    down.end();
    expect(await Promise.all([client.pump.ended, far.pump.ended])).toEqual(["cut", "cut"]);
  });

  test("one that had ended before there was a pump is cut, too", async () => {
    const incoming = new PassThrough();
    incoming.resume().end();
    await pause(10);
    const { ended } = new Pump(duplexPair()[0], { incoming, outgoing: new PassThrough(), silenceMs: SILENCE_MS });
    expect(await ended).toBe("cut");
  });

  test("silence is death, beats are none", async () => {
    const { client } = sides();
    const outgoing = new PassThrough();
    const alone = new Pump(duplexPair()[0], { incoming: new PassThrough(), outgoing, silenceMs: SILENCE_MS });
    expect(await alone.ended).toBe("cut");
    expect((outgoing.read() as Buffer).subarray(0, BEAT.length).equals(BEAT)).toBe(true);
    // The pair has lived all the while by its beats.
    expect(await Promise.race([client.pump.ended, pause(10, "lives")])).toBe("lives");
  });

  test("a rest is none either", async () => {
    const incoming = new PassThrough();
    const { ended } = new Pump(duplexPair()[0], { incoming, outgoing: new PassThrough(), silenceMs: SILENCE_MS });
    incoming.write(RESTING);
    expect(await Promise.race([ended, pause(3 * SILENCE_MS, "rests")])).toBe("rests");
    incoming.end();
    expect(await ended).toBe("cut");
  });
});

describe("the first lines", () => {
  const REQUEST = {
    job: "1234_7",
    node: "n2",
    publicKey: `ssh-ed25519 ${"A".repeat(68)} gangway session`,
    silenceMs: 20_000,
    padding: 3000,
  };

  test("a request is read as it was written, whatever stands before it, and what follows stays in the stream", async () => {
    const stream = new PassThrough();
    stream.write("Welcome to gangway-carried 1 \nmotd\r\n");
    for (const byte of renderLine(REQUEST)) stream.write(byte);
    stream.write("SSH-2.0-x\r\n");
    expect(parseRequest(await readMarkedLine(stream, 1000))).toEqual(REQUEST);
    stream.end();
    expect(String(stream.read())).toContain("SSH-2.0-x");
  });

  test("what ends, floods or is silent instead is told with its last words", async () => {
    const ended = new PassThrough();
    ended.end("srun: error: no\n");
    await expect(readMarkedLine(ended, 1000)).rejects.toMatchObject({ noise: "srun: error: no\n" });
    const flood = new PassThrough();
    flood.write(Buffer.alloc(600_000, "x"));
    await expect(readMarkedLine(flood, 1000)).rejects.toThrow(NoLineError);
    const long = new PassThrough();
    long.write(`gangway-carried 1 ${"x".repeat(100_000)}`);
    await expect(readMarkedLine(long, 1000)).rejects.toThrow("too long");
    await expect(readMarkedLine(new PassThrough(), 50)).rejects.toThrow("nothing came");
  });

  test.each([
    { ...REQUEST, job: "../x" },
    { ...REQUEST, node: "a b" },
    { ...REQUEST, publicKey: "ssh-rsa AAAA" },
    { ...REQUEST, publicKey: `${REQUEST.publicKey}\nssh-ed25519` },
    { ...REQUEST, silenceMs: 0 },
    { ...REQUEST, silenceMs: 1e12 },
    { ...REQUEST, padding: -1 },
    { ...REQUEST, padding: 1e9 },
  ])("a request that could mean something else is refused: %j", (request) => {
    expect(() => parseRequest(renderLine(request))).toThrow("not understood");
  });

  test("no line is anything but a reply or an error with exit status 76", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        try {
          expect(["ready", "refused"]).toContain(parseReply(`gangway-carried 1 ${text}`).kind);
        } catch (error) {
          expect(error).toMatchObject({ exitCode: 76 });
        }
      }),
    );
    const refused = { kind: "refused", exitCode: 68, message: "no such job", hint: "look — there" } as const;
    expect(renderLine(refused)).toMatch(/^[\x20-\x7e]+\n$/);
    expect(parseReply(renderLine(refused).trim())).toEqual(refused);
    // It cannot pretend to be several of our own.
    const forged = { ...refused, message: "no\ngangway: all is well", hint: "\x1b[2J" } as const;
    expect(parseReply(renderLine(forged).trim())).toMatchObject({ message: "no?gangway: all is well", hint: "?[2J" });
    expect(parseReply('gangway-carried 1 {"kind":"refused","exitCode":0,"message":"m"}')).toMatchObject({
      exitCode: 76,
    });
  });
});

test("squeue's lines: hosts unfolded, reasons with anything in them, other lines passed over", () => {
  const text =
    "1235|1234_7|1000|user|RUNNING|n[1-2,5]|None\n77|77|1000|user|PENDING||Nodes required | for job\nslurm_load_jobs error\n";
  expect(parseSqueue(text)).toEqual([
    {
      number: "1235",
      id: "1234_7",
      uid: 1000,
      user: "user",
      state: "RUNNING",
      hosts: ["n1", "n2", "n5"],
      reason: "None",
    },
    {
      number: "77",
      id: "77",
      uid: 1000,
      user: "user",
      state: "PENDING",
      hosts: [],
      reason: "Nodes required | for job",
    },
  ]);
});

test.each([
  [{ job: "1234" }, true],
  // Which of its jobs, or which host, is meant is Slurm's to say.
  [{ job: "1234_7" }, false],
  [{ job: "1234+1" }, false],
  [{ job: "1234-r1" }, false],
  [{ job: "1234", node: "n2" }, false],
])("whether a carrier is begun for %j before Slurm has answered: %s", (reading, begun) => {
  expect(slurmClient.guess(reading) !== undefined).toBe(begun);
});
