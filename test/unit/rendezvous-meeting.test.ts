import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { dial } from "../../src/rendezvous/dial.ts";
import { closeAll, closing, launcher, listenTo, meet, node, open, over, raw, reach } from "./rendezvous-rig.ts";

afterEach(closeAll);

describe("a node that was admitted", () => {
  it("is known by its key, and messages pass both ways, in order", async () => {
    const { reached, connection } = await meet();
    expect(connection.remoteAddress).toBe("127.0.0.1");
    const [here, there] = [listenTo(connection), listenTo(reached.connection)];
    for (let n = 0; n < 50; n++) {
      connection.send({ kind: "say", n, text: "zwölf\n".repeat(n) });
      reached.connection.send({ kind: "heard", n });
    }
    for (let n = 0; n < 50; n++) {
      expect(await there.messages.next()).toEqual({ kind: "say", n, text: "zwölf\n".repeat(n) });
      expect(await here.messages.next()).toEqual({ kind: "heard", n });
    }
  });

  it("may have come before it was admitted", async () => {
    const there = await open();
    const reaching = reach(there);
    const stranger = raw(there.meeting, { key: node.privateKeyPem, cert: node.certificatePem });
    await once(stranger, "secureConnect");
    expect(there.kept.count).toBe(0);
    there.meeting.admit(1, node.fingerprint);
    const { connection } = await reaching;
    expect((await there.kept.next()).node).toBe(1);
    expect(connection.remoteAddress).toBe("127.0.0.1");
    stranger.destroy();
  });

  it("is found at the address that answers, past those that do not", async () => {
    const there = await open();
    there.meeting.admit(0, node.fingerprint);
    await reach(there, { addresses: ["192.0.2.1", "127.0.0.1"] });
    expect((await there.kept.next()).node).toBe(0);
  });

  it("comes once: a second connection of its is hung up on", async () => {
    const { meeting, kept } = await meet();
    const second = raw(meeting, { key: node.privateKeyPem, cert: node.certificatePem });
    await once(second, "secureConnect");
    second.write(`${JSON.stringify({ kind: "kept", protocol: 1 })}\n`);
    await over(second);
    expect(kept.count).toBe(0);
  });

  it("hears of the end of the other side, once", async () => {
    const { reached, connection } = await meet();
    const [here, there] = [listenTo(connection), listenTo(reached.connection)];
    connection.send({ kind: "end" });
    await connection.close();
    expect(await there.messages.next()).toEqual({ kind: "end" });
    expect((await there.ends.next()).kind).toBe("closed");
    expect([here.ends.count, there.ends.count]).toEqual([0, 0]);
  });

  it("is told an end that was before it listened", async () => {
    const { reached, connection } = await meet();
    await connection.close();
    expect((await listenTo(reached.connection).ends.next()).kind).toBe("closed");
  });
});

describe("what a node sends that is no protocol ends its connection", () => {
  async function pretend() {
    const there = await open();
    there.meeting.admit(0, node.fingerprint);
    const socket = raw(there.meeting, { key: node.privateKeyPem, cert: node.certificatePem });
    await once(socket, "secureConnect");
    socket.write(`${JSON.stringify({ kind: "kept", protocol: 1 })}\n`);
    const { connection } = await there.kept.next();
    return { socket, ...listenTo(connection) };
  }

  it("what is no JSON", async () => {
    const { socket, ends } = await pretend();
    socket.write("{\n");
    expect(await ends.next()).toMatchObject({ kind: "error", text: "it sent what is no JSON" });
    await over(socket);
  });

  it("a line without an end", async () => {
    const { socket, ends } = await pretend();
    socket.on("error", () => undefined);
    const piece = Buffer.alloc(1024 * 1024, "x");
    for (let n = 0; n < 5; n++) socket.write(piece);
    expect(await ends.next()).toMatchObject({ kind: "error", text: "it sent a line that is too long" });
    await over(socket);
  });
});

describe("bytes of one direction", () => {
  it("arrive whole and to their end, and both sides count them", async () => {
    const { reached, streams } = await meet();
    const out = (await reached.openStream("stdout")).send();
    const { node: index, name, link } = await streams.next();
    expect([index, name]).toEqual([2, "stdout"]);
    const incoming = link.receive();
    const payload = "0123456789abcdef".repeat(100_000);
    out.end(payload);
    expect(await text(incoming)).toBe(payload);
    if (!out.writableFinished) await once(out, "finish");
    expect([out.bytes, incoming.bytes]).toEqual([payload.length, payload.length]);
  });

  it("go to the node as well", async () => {
    const { reached, streams } = await meet();
    const incoming = (await reached.openStream("stdin")).receive();
    (await streams.next()).link.send().end("yes\n");
    expect(await text(incoming)).toBe("yes\n");
  });

  it("may be none at all", async () => {
    const { reached, streams } = await meet();
    (await reached.openStream("stderr")).send().end();
    expect(await text((await streams.next()).link.receive())).toBe("");
  });

  it("that nobody reads any more are an error for who writes, as on a pipe", async () => {
    const { reached, streams } = await meet();
    const out = (await reached.openStream("stdout")).send();
    (await streams.next()).link.receive().destroy();
    const [error] = (await once(out, "error")) as [Error];
    expect(error.message).toMatch(/^the stream/);
  });

  it("are not taken from one who has no kept connection", async () => {
    const there = await open();
    there.meeting.admit(0, node.fingerprint);
    const socket = raw(there.meeting, { key: node.privateKeyPem, cert: node.certificatePem });
    await once(socket, "secureConnect");
    socket.write(`${JSON.stringify({ kind: "stream", name: "stdout" })}\n`);
    await over(socket);
    expect(there.streams.count).toBe(0);
  });

  it("may come all at once, where so many were announced: none has to go for another", async () => {
    const [nodes, streams] = [10, 150];
    const { meeting } = await open({ nodes, streams });
    let gone = 0;
    const sockets = Array.from({ length: nodes + streams }, () => connectTcp(meeting.port, "127.0.0.1"));
    closing.push(() => sockets.forEach((socket) => void socket.destroy()));
    for (const socket of sockets) socket.on("close", () => gone++);
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    // By then all have been let in, and the last would have pushed the first out.
    await sleep(500);
    expect(gone).toBe(0);
  });
});

describe("who cannot reach the launcher", () => {
  it("says of each address why not", async () => {
    const request = { addresses: ["127.0.0.1", "::1"], port: 1, key: launcher.fingerprint, identity: node };
    await expect(dial({ ...request, timeoutMs: 1000 })).rejects.toThrow(
      /^the launcher cannot be reached \(127\.0\.0\.1:1: .*ECONNREFUSED.*; \[::1\]:1: /,
    );
  });

  it("gives up when told", async () => {
    const stop = new AbortController();
    const there = await open();
    const dialling = reach(there, { signal: stop.signal });
    stop.abort();
    await expect(dialling).rejects.toThrow(/before the end/);
  });
});

describe("the port", () => {
  it("is one of those the site allows", async () => {
    const { port } = (await open()).meeting;
    const range = { first: port, last: Math.min(port + 20, 65_535) };
    const { meeting } = await open({ ports: range });
    expect(meeting.port).toBeGreaterThan(range.first);
    expect(meeting.port).toBeLessThanOrEqual(range.last);
    await expect(open({ ports: { first: port, last: port } })).rejects.toThrow(/are all in use/);
  });
});
