// init's sockets: what sshd is started with, who gets in, what is written down for the sessions, and lingering.
import { execFileSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { byTcp, byUnix, type Client, clients, hold, leave } from "./clients.ts";
import { buildAll, Launcher, makeDirectory, makeRunDir, processesWith, Started, until } from "./helpers.ts";

const { rig, init, initWithoutSshd, witness } = buildAll();
afterEach(leave);

describe("a session", () => {
  it("is served before `go`, over the unix socket and TCP, IPv4 and IPv6", async () => {
    const { runDir, port, launcher } = await hold([], { command: ["true"] });
    await byUnix(runDir).served();
    await byTcp(port).served();
    await byTcp(port, "::1").served();
    await launcher.hears(/^sessions 3$/);
    for (const client of clients) client.socket.end();
    await launcher.hears(/^sessions 0$/);
  });

  it("is `sshd -i` with the job's config and log, and nothing of the job's environment but a PATH", async () => {
    const { runDir } = await hold();
    const answer = await (await byUnix(runDir).served()).ask("arguments");
    const lines = answer.trim().split("\n");
    expect(lines.slice(0, 5).join(" ").replaceAll("argument ", "")).toBe(`sshd -i -f ${runDir}/sshd_config -e`);
    expect(lines.slice(5)).toHaveLength(1);
    expect(lines[5]).toMatch(/^variable PATH=\/opt\/udiImage\/bin:.*:\/opt\/udiImage\/tools$/);
  });

  it("has default dispositions, an empty mask, no descriptor but its own and the container's limits", async () => {
    const { port } = await hold([], { rig: ["--pid", "--dirty", "--nofile", "77"] });
    const answer = await (await byTcp(port).served()).ask("status");
    expect(answer).toMatch(/^SigBlk:\t0{16}$/m);
    expect(answer).toMatch(/^SigIgn:\t0{16}$/m);
    expect(answer).toMatch(/^fds: 0 1 2$/m);
    expect(answer).toMatch(/^nofile: 77$/m);
  });

  it.each([
    ["a FIFO", "mkfifo"],
    ["a link", "ln -s /etc/passwd"],
  ])("is served though %s was put in the log's place", async (_what, make) => {
    const { runDir } = await hold();
    const log = join(runDir, "sshd.log");
    await byUnix(runDir).served();
    const before = readFileSync("/etc/passwd", "utf8");
    execFileSync("sh", ["-c", `rm -f ${log}; ${make} ${log}`]);
    await byUnix(runDir).served();
    expect(lstatSync(log).isFile()).toBe(true);
    expect(readFileSync("/etc/passwd", "utf8")).toBe(before);
  });

  it("that sshd cannot be executed for leaves its reason in the log", async () => {
    const { runDir, launcher } = await hold([], { program: initWithoutSshd });
    expect(await byUnix(runDir).over()).toBe("");
    await launcher.hears(/^sessions 0$/);
    expect(readFileSync(join(runDir, "sshd.log"), "utf8")).toBe(
      "init: cannot execute /nonexistent/sshd: No such file or directory\n",
    );
  });

  it("ends when its client is gone; what left its session lives until the end", async () => {
    const { runDir, launcher, started, marker } = await hold([], { command: ["cat"] });
    await launcher.say("go");
    await launcher.hears(/^started/);
    const client = await byUnix(runDir).served();
    client.socket.write("stay\n");
    await until("the daemon is there", () => /^daemon \d+$/m.test(client.text) && client.text.includes("answered"));
    client.socket.destroy();
    await launcher.hears(/^sessions 0$/);
    await launcher.say("end");
    await started.ended;
    expect(processesWith(marker)).toEqual([]);
  });
});

describe("listening", () => {
  it("takes the port it is given", async () => {
    const free = createServer();
    await new Promise<void>((done) => free.listen(0, done));
    const address = free.address();
    const wanted = typeof address === "object" && address ? address.port : 0;
    await new Promise((done) => free.close(done));
    const { port } = await hold(["--port", String(wanted)]);
    expect(port).toBe(wanted);
    await byTcp(port).served();
  });

  it("does without IPv6 where there is none", async () => {
    const { port } = await hold([], { rig: ["--pid", "--no-ipv6"] });
    await byTcp(port).served();
  });

  it("listens on one address only when asked, and reports that one", async () => {
    const { port, addresses } = await hold(["--listen", "127.0.0.2"]);
    expect(addresses).toBe("127.0.0.2");
    await byTcp(port, "127.0.0.2").served();
    expect(await byTcp(port, "127.0.0.1").over()).toBe("");
    const six = await hold(["--listen", "::1"]);
    expect(six.addresses).toBe("::1");
    await byTcp(six.port, "::1").served();
  });

  it.each(["192.0.2.77", "nonsense", "::nonsense"])(
    "reports an address that it cannot listen on: %s",
    async (address) => {
      const runDir = makeRunDir();
      const launcher = await Launcher.listen(runDir);
      const started = new Started(init, ["--launcher", "--run-dir", runDir, "--listen", address, "--hold"]);
      await launcher.hears(new RegExp(`^error listen ${address} port 0: `));
      expect(await started.ended).toBe(125);
    },
  );

  it("opens no port with --no-listen, and no socket with --no-sshd", async () => {
    const quiet = await hold(["--no-listen"]);
    expect(quiet.port).toBe(0);
    await byUnix(quiet.runDir).served();
    const none = await hold(["--no-sshd"]);
    expect(none.port).toBe(0);
    expect(existsSync(join(none.runDir, "ssh"))).toBe(false);
  });

  it("makes the unix socket the user's alone, and replaces one left behind", async () => {
    const runDir = makeRunDir();
    writeFileSync(join(runDir, "ssh"), "left behind");
    const started = new Started(rig, ["--pid", "--", init, "--run-dir", runDir, "--no-listen", "--hold"]);
    await until("the socket is there", () => statSync(join(runDir, "ssh")).isSocket());
    expect(statSync(join(runDir, "ssh")).mode & 0o777).toBe(0o600);
    await byUnix(runDir).served();
    process.kill(await started.child(), "SIGTERM");
    await started.ended;
  });
});

describe("caps", () => {
  it("hold per source, and not for the unix socket", async () => {
    const { port, runDir, launcher } = await hold(["--max-per-source", "3"]);
    for (let turn = 0; turn < 3; turn++) await byTcp(port).served();
    expect(await byTcp(port).over()).toBe("gangway: too many connections\r\n");
    await byTcp(port, "127.0.0.1", "127.0.0.9").served();
    await byTcp(port, "::1").served();
    for (let turn = 0; turn < 10; turn++) await byUnix(runDir).served();
    await launcher.hears(/^sessions 15$/);
  });

  it("give a place back when a session ends", async () => {
    const { port, launcher } = await hold(["--max-per-source", "1"]);
    for (let turn = 0; turn < 5; turn++) {
      const client = await byTcp(port).served();
      expect(await byTcp(port).over()).toContain("too many");
      client.socket.end();
      await launcher.hears(/^sessions 0$/);
    }
  });

  it("keep a reserve for a source that holds few when the others have taken what they can", async () => {
    const { port } = await hold(["--max-connections", "16"]);
    const greedy: Client[] = [];
    for (let turn = 0; turn < 16; turn++) greedy.push(byTcp(port, "127.0.0.1", "127.0.0.7"));
    await until("all are settled", () => greedy.every((one) => one.text !== ""));
    expect(greedy.filter((one) => one.text.startsWith("SSH"))).toHaveLength(12);
    for (let turn = 0; turn < 2; turn++) await byTcp(port, "127.0.0.1", "127.0.0.8").served();
    expect(await byTcp(port, "127.0.0.1", "127.0.0.8").over()).toContain("too many");
    for (let turn = 0; turn < 2; turn++) await byTcp(port, "127.0.0.1", `127.0.1.${turn + 1}`).served();
    expect(await byTcp(port, "127.0.0.1", "127.0.1.3").over()).toContain("too many");
  });

  it("in all are never passed", async () => {
    const { port, launcher } = await hold(["--max-connections", "8"]);
    const all = Array.from({ length: 30 }, (_, turn) => byTcp(port, "127.0.0.1", `127.0.2.${turn + 1}`));
    await until("all are settled", () => all.every((one) => one.text !== ""));
    expect(all.filter((one) => one.text.startsWith("SSH"))).toHaveLength(8);
    expect(Math.max(...launcher.lines.map((line) => Number(/^sessions (\d+)$/.exec(line)?.[1] ?? 0)))).toBe(8);
  });

  it("serves hundreds at once", async () => {
    const { runDir, launcher } = await hold();
    const all = Array.from({ length: 300 }, () => byUnix(runDir));
    await Promise.all(all.map((one) => one.served()));
    await launcher.hears(/^sessions 300$/);
  });

  it("waits, and neither spins nor dies, where no descriptor is left", async () => {
    // 0 to 2, signals, run directory, ctl, report, the two listeners: the next would be number 9.
    const { runDir, started } = await hold([], { rig: ["--pid", "--nofile", "9"] });
    const pid = await started.child();
    const client = byUnix(runDir);
    const ticks = () => {
      const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
      return Number(fields[11]) + Number(fields[12]);
    };
    const before = ticks();
    await new Promise((done) => setTimeout(done, 1000));
    expect(ticks() - before).toBeLessThan(20);
    expect(client.text).toBe("");
    const raised = new Started("prlimit", ["--pid", String(pid), "--nofile=64:"]);
    expect(await raised.ended).toBe(0);
    await client.served();
  });
});

describe("what init writes down", () => {
  const strange = {
    NEWLINES: "a\nb\n\nc",
    "a.b-c": "dots",
    "1X": "digit",
    "BASH_FUNC_hello%%": "() {  echo hello\n}",
    EMPTY: "",
    QUOTES: `"'\`$(echo no) %s \\ `,
    UTF8: "Grüße, 世界",
    BIG: "x".repeat(100_000),
    EQUALS: "a=b=c",
    LD_PRELOAD: "",
  };

  it("is the environment exactly, readable for the user alone, whatever the umask", async () => {
    for (const mask of ["0022", "0777", "0000"]) {
      const runDir = makeRunDir();
      const script = `umask ${mask}; exec "$0" "$@"`;
      const copy = ["sh", "-c", `cat "$1/environ" > "$1/copy"; cat "$1/context" > "$1/copy2"; exec "$2" environment`];
      const env = { PATH: process.env.PATH ?? "", ...strange };
      const args = ["-c", script, init, "--run-dir", runDir, "--no-listen", "--", ...copy, "-", runDir, witness];
      // As somebody for whom modes count there would be no reading of 0777 files; root reads them all.
      const started = new Started("sh", args, { env, cwd: "/usr/share" });
      expect(await started.ended).toBe(0);
      const written = readFileSync(join(runDir, "copy"));
      const expected = Object.entries(env).map(([name, value]) => `${name}=${value}`);
      const records = written.toString().split("\0");
      expect(records.pop()).toBe("");
      // The shell in between adds PWD and the like; nothing of ours is missing or changed.
      for (const one of expected.filter((one) => !/^(PATH|1X|a\.b-c|BASH_FUNC)/.test(one)))
        expect(records).toContain(one);
      const context = readFileSync(join(runDir, "copy2"), "utf8");
      expect(context).toMatch(new RegExp(`^cwd=/usr/share\0umask=${mask}\0(pid=\\d+\0)?$`));
    }
  });

  it("has names that no shell would keep, in the engine's order", async () => {
    const runDir = makeRunDir();
    const launcher = await Launcher.listen(runDir);
    const env = { PATH: process.env.PATH ?? "", ...strange };
    const started = new Started(init, ["--run-dir", runDir, "--no-listen", "--", witness, "environment"], { env });
    await launcher.hears(/^up/);
    expect(statSync(join(runDir, "environ")).mode & 0o7777).toBe(0o600);
    expect(statSync(join(runDir, "context")).mode & 0o7777).toBe(0o600);
    const written = readFileSync(join(runDir, "environ"));
    await launcher.say("go");
    const [, pid] = await launcher.hears(/^started (\d+)$/);
    expect(await started.ended).toBe(0);
    expect(written.equals(started.stdout)).toBe(true);
    const text = Object.entries(env).map(([name, value]) => `${name}=${value}\0`);
    expect(written.toString().split("\0").sort()).toEqual(text.join("").split("\0").sort());
    expect(readFileSync(join(runDir, "context"), "utf8")).toBe(`cwd=${process.cwd()}\0umask=0022\0pid=${pid}\0`);
    expect(readdirSync(runDir).sort()).toEqual([
      "agents",
      "context",
      "ctl",
      "environ",
      "report",
      "ssh",
      "sshd_config",
      "x11",
    ]);
  });

  it("replaces what is there and follows no link", async () => {
    const runDir = makeRunDir();
    const elsewhere = join(makeDirectory(), "victim");
    writeFileSync(elsewhere, "untouched");
    for (const name of ["environ", ".environ", "context", ".context"]) symlinkSync(elsewhere, join(runDir, name));
    const started = new Started(init, ["--run-dir", runDir, "--no-listen", "--", "true"]);
    expect(await started.ended).toBe(0);
    expect(readFileSync(elsewhere, "utf8")).toBe("untouched");
    expect(readdirSync(runDir)).toEqual(["sshd_config"]);
  });

  it("that cannot be written is an error under a launcher", async () => {
    const runDir = makeRunDir();
    mkdirSync(join(runDir, "environ"));
    const launcher = await Launcher.listen(runDir);
    const started = new Started(init, ["--launcher", "--run-dir", runDir, "--", "true"]);
    await launcher.hears(/^error write \S+\/environ: Is a directory$/);
    expect(await started.ended).toBe(125);
  });
});

describe("lingering", () => {
  it("is not done by default: sessions are cut at the command's end", async () => {
    const { runDir, launcher, started } = await hold([], { command: [witness, "exit", "3"] });
    const client = await byUnix(runDir).served();
    await launcher.say("go");
    await launcher.hears(/^exit 3$/);
    await client.over();
    expect(await started.ended).toBe(3);
    expect(launcher.lines.some((line) => line.startsWith("lingering"))).toBe(false);
  });

  it("with `sessions` lasts until the last one is closed; a new one may come by the unix socket, not by TCP", async () => {
    const { runDir, port, launcher, started } = await hold(["--linger", "sessions"], {
      command: [witness, "exit", "3"],
    });
    const first = await byTcp(port).served();
    const second = await byUnix(runDir).served();
    await launcher.say("go");
    await launcher.hears(/^exit 3$/);
    await launcher.hears(/^lingering 2$/);
    expect(await byTcp(port).over()).toBe("");
    first.socket.end();
    await launcher.hears(/^sessions 1$/);
    const third = await byUnix(runDir).served();
    second.socket.end();
    await launcher.hears(/^sessions 1$/);
    expect(await third.ask("status")).toContain("fds: 0 1 2");
    third.socket.end();
    expect(await started.ended).toBe(3);
  });

  it("is not done without a session", async () => {
    const { launcher, started } = await hold(["--linger", "sessions"], { command: [witness, "exit", "3"] });
    await launcher.say("go");
    expect(await started.ended).toBe(3);
    expect(launcher.lines.some((line) => line.startsWith("lingering"))).toBe(false);
  });

  it("with seconds ends sessions that stay longer", async () => {
    const { runDir, launcher, started } = await hold(["--linger", "1"], { command: [witness, "die", "9"] });
    const client = await byUnix(runDir).served();
    await launcher.say("go");
    await launcher.hears(/^signal 9 0$/);
    await launcher.hears(/^lingering 1$/);
    await client.over();
    expect(await started.ended).toBe(137);
  });

  it.each(["end", "signal 15"])("ends at `%s`, with the command's code", async (word) => {
    const { runDir, launcher, started } = await hold(["--linger", "sessions"], { command: [witness, "exit", "3"] });
    await byUnix(runDir).served();
    await launcher.say("go");
    await launcher.hears(/^lingering 1$/);
    await launcher.say(word);
    expect(await started.ended).toBe(3);
  });

  it("lets the reader of the command's output see its end", async () => {
    const { runDir, launcher, started } = await hold(["--linger", "sessions"], { command: ["echo", "done"], rig: [] });
    // The rig itself holds the streams; init alone is looked at here.
    const pid = await started.child();
    const client = await byUnix(runDir).served();
    await launcher.say("go");
    await launcher.hears(/^lingering 1$/);
    expect([0, 1, 2].map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))).toEqual([
      "/dev/null",
      "/dev/null",
      "/dev/null",
    ]);
    client.socket.end();
    expect(await started.ended).toBe(0);
    expect(started.out()).toBe("done\n");
  });
});
