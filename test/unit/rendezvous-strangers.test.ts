// Who fills the door of the launcher's port, and does not keep the nodes out by it.
import { once } from "node:events";
import { type AddressInfo, connect as connectTcp, createServer as createTcpServer, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, createServer } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import { dial } from "../../src/rendezvous/dial.ts";
import { generateChannelIdentity } from "../../src/rendezvous/identity.ts";
import { closeAll, closing, launcher, node, open, over, raw, reach } from "./rendezvous-rig.ts";

afterEach(closeAll);

describe("strangers", () => {
  it("without a certificate are hung up on", async () => {
    const { meeting } = await open();
    await over(raw(meeting));
  });

  it("with a TLS older than 1.3 are refused", async () => {
    const { meeting } = await open();
    const socket = raw(meeting, { key: node.privateKeyPem, cert: node.certificatePem, maxVersion: "TLSv1.2" });
    const [error] = (await once(socket, "error")) as [Error];
    expect(error.message).toMatch(/version/);
  });

  it("with a node's certificate, but not its key, cannot show it", () => {
    const key = generateChannelIdentity().privateKeyPem;
    expect(() => connect({ port: 1, key, cert: node.certificatePem })).toThrow(/key values mismatch/);
  });

  it("with a key that nobody knows are held for a while, and never heard", async () => {
    const there = await open({
      limits: { handshakeMs: 10_000, heldMs: 50, turns: 64, turnsPerSource: 8, yieldMs: 60_000 },
    });
    const other = generateChannelIdentity();
    const socket = raw(there.meeting, { key: other.privateKeyPem, cert: other.certificatePem });
    await once(socket, "secureConnect");
    socket.write(`${JSON.stringify({ kind: "kept", protocol: 1 })}\n`);
    await over(socket);
    expect(there.kept.count).toBe(0);
  });

  it("that say nothing are hung up on, and those that say it slowly", async () => {
    const there = await open({
      limits: { handshakeMs: 100, heldMs: 10_000, turns: 64, turnsPerSource: 8, yieldMs: 60_000 },
    });
    const silent = connectTcp(there.meeting.port, "127.0.0.1");
    const slow = connectTcp(there.meeting.port, "127.0.0.1");
    const drip = setInterval(() => slow.write(Buffer.from([0x16])), 20);
    await Promise.all([over(silent), over(slow)]);
    clearInterval(drip);
  });

  /** Comes again and again from all over 127/8. @returns resolves when so many of it were hung up on */
  function crowd(port: number, aMillisecond: number) {
    const sockets = new Set<Socket>();
    let gone = 0;
    const more = () => {
      for (let n = 0; n < aMillisecond * 10; n++) {
        const localAddress = `127.9.${sockets.size >> 8}.${sockets.size & 255}`;
        const socket = connectTcp({ port, host: "127.0.0.1", localAddress });
        sockets.add(socket);
        socket.on("error", () => undefined);
        socket.on("close", () => gone++);
        socket.resume();
      }
    };
    const timer = setInterval(more, 10);
    closing.push(() => {
      clearInterval(timer);
      for (const socket of sockets) socket.destroy();
    });
    return async (count: number) => {
      while (gone < count) await sleep(10);
    };
  }

  it("that say nothing make room for a node, and for its streams, at whatever address of this host they are", async () => {
    const there = await open({ nodes: 1, streams: 3 });
    const pushedOut = crowd(there.meeting.port, 1);
    await pushedOut(100);
    there.meeting.admit(0, node.fingerprint);
    const reached = await reach(there, { timeoutMs: 60_000 });
    expect((await there.kept.next()).node).toBe(0);
    await pushedOut(200);
    const links = await Promise.all(["stdin", "stdout", "stderr"].map((name) => reached.openStream(name)));
    for (const link of links) link.send().end();
    const names = [await there.streams.next(), await there.streams.next(), await there.streams.next()];
    expect(names.map(({ name }) => name).sort()).toEqual(["stderr", "stdin", "stdout"]);
  });

  it("that begin to shake hands and do not go on give their turn up", async () => {
    const limits = { handshakeMs: 60_000, heldMs: 60_000, turns: 4, turnsPerSource: 2, yieldMs: 50 };
    const there = await open({ nodes: 1, limits });
    const sockets = Array.from({ length: 50 }, () => connectTcp(there.meeting.port, "127.0.0.1"));
    closing.push(() => sockets.forEach((socket) => void socket.destroy()));
    for (const socket of sockets) {
      socket.on("error", () => undefined);
      socket.write(Buffer.from([0x16]));
    }
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    there.meeting.admit(0, node.fingerprint);
    await reach(there, { timeoutMs: 60_000 });
    expect((await there.kept.next()).node).toBe(0);
  });

  it("that make the door hang up on a node's stream are outlasted: it comes again", async () => {
    const there = await open();
    let refusals = 0;
    // The way to the launcher, cut as often as the test says.
    const way = createTcpServer((socket) => {
      socket.on("error", () => undefined);
      if (refusals-- > 0) {
        socket.resetAndDestroy();
        return;
      }
      const further = connectTcp(there.meeting.port, "127.0.0.1");
      further.on("error", () => undefined);
      closing.push(() => further.destroy());
      socket.pipe(further).pipe(socket);
    });
    await new Promise<void>((resolve) => way.listen(0, "127.0.0.1", resolve));
    closing.push(() => way.close());
    there.meeting.admit(0, node.fingerprint);
    const reached = await reach(there, { port: (way.address() as AddressInfo).port });
    await there.kept.next();
    refusals = 3;
    (await reached.openStream("stdout")).send().end("whole");
    expect(await text((await there.streams.next()).link.receive())).toBe("whole");
    expect(refusals).toBeLessThan(0);
  });

  it("in the launcher's place are told nothing by a node", async () => {
    const other = generateChannelIdentity();
    const heard: Buffer[] = [];
    const impostor = createServer({ key: other.privateKeyPem, cert: other.certificatePem }, (socket) => {
      socket.on("error", () => undefined);
      socket.on("data", (chunk) => heard.push(chunk));
    });
    await new Promise<void>((resolve) => impostor.listen(0, "127.0.0.1", resolve));
    closing.push(() => impostor.close());
    const { port } = impostor.address() as AddressInfo;
    const request = { addresses: ["127.0.0.1"], port, key: launcher.fingerprint, identity: node, timeoutMs: 300 };
    await expect(dial(request)).rejects.toThrow(
      `127.0.0.1:${port}: somebody else answers there: the key is not the launcher's`,
    );
    expect(heard).toEqual([]);
  });
});
