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

describe("connections that have not logged in", () => {
  const many = (port: number, count: number, from = "127.0.0.1") =>
    Array.from({ length: count }, () => byTcp(port, "127.0.0.1", from));
  const served = (clients: Client[]) => clients.filter((one) => one.text.startsWith("SSH"));
  const refused = (clients: Client[]) => clients.filter((one) => one.text.startsWith("gangway: too many"));

  it("have 64 sshds per source; 256 more wait for their turn, in order; the rest are refused", async () => {
    const { port, runDir, launcher } = await hold();
    const first = many(port, 64);
    await until("64 are served", () => served(first).length === 64);
    const waiting = many(port, 256);
    await Promise.all(waiting.map((one) => one.connected()));
    const over = many(port, 5);
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

  it("wait no more when their client leaves", async () => {
    const { port, launcher } = await hold();
    const first = many(port, 64);
    await until("64 are served", () => served(first).length === 64);
    const leaving = many(port, 256);
    await Promise.all(leaving.map((one) => one.connected()));
    const [late] = many(port, 1);
    await until("no room", () => refused([late as Client]).length === 1);
    for (const one of leaving) one.socket.destroy();
    const staying = byTcp(port);
    await staying.connected();
    first[0]?.socket.end();
    await staying.served();
    await launcher.hears(/^sessions 63$/);
    await launcher.hears(/^sessions 64$/);
  });

  it("who wait are let go of when the command ends", async () => {
    const { port, runDir, launcher } = await hold(["--linger", "sessions"], { command: ["cat"] });
    const owner = await byUnix(runDir).served();
    const first = many(port, 64);
    await until("64 are served", () => served(first).length === 64);
    const [waiting] = many(port, 1);
    await waiting?.connected();
    await launcher.say("go");
    await launcher.hears(/^started/);
    await launcher.say("signal 15");
    await launcher.hears(/^lingering 65$/);
    expect(await waiting?.over()).toBe("");
    await owner.ask("arguments");
  });
});
