// Who may have an sshd before he has logged in: not another user of the node, and of the others not too many.
import { chownSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { byTcp, byUnix, type Client, hold, leave } from "./clients.ts";
import { Started, until } from "./helpers.ts";

afterEach(leave);

const LOGIN = `report auth 7 SHA256:${"a".repeat(43)} job-1`;
const REFUSED = "gangway: connections of other users of this node are refused\r\n";

/** What a user with this uid reads first, connecting with bash's own means. */
async function readAs(uid: number, host: string, port: number): Promise<string> {
  const script = `exec 3<>/dev/tcp/${host}/${port}; IFS= read -r line <&3; printf '%s\\n' "$line"`;
  const user = [`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
  const started = new Started("setpriv", [...user, "bash", "-c", script]);
  await started.ended;
  return started.out();
}

describe("a connection from this node", () => {
  it.each(["127.0.0.1", "::1"])(
    "is refused when it is another user's, and served when it is the job's or root's: %s",
    async (host) => {
      const job = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "--pdeathsig=KILL"];
      const { port, launcher } = await hold([], { as: job, prepare: (runDir) => chownSync(runDir, 12345, 12345) });
      expect(await readAs(12346, host, port)).toBe(REFUSED);
      expect(await readAs(12345, host, port)).toBe("SSH-2.0-fake\n");
      expect(await readAs(0, host, port)).toBe("SSH-2.0-fake\n");
      await launcher.hears(/^sessions 1$/);
    },
  );

  it("is also known through a socket that listens on IPv4 alone", async () => {
    const { port } = await hold(["--listen", "127.0.0.1"]);
    expect(await readAs(12346, "127.0.0.1", port)).toBe(REFUSED);
    expect(await readAs(0, "127.0.0.1", port)).toBe("SSH-2.0-fake\n");
  });

  it("is served as before where the kernel cannot be asked", async () => {
    const { port } = await hold([], { rig: ["--pid", "--no-netlink"] });
    expect(await readAs(12346, "127.0.0.1", port)).toBe("SSH-2.0-fake\n");
  });
});

describe("a connection for which no process can be had", () => {
  it("waits until one can, and is not hung up on", async () => {
    const user = ["--reuid=12347", "--regid=12347", "--clear-groups"];
    const job = ["setpriv", ...user, "--pdeathsig=KILL"];
    const { port, started, launcher } = await hold([], { as: job, prepare: (dir) => chownSync(dir, 12347, 12347) });
    const limit = async (processes: string) => {
      const init = String(await started.child());
      const changed = new Started("setpriv", [...user, "prlimit", "--pid", init, `--nproc=${processes}:`]);
      expect({ code: await changed.ended, err: changed.err() }).toEqual({ code: 0, err: "" });
    };
    await limit("1");
    const client = byTcp(port);
    client.socket.write("SSH-2.0-test\n");
    await new Promise((done) => setTimeout(done, 300));
    expect(client).toMatchObject({ text: "", closed: false });
    await limit("100");
    await client.served();
    await launcher.hears(/^sessions 1$/);
  });
});

describe("connections that have not logged in", () => {
  const many = (port: number, count: number, from = "127.0.0.1") =>
    Array.from({ length: count }, () => byTcp(port, "127.0.0.1", from));
  /** As ssh does: it says its version at once. The fake sshd answers that. */
  const speaking = (port: number, count: number, from = "127.0.0.1") =>
    many(port, count, from).map((one) => {
      one.socket.write("SSH-2.0-test\n");
      return one;
    });
  const served = (clients: Client[]) => clients.filter((one) => one.text.startsWith("SSH"));
  const heard = (clients: Client[]) => clients.filter((one) => one.text === "SSH-2.0-fake\nanswered\n");
  const refused = (clients: Client[]) => clients.filter((one) => one.text.startsWith("gangway: too many"));
  const left = (clients: Client[]) => clients.filter((one) => one.closed);

  it("have 64 sshds per source; 256 more wait for their turn, in order; the rest are refused", async () => {
    const { port, runDir, launcher } = await hold();
    const first = speaking(port, 64);
    await until("64 are served", () => heard(first).length === 64);
    const waiting = speaking(port, 256);
    await Promise.all(waiting.map((one) => one.connected()));
    const over = speaking(port, 5);
    await until("the rest is refused", () => refused(over).length === 5);
    expect(served(waiting)).toEqual([]);
    await byTcp(port, "127.0.0.1", "127.0.0.9").served();
    await byUnix(runDir).served();
    // Who logs in counts no longer, and who leaves neither.
    await first[0]?.tell(LOGIN);
    await waiting[0]?.served();
    first[1]?.socket.end();
    await waiting[1]?.served();
    expect(served(waiting)).toHaveLength(2);
    await launcher.hears(/^login 1 tcp/);
  });

  it("have 16 sshds per source while they say nothing; who speaks goes before them", async () => {
    const { port } = await hold();
    const first = many(port, 16);
    await until("16 are served", () => served(first).length === 16);
    const silent = many(port, 3);
    await Promise.all(silent.map((one) => one.connected()));
    const [client] = speaking(port, 1);
    await until("the one that spoke is served", () => heard([client as Client]).length === 1);
    expect(served(silent)).toEqual([]);
    // Who waits for the server's first word has it once there is room; by a word of its own, at once.
    silent[2]?.socket.write("SSH-2.0-test\n");
    await silent[2]?.served();
    for (const one of first.slice(0, 3)) one.socket.end();
    await silent[0]?.served();
    expect(served(silent)).toHaveLength(2);
  });

  it("leave their places to who comes later while they say nothing, the oldest first", async () => {
    const { port } = await hold();
    const first = many(port, 16);
    await until("16 are served", () => served(first).length === 16);
    const silent = many(port, 300);
    await until("44 had to leave", () => left(silent).length === 44);
    expect(left(silent)).toEqual(silent.slice(0, 44));
    const clients = speaking(port, 40);
    await until("who speaks is served", () => heard(clients).length === 40);
    expect(refused([...silent, ...clients])).toEqual([]);
    expect(served(silent)).toEqual([]);
  });

  it("leave theirs to those of other sources, too, when all are taken", async () => {
    const { port } = await hold();
    for (const from of ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"]) {
      const first = many(port, 16, from);
      await until(`16 of ${from} are served`, () => served(first).length === 16);
      await Promise.all(many(port, 256, from).map((one) => one.connected()));
    }
    const first = speaking(port, 16);
    await until("16 are served", () => heard(first).length === 16);
    const clients = speaking(port, 20);
    await until("who speaks is served", () => heard(clients).length === 20);
  });

  it("and would be too many of their source leave their places, too", async () => {
    const { port } = await hold(["--max-per-source", "20"]);
    const first = many(port, 16);
    await until("16 are served", () => served(first).length === 16);
    const silent = many(port, 4);
    await Promise.all(silent.map((one) => one.connected()));
    const clients = speaking(port, 4);
    await until("who speaks is served", () => heard(clients).length === 4);
    expect(left(silent)).toEqual(silent);
    const [over] = speaking(port, 1);
    await until("no room", () => refused([over as Client]).length === 1);
  });

  it("wait no more when their client leaves", async () => {
    const { port, launcher } = await hold();
    const first = speaking(port, 64);
    await until("64 are served", () => heard(first).length === 64);
    const leaving = speaking(port, 256);
    await Promise.all(leaving.map((one) => one.connected()));
    const [late] = speaking(port, 1);
    await until("no room", () => refused([late as Client]).length === 1);
    for (const one of leaving) one.socket.destroy();
    const [staying] = speaking(port, 1);
    await staying?.connected();
    first[0]?.socket.end();
    await staying?.served();
    await launcher.hears(/^sessions 63$/);
    await launcher.hears(/^sessions 64$/);
  });

  it("who wait are let go of when the command ends", async () => {
    const { port, runDir, launcher } = await hold(["--linger", "sessions"], { command: ["cat"] });
    const owner = await byUnix(runDir).served();
    const first = speaking(port, 64);
    await until("64 are served", () => heard(first).length === 64);
    const [waiting] = speaking(port, 1);
    await waiting?.connected();
    await launcher.say("go");
    await launcher.hears(/^started/);
    await launcher.say("signal 15");
    await launcher.hears(/^lingering 65$/);
    expect(await waiting?.over()).toBe("");
    await owner.ask("arguments");
  });
});
