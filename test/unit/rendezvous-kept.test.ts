import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { connect, createServer, type Server, type TLSSocket } from "node:tls";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { generateChannelIdentity } from "../../src/rendezvous/identity.ts";
import { type EndReason, encode, KeptConnection, LONGEST_LINE } from "../../src/rendezvous/kept.ts";
import { Pulse, type PulseClock } from "../../src/rendezvous/pulse.ts";

const { privateKeyPem: key, certificatePem: cert } = generateChannelIdentity();
let server: Server;
beforeAll(async () => {
  server = createServer({ key, cert, allowHalfOpen: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterAll(() => server.close());

const sockets: TLSSocket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

/** The two ends of a TLS connection. */
async function pair(): Promise<[TLSSocket, TLSSocket]> {
  const accepted = once(server, "secureConnection") as Promise<[TLSSocket]>;
  const { port } = server.address() as AddressInfo;
  const one = connect({ host: "127.0.0.1", port, rejectUnauthorized: false });
  const [other] = await accepted;
  for (const socket of [one, other]) {
    socket.on("error", () => undefined);
    sockets.push(socket);
  }
  return [one, other];
}

/** A clock of which each step is a fifth of a beat. */
class Steps implements PulseClock {
  time = 0;
  readonly #calls = new Set<() => void>();
  now(): number {
    return this.time;
  }
  every(_milliseconds: number, call: () => void): () => void {
    this.#calls.add(call);
    return () => this.#calls.delete(call);
  }
  pass(steps: number): void {
    for (let step = 0; step < steps; step++) {
      this.time += 1000;
      for (const call of this.#calls) call();
    }
  }
}

function keep(socket: TLSSocket, clock: PulseClock = new Steps()) {
  const messages: unknown[] = [];
  const connection = new KeptConnection(socket, new Pulse({ beatMs: 5000, silentMs: 20_000 }, clock), Buffer.alloc(0));
  let heard: () => void = () => undefined;
  const ended = new Promise<EndReason>((resolve) => {
    connection.attend({
      onMessage(message) {
        messages.push(message);
        heard();
      },
      onEnd: resolve,
    });
  });
  const received = async (count: number) => {
    while (messages.length < count) {
      await new Promise<void>((resolve) => {
        heard = resolve;
      });
    }
  };
  return { connection, messages, ended, received };
}

describe("a kept connection", () => {
  it("carries any message whole, whatever characters it is cut at on its way", async () => {
    const [one, other] = await pair();
    const [sender, receiver] = [keep(one), keep(other)];
    const text = fc.string({ unit: "grapheme", maxLength: 3000 });
    await fc.assert(
      fc.asyncProperty(fc.array(text, { minLength: 1, maxLength: 20 }), async (texts) => {
        receiver.messages.length = 0;
        for (const each of texts) sender.connection.send({ text: each });
        await receiver.received(texts.length);
        expect(receiver.messages).toEqual(texts.map((each) => ({ text: each })));
      }),
      { numRuns: 50 },
    );
  });

  it("carries a line of 4 MiB, and none that is longer", async () => {
    const [one, other] = await pair();
    const [sender, receiver] = [keep(one), keep(other)];
    const room = LONGEST_LINE - '{"text":""}\n'.length;
    const longest = encode({ text: "x".repeat(room) });
    sender.connection.send(longest);
    await sender.connection.drained();
    await receiver.received(1);
    expect(receiver.messages).toEqual([{ text: "x".repeat(room) }]);
    expect(() => encode({ text: "x".repeat(room + 1) })).toThrow(/more than 4194304/);
  });

  it("is for dead when nothing was heard for 20 s, though the connection stands", async () => {
    const clock = new Steps();
    const [one] = await pair();
    const { ended, connection } = keep(one, clock);
    clock.pass(19);
    let over = false;
    void ended.then(() => {
      over = true;
    });
    await connection.drained();
    expect(over).toBe(false);
    clock.pass(1);
    expect(await ended).toEqual({ kind: "silent", text: "nothing was heard for 20 s" });
  });

  it("is kept by beats alone, of which nobody hears", async () => {
    const clock = new Steps();
    const [one, other] = await pair();
    const [a, b] = [keep(one, clock), keep(other, clock)];
    const before = one.bytesRead;
    // Each step's beat is read before the next: a minute without a word, as quick as the machine is.
    for (let beat = 1; beat <= 12; beat++) {
      clock.pass(5);
      await expect.poll(() => Math.min(one.bytesRead, other.bytesRead) - before).toBeGreaterThanOrEqual(beat * 16);
    }
    expect([a.messages, b.messages]).toEqual([[], []]);
    a.connection.send({ kind: "still here" });
    await b.received(1);
  });

  it("outlives a stop of its own process, in which nothing could be heard", async () => {
    const clock = new Steps();
    const [one, other] = await pair();
    const [a, b] = [keep(one, clock), keep(other, new Steps())];
    clock.time += 3_600_000;
    clock.pass(1);
    b.connection.send({ kind: "there" });
    await a.received(1);
    expect(a.messages).toEqual([{ kind: "there" }]);
  });

  it("leaves uncounted the silence of one that said that it rests, until it says that it goes on", async () => {
    const clock = new Steps();
    const [one, other] = await pair();
    const [a, b] = [keep(one, clock), keep(other)];
    await b.connection.rest();
    // What is still said is no sign of being awake.
    b.connection.send({ kind: "last" });
    await a.received(1);
    clock.pass(100);
    a.connection.send({ kind: "still here" });
    await b.received(1);
    b.connection.wake();
    b.connection.send({ kind: "awake" });
    await a.received(2);
    expect([a.messages, b.messages]).toEqual([[{ kind: "last" }, { kind: "awake" }], [{ kind: "still here" }]]);
    clock.pass(21);
    expect(await a.ended).toMatchObject({ kind: "silent" });
  });

  it("to one who reads nothing ends when 64 MiB wait", async () => {
    const [one, other] = await pair();
    other.pause();
    const { connection, ended } = keep(one);
    const message = encode({ text: "x".repeat(1024 * 1024) });
    for (let sent = 0; sent < 80; sent++) connection.send(message);
    expect(await ended).toMatchObject({ kind: "error", text: "it does not read what it is told (64 MiB wait)" });
    expect(connection.waiting).toBe(0);
  });

  it("that is closed here says all that was said before, and nothing after", async () => {
    const [one, other] = await pair();
    const [a, b] = [keep(one), keep(other)];
    for (let n = 0; n < 2000; n++) a.connection.send({ n });
    const closed = a.connection.close();
    await b.received(2000);
    expect((await b.ended).kind).toBe("closed");
    await closed;
    a.connection.send({ n: 2000 });
    expect(b.messages).toHaveLength(2000);
  });
});
