// Who on the launcher's own host may come to its port. Root's, since a connection of another user is needed.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { generateChannelIdentity } from "../../src/rendezvous/identity.ts";
import { Meeting } from "../../src/rendezvous/meeting.ts";
import { lookUp, Neighbourhood } from "../../src/rendezvous/neighbours.ts";

const USER = 64_731;
const OTHER = 64_732;

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A process of that user that connects, and then holds on; it says how that ended. */
function connectAs(uid: number, host: string, port: number): ChildProcess {
  const script = `const socket = require("net").connect({ host: "${host}", port: ${port} });
    const say = (word) => { process.stdout.write(word); process.exit(); };
    socket.on("error", () => say("hung up")).on("end", () => say("hung up"));
    socket.on("connect", () => setTimeout(() => say("held"), 700));`;
  const child = spawn(process.execPath, ["-e", script], {
    uid,
    gid: uid,
    stdio: ["ignore", "pipe", "inherit"],
    cwd: "/",
  });
  closing.push(() => child.kill("SIGKILL"));
  return child;
}

async function listening(host: string): Promise<{ server: Server; port: number }> {
  const server = createServer({ allowHalfOpen: true });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  closing.push(() => server.close());
  return { server, port: (server.address() as AddressInfo).port };
}

function endsOf(socket: Socket) {
  const { remoteAddress = "", remotePort = 0, localAddress = "", localPort = 0 } = socket;
  return { remote: { address: remoteAddress, port: remotePort }, local: { address: localAddress, port: localPort } };
}

describe.each([
  ["IPv4, at a socket for IPv6", "::", "127.0.0.1"],
  ["IPv4", "127.0.0.1", "127.0.0.1"],
  ["IPv4 by a socket for IPv6", "127.0.0.1", "::ffff:127.0.0.1"],
  ["IPv6", "::", "::1"],
])("a connection from this host by %s", (_what, listensOn, host) => {
  it("is a stranger's when it is neither root's nor the user's", async () => {
    const { server, port } = await listening(listensOn);
    connectAs(USER, host, port);
    const [socket] = (await once(server, "connection")) as [Socket];
    closing.push(() => socket.destroy());
    socket.on("error", () => undefined);
    expect(new Neighbourhood().has(endsOf(socket))).toBe(true);
    expect((await lookUp([endsOf(socket)], USER)).strangers).toEqual([false]);
    expect((await lookUp([endsOf(socket)], OTHER)).strangers).toEqual([true]);
  });
});

describe("the launcher's port", () => {
  it("hangs up on another user of this host at once, and not on root", async () => {
    const limits = { handshakeMs: 60_000, heldMs: 60_000, turns: 8, turnsPerSource: 8, yieldMs: 60_000 };
    const events = { onKept: () => undefined, onStream: () => undefined };
    const meeting = await Meeting.open({ identity: generateChannelIdentity(), nodes: 1, limits }, events);
    closing.push(() => meeting.close());
    const said = async (uid: number) => {
      const { stdout } = connectAs(uid, "127.0.0.1", meeting.port);
      return stdout === null ? "" : String((await once(stdout, "data"))[0]);
    };
    expect(await Promise.all([said(OTHER), said(0)])).toEqual(["hung up", "held"]);
  });
});
