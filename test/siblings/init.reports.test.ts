// What sshds tell init of logins and sessions, what the launcher hears of it, and the end of a revoked key.
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { byTcp, byUnix, type Client, hold, leave } from "./clients.ts";
import { buildAll, isAlive, type Launcher, Started, until } from "./helpers.ts";

const { witness } = buildAll();
const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) server.close();
  await leave();
});

const FINGERPRINT = `SHA256:${"aB3+/".repeat(8)}xyz`;
const auth = (serial: string | number, id = "job-1") => `report auth ${serial} ${FINGERPRINT} ${id}`;
const told = (launcher: Launcher) => launcher.lines.filter((line) => /^(login|open|close|logout|lost)/.test(line));

/** What has been told before is in the launcher's hands when this is. */
async function settled(launcher: Launcher, client: Client): Promise<string[]> {
  const id = String(Math.floor(Math.random() * 1e9) + 1e9);
  await client.tell(`report open ${id} - shell -`, `report close ${id} 0`);
  await launcher.hears(new RegExp(`^close \\d+ ${id} 0$`));
  return told(launcher).filter((line) => !line.includes(` ${id} `));
}

describe("a connection", () => {
  it("is in no line before somebody has logged in, and then in all of them", async () => {
    const { runDir, launcher } = await hold();
    const stranger = await byUnix(runDir).served();
    await stranger.tell("report open 0 - shell -", "report close 0 0", "report bytes 1 2");
    stranger.socket.end();
    await launcher.hears(/^sessions 0$/);
    const client = await byUnix(runDir).served();
    await client.tell(auth(7), "report open 0 /dev/pts/3 shell -", "report open 1 - command ls%20-l");
    await client.tell("report close 1 130", "report open 1 - subsystem sftp", "report close 0 -");
    await client.tell("report bytes 18446744073709551615 0");
    client.socket.end();
    await launcher.hears(/^logout/);
    expect(told(launcher)).toEqual([
      `login 2 socket - 7 ${FINGERPRINT} job-1`,
      "open 2 0 /dev/pts/3 shell -",
      "open 2 1 - command ls%20-l",
      "close 2 1 130",
      "open 2 1 - subsystem sftp",
      "close 2 0 -",
      "logout 2 18446744073709551615 0",
    ]);
  });

  it("over TCP has its address and port, IPv6 in brackets", async () => {
    const { port, launcher } = await hold();
    for (const [host, text] of [
      ["127.0.0.1", "127.0.0.1"],
      ["::1", "[::1]"],
    ] as const) {
      const client = await byTcp(port, host).served();
      await client.tell(auth(0, "-"));
      await launcher.hears(
        new RegExp(`^login \\d tcp ${text.replace(/[[\].]/g, "\\$&")}:${client.socket.localPort} 0 SHA256:\\S+ -$`),
      );
      client.socket.end();
      await launcher.hears(/^logout \d - -$/);
    }
  });

  it("logs in once: what comes later is the user's own", async () => {
    const { runDir, launcher } = await hold();
    const client = await byUnix(runDir).served();
    await client.tell(auth(7), auth(8), auth(9));
    expect(await settled(launcher, client)).toEqual([`login 1 socket - 7 ${FINGERPRINT} job-1`]);
  });

  it("is found by a process below its sshd, also when that is gone before init looks: its last word counts", async () => {
    const { runDir, launcher, started } = await hold([], { rig: [] });
    const client = await byUnix(runDir).served();
    await client.tell(auth(7));
    client.socket.write("child open 3 - shell -\n");
    await launcher.hears(/^open 1 3 - shell -$/);
    const init = await started.child();
    process.kill(init, "SIGSTOP");
    await client.tell("last close 3 5");
    process.kill(init, "SIGCONT");
    await launcher.hears(/^close 1 3 5$/);
  });

  it("is not told of by a process that left it, nor by one of the job's command", async () => {
    const { runDir, launcher } = await hold([], {
      command: [witness, "tell", "open 6 - shell -"],
    });
    const client = await byUnix(runDir).served();
    await client.tell(auth(7), "orphan open 5 - shell -");
    await launcher.say("go");
    await launcher.hears(/^exit 0$/);
    expect(told(launcher).filter((line) => line.startsWith("open"))).toEqual([]);
  });
});

describe("a datagram", () => {
  const word = fc.oneof(
    fc.constantFrom(
      "auth",
      "open",
      "close",
      "bytes",
      "-",
      "0",
      "1",
      "255",
      "256",
      "00",
      "-1",
      "+1",
      "1e3",
      FINGERPRINT,
    ),
    fc.constantFrom(
      "/dev/pts/0",
      "/dev/pts/00",
      "/dev/pts/-1",
      "/dev/tty",
      "/dev/pts/../x",
      "shell",
      "command",
      "%",
      "%4",
    ),
    fc.constantFrom("18446744073709551615", "18446744073709551616", "2147483647", "2147483648", "%41%zz", "a%20b", ""),
    fc.string({ unit: fc.constantFrom(..."ab%1 /-\t\x7f"), maxLength: 6 }),
  );

  const encoded = "(?:%[0-9a-fA-F]{2}|[!-$&-~])+";
  const isNumber = (text: string, most: bigint) => /^(0|[1-9]\d*)$/.test(text) && BigInt(text) <= most;
  const isWord = (text: string) => new RegExp(`^${encoded}$`).test(text);

  /** The contract, as this reader understands it: the line that the launcher hears. */
  function expected(text: string, open: Set<string>): string | undefined {
    const [kind, id = "", third = "", fourth = "", fifth = ""] = text.split(" ");
    const count = text.split(" ").length;
    if (!isNumber(id, 0x7fffffffn)) return undefined;
    if (kind === "open" && count === 5) {
      if (third !== "-" && !/^\/dev\/pts\/(0|[1-9]\d{0,5})$/.test(third)) return undefined;
      if (!["shell", "command", "subsystem"].includes(fourth) || !isWord(fifth)) return undefined;
      const before = open.has(id) ? `close 1 ${id} -\n` : "";
      open.add(id);
      return `${before}open 1 ${id} ${third} ${fourth} ${fifth}`;
    }
    if (kind === "close" && count === 3 && open.has(id) && (third === "-" || isNumber(third, 255n))) {
      open.delete(id);
      return `close 1 ${id} ${third}`;
    }
    return undefined;
  }

  it("is taken when it is exactly as it has to be, and else dropped", async () => {
    const { runDir, launcher } = await hold();
    const client = await byUnix(runDir).served();
    await client.tell(auth(7));
    await launcher.hears(/^login/);
    const open = new Set<string>();
    const wild = fc.array(word, { minLength: 1, maxLength: 6 }).map((words) => words.join(" "));
    const near = fc
      .tuple(fc.constantFrom("open", "close"), fc.constantFrom("0", "1", "2", "01", "x"), word, word, word)
      .map(([kind, id, a, b, c]) => (kind === "open" ? `open ${id} ${a} ${b} ${c}` : `close ${id} ${a}`));
    const right = fc
      .tuple(fc.nat(3), fc.constantFrom("-", "/dev/pts/7"), fc.constantFrom("shell", "command"), fc.nat(300))
      .chain(([id, tty, kind, code]) => fc.constantFrom(`open ${id} ${tty} ${kind} a%20b`, `close ${id} ${code}`));
    const datagram = fc.oneof(wild, near, right).filter((text) => text !== "" && !text.includes("\n"));
    await fc.assert(
      fc.asyncProperty(fc.array(datagram, { minLength: 1, maxLength: 20 }), async (texts) => {
        const from = told(launcher).length;
        const wanted = texts.flatMap((text) => expected(text, open)?.split("\n") ?? []);
        await client.tell(...texts.map((text) => `report ${text}`));
        const lines = await settled(launcher, client);
        const marks = told(launcher).length - lines.length;
        expect(
          told(launcher)
            .slice(from)
            .filter((line) => !/ [12]\d{9} /.test(line)),
        ).toEqual(wanted);
        expect(marks).toBeGreaterThan(0);
      }),
      { numRuns: 60 },
    );
  });

  it("that is too long, or has a NUL in it, is dropped; one that just fits is cut to fit the line, never within %XX", async () => {
    const { runDir, launcher } = await hold();
    const client = await byUnix(runDir).served();
    await client.tell(auth(7), "long 1025", "long 70000", "zero");
    expect(await settled(launcher, client)).toHaveLength(1);
    for (let extra = 0; extra < 3; extra++) {
      const command = `${"x".repeat(extra)}${"%41".repeat(333)}`.slice(0, 1024 - "open 5 /dev/pts/12 command ".length);
      await client.tell(`report open 5 /dev/pts/12 command ${command.replace(/%.?$/, "")}`);
      const [line, text] = await launcher.hears(/^open 1 5 \/dev\/pts\/12 command (\S+)$/);
      expect(line.length).toBeLessThan(1024);
      expect(line.length).toBeGreaterThan(1015);
      expect(text).toMatch(/^x*(%41)+$/);
    }
  });
});

describe("a flood of datagrams", () => {
  it("starves nobody, and costs a launcher that does not read no memory without a bound; what was lost is counted", async () => {
    const { runDir, launcher, started } = await hold([], { rig: [] });
    const pid = await started.child();
    const client = await byUnix(runDir).served();
    await client.tell(auth(7), "report open 9 - shell -");
    await launcher.hears(/^open 1 9/);
    await launcher.stopReading();
    const text = `open 1 - command ${"y".repeat(900)}`;
    client.socket.write(`flood 6000 ${text}\nreport close 9 3\n`);
    const other = await byUnix(runDir).served();
    await other.ask("arguments");
    await until("the flood is over", () => client.text.split("answered").length > 4);
    const resident = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
    expect(resident).toBeLessThan(4096);
    client.socket.end();
    launcher.socket?.resume();
    // Its logout and the close of what was open before had room put by.
    await launcher.hears(/^close 1 9 3$/);
    // What was lost is told as soon as there is room again, before the logout or behind it.
    const lost = () => told(launcher).flatMap((line) => /^lost (\d+)$/.exec(line)?.[1] ?? []);
    await launcher.hears(/^logout 1 - -$/);
    await launcher.hears(/^sessions 1$/);
    await until("what was lost is told", () => lost().length > 0);
    expect(lost().reduce((sum, count) => sum + Number(count), 0)).toBeGreaterThan(100);
  });

  it("remembers a thousand sessions of a connection, no more", async () => {
    const { runDir, launcher } = await hold();
    const client = await byUnix(runDir).served();
    await client.tell(auth(7));
    client.socket.write(Array.from({ length: 1030 }, (_, id) => `report open ${id} - shell -\n`).join(""));
    await launcher.hears(/^lost \d+$/);
    expect(told(launcher).filter((line) => line.startsWith("open"))).toHaveLength(1024);
  });
});

describe("a revoked serial", () => {
  it("ends its connections, with what runs in their foreground; what called setsid lives, and so do all others", async () => {
    const { runDir, launcher } = await hold([], { rig: [] });
    const revoked = await byUnix(runDir).served();
    const also = await byUnix(runDir).served();
    const spared = await byUnix(runDir).served();
    const plain = await byUnix(runDir).served();
    await revoked.tell(auth(7));
    await also.tell(auth(7));
    await spared.tell(auth(17));
    await plain.tell(auth(0));
    const [mine, mineLeft] = commandIn(await revoked.ask("command"));
    const [theirs] = commandIn(await spared.ask("command"));
    await launcher.hears(/^login 4/);
    await launcher.say("revoke 0", "revoke", "revoke x", "revoke 07", "revoke 7 8", "revoke 7");
    await revoked.over();
    await also.over();
    await until("the command is gone", () => !isAlive(mine));
    expect([mineLeft, theirs].map(isAlive)).toEqual([true, true]);
    await spared.ask("arguments");
    await plain.ask("arguments");
    await launcher.hears(/^sessions 2$/);
  });

  it("kills, after the grace, a command that ignores HUP and TERM, though its sshd is long gone", async () => {
    const { runDir, launcher } = await hold([], { rig: [] });
    const client = await byUnix(runDir).served();
    await client.tell(auth(7));
    const [command, left] = commandIn(await client.ask("stubborn"));
    await launcher.hears(/^login/);
    await launcher.say("revoke 7");
    await client.over();
    await until("the command is killed", () => !isAlive(command));
    expect(isAlive(left)).toBe(true);
  });

  it("ends an sshd that does not hear TERM, too", async () => {
    const { runDir, launcher } = await hold();
    const client = await byUnix(runDir).served();
    await client.tell(auth(7), "deaf");
    await launcher.hears(/^login/);
    await launcher.say("revoke 7");
    await client.over();
    await launcher.hears(/^logout 1 - -$/);
  });

  it("is remembered for one who was logging in meanwhile", async () => {
    const { runDir, launcher } = await hold();
    const client = await byUnix(runDir).served();
    await launcher.say("revoke 7");
    await launcher.say("signal 0");
    await byUnix(runDir).served();
    client.socket.write(`${auth(7)}\n`);
    await client.over();
    await launcher.hears(/^logout 1/);
  });
});

function commandIn(text: string): [number, number] {
  const [, command, left] = /command (\d+) left (\d+)/.exec(text) ?? [];
  return [Number(command), Number(left)];
}

describe("agents", () => {
  const agentAt = async (path: string) => {
    const server = createServer();
    servers.push(server);
    await new Promise<void>((done) => server.listen(path, done));
    return server;
  };

  /** One that was killed: its socket stays. */
  async function deadAgentAt(path: string): Promise<void> {
    const child = new Started(process.execPath, [
      "-e",
      `require("net").createServer().listen(${JSON.stringify(path)})`,
    ]);
    await until("it listens", () => existsSync(path));
    child.process.kill("SIGKILL");
    await child.ended;
    expect(existsSync(path)).toBe(true);
  }

  async function connectionEnds(runDir: string, launcher: Launcher): Promise<void> {
    const client = await byUnix(runDir).served();
    await launcher.hears(/^sessions 1$/);
    client.socket.end();
    await launcher.hears(/^sessions 0$/);
  }

  it("have a directory of the user's alone; one that is there is taken", async () => {
    const { runDir } = await hold();
    expect(statSync(join(runDir, "agents")).mode & 0o777).toBe(0o700);
    expect(statSync(join(runDir, "report")).mode & 0o777).toBe(0o600);
  });

  it("that nobody answers for go when a connection ends, and the link points to the newest that lives", async () => {
    const { runDir, launcher } = await hold();
    const agents = join(runDir, "agents");
    const link = join(runDir, "agent.sock");
    await agentAt(join(agents, "older"));
    await agentAt(join(agents, "newer"));
    await deadAgentAt(join(agents, "dead"));
    writeFileSync(join(agents, "file"), "");
    mkdirSync(join(agents, "directory"));
    symlinkSync("/etc/passwd", join(agents, "link"));
    symlinkSync("agents/dead", link);
    await connectionEnds(runDir, launcher);
    await until("the dead one is gone", () => !existsSync(join(agents, "dead")));
    await until("the link is right", () => readlinkSync(link) === "agents/newer");
    for (const name of ["file", "directory", "link", "older"]) expect(existsSync(join(agents, name))).toBe(true);
    servers.pop()?.close();
    await connectionEnds(runDir, launcher);
    await until("the link is right", () => readlinkSync(link) === "agents/older");
    servers.pop()?.close();
    await connectionEnds(runDir, launcher);
    await until("there is none", () => !existsSync(link) && !hasLink(link));
    mkdirSync(link);
    await connectionEnds(runDir, launcher);
    expect(statSync(link).isDirectory()).toBe(true);
  });

  it("need no directory: one that is a link, or no directory, is left alone", async () => {
    const { runDir, launcher } = await hold();
    const elsewhere = join(runDir, "elsewhere");
    mkdirSync(elsewhere);
    await deadAgentAt(join(elsewhere, "dead"));
    const moved = new Started("rmdir", [join(runDir, "agents")]);
    expect(await moved.ended).toBe(0);
    symlinkSync(elsewhere, join(runDir, "agents"));
    await connectionEnds(runDir, launcher);
    expect(existsSync(join(elsewhere, "dead"))).toBe(true);
    unlinkSync(join(runDir, "agents"));
    await connectionEnds(runDir, launcher);
  });
});

function hasLink(path: string): boolean {
  try {
    return readlinkSync(path) !== "";
  } catch {
    return false;
  }
}
