// The control channel: every line of it, and what becomes of init when the launcher misbehaves or dies.
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import {
  buildAll,
  cleanUp,
  isAlive,
  Launcher,
  makeDirectory,
  makeRunDir,
  processesWith,
  Started,
  until,
} from "./helpers.ts";

const { rig, init, witness } = buildAll();
afterEach(cleanUp);

let markers = 0;

async function launch(args: string[], options: { rig?: string[]; before?: string[]; runDir?: string } = {}) {
  const runDir = options.runDir ?? makeRunDir();
  const launcher = await Launcher.listen(runDir);
  if (options.before) void launcher.say(...options.before);
  const marker = `gangway-control-${process.pid}-${++markers}-end`;
  const command = [init, "--launcher", "--run-dir", runDir, ...args];
  const started = new Started(rig, [...(options.rig ?? ["--pid"]), "--", ...command], {
    env: { ...process.env, MARKER: marker },
  });
  return { runDir, launcher, started, marker };
}

describe("the control channel", () => {
  it("is closed by the launcher first, who may be saying something as the command ends", async () => {
    const runDir = makeRunDir();
    const server = createServer({ allowHalfOpen: true });
    await new Promise<void>((done) => server.listen(join(runDir, "ctl"), done));
    const connected = new Promise<Socket>((done) => server.once("connection", done));
    const started = new Started(rig, [
      "--pid",
      "--",
      init,
      "--launcher",
      "--run-dir",
      runDir,
      "--",
      witness,
      "exit",
      "42",
    ]);
    const socket = await connected;
    let text = "";
    socket.on("data", (data) => {
      text += data.toString("latin1");
    });
    const ended = new Promise((done) => socket.once("end", done));
    socket.write("go\n");
    await ended;
    const failure = await new Promise<Error | null | undefined>((done) => socket.write("signal 15\n", done));
    expect(failure ?? undefined).toBeUndefined();
    expect(text).toMatch(/\nexit 42\n/);
    socket.end();
    expect(await started.ended).toBe(42);
    server.close();
  });

  it("says hello, up, started, exit, in this order", async () => {
    const { launcher, started } = await launch(["--", witness, "exit", "42"]);
    await launcher.hears(/^up /);
    await launcher.say("go");
    expect(await started.ended).toBe(42);
    await until("the channel is closed", () => launcher.over);
    expect(launcher.lines.map((line) => line.split(" ")[0])).toEqual(["hello", "up", "started", "exit"]);
    expect(launcher.lines[0]).toBe("hello 1");
    expect(launcher.lines[3]).toBe("exit 42");
  });

  it("reports port and addresses, IPv4 first, no loopback, no link-local", async () => {
    const { launcher } = await launch(["--hold"]);
    const [, port, addresses] = await launcher.hears(/^up (\d+)((?: \S+)*)$/);
    expect(Number(port)).toBeGreaterThan(0);
    const mine = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
    const wanted = mine.filter((one) => !one.internal && !/^(fe80:|169\.254\.)/.test(one.address));
    const told = (addresses ?? "").split(" ").filter((one) => one !== "");
    expect([...told].sort()).toEqual(wanted.map((one) => one.address).sort());
    const firstSix = told.findIndex((one) => one.includes(":"));
    expect(told.slice(firstSix < 0 ? told.length : firstSix).every((one) => one.includes(":"))).toBe(true);
  });

  it("reports death by a signal exactly", async () => {
    const { launcher, started } = await launch(["--no-listen", "--", witness, "die", "11"]);
    await launcher.say("go");
    await launcher.hears(/^started \d+$/);
    await launcher.hears(/^signal 11 0$/);
    expect(await started.ended).toBe(139);
  });

  it("starts nothing before `go`, and one command however often `go` comes", async () => {
    const place = makeDirectory();
    const script = `echo >> ${place}/started; cat`;
    const { launcher, started } = await launch(["--no-listen", "--", "sh", "-c", script]);
    await launcher.hears(/^up 0/);
    await launcher.say("signal 18", "winsize 10 20", "nonsense", "");
    expect(existsSync(join(place, "started"))).toBe(false);
    await launcher.say("go", "go");
    await launcher.hears(/^started/);
    await launcher.say("go");
    started.process.stdin?.end("x");
    expect(await started.ended).toBe(0);
    expect(started.out()).toBe("x");
    expect(launcher.lines.filter((line) => line.startsWith("started"))).toHaveLength(1);
  });

  it("takes a `go` that comes before it is up", async () => {
    const { launcher, started } = await launch(["--held-back", "200", "--no-listen", "--", witness, "exit", "8"], {
      before: ["go"],
    });
    expect(await started.ended).toBe(8);
    await until("the channel is closed", () => launcher.over);
    expect(launcher.lines.map((line) => line.split(" ")[0])).toEqual(["hello", "up", "started", "exit"]);
  });

  it("ignores words it does not know, lines that are too long, and numbers that are none", async () => {
    const { launcher, started } = await launch(["--no-listen", "--", witness, "listen"]);
    await launcher.say("go", "", "gone", "go now", "x".repeat(5000), "signal", "signal x", "signal 0", "signal 65");
    await launcher.say("signal 10 10", "signal -1", "winsize 1", "winsize -1 70000", "\0\xff", "e".repeat(1023));
    await started.says("listening");
    await launcher.say("signal 12");
    await started.says("got 12");
    await launcher.say("signal 12");
    expect(await started.ended).toBe(0);
    expect(started.out()).toBe("listening\ngot 12\ngot 12\n");
  });

  it("passes `signal N` on, one byte at a time if need be", async () => {
    const { launcher, started } = await launch(["--no-listen", "--", witness, "listen"]);
    await launcher.say("go");
    await started.says("listening");
    for (const byte of "signal 34\nsignal 12\nsignal 64\n") launcher.socket?.write(byte);
    await started.says("got 34\n");
    await started.says("got 12\n");
    await started.says("got 64\n");
    await launcher.say("signal 12");
    expect(await started.ended).toBe(0);
  });

  it("holds without a command until `end`", async () => {
    const { launcher, started } = await launch(["--hold", "--no-listen"]);
    await launcher.hears(/^up 0/);
    await launcher.say("go");
    await launcher.say("end");
    expect(await started.ended).toBe(0);
    expect(launcher.lines.some((line) => /^(started|exit|signal)/.test(line))).toBe(false);
  });

  it.each([1, 2, 3, 15, 37])("ends a held node at signal %i", async (number) => {
    const { launcher, started } = await launch(["--hold", "--no-listen"]);
    await launcher.hears(/^up 0/);
    process.kill(await started.child(), 28);
    process.kill(await started.child(), number);
    expect(await started.ended).toBe(128 + number);
  });

  it("treats a signal before the start as the end of a command that has not begun", async () => {
    const { launcher, started } = await launch(["--no-listen", "--", witness, "listen"]);
    await launcher.hears(/^up 0/);
    process.kill(await started.child(), "SIGTERM");
    await launcher.hears(/^signal 15 0$/);
    expect(await started.ended).toBe(143);
    expect(started.out()).toBe("");
  });

  it.each([["--pid"], ["--no-pid"]])("ends everything at `end` (%s)", async (kind) => {
    const { launcher, started, marker } = await launch(["--no-listen", "--", "sh", "-c", `${witness} stay; cat`], {
      rig: [kind],
    });
    await launcher.say("go");
    await started.says(/daemon/);
    await launcher.say("end");
    await launcher.hears(/^signal 15 \d$/);
    expect(await started.ended).toBe(143);
    expect(processesWith(marker)).toEqual([]);
  });

  it.each([
    ["as PID 1", ["--pid"]],
    ["as an ordinary process", []],
  ])("ends with its launcher, %s: keys first, then everybody", async (_, rigArgs) => {
    const runDir = makeRunDir();
    for (const name of ["host_ed25519", "id_ed25519", "id_ed25519.pub"]) writeFileSync(join(runDir, name), "key");
    const command = ["sh", "-c", `trap '' TERM HUP; ${witness} stay; echo ready; while :; do sleep 1; done`];
    const { launcher, started, marker } = await launch(["--no-listen", "--", ...command], { rig: rigArgs, runDir });
    await launcher.say("go");
    await started.says("ready");
    launcher.close();
    expect(await started.ended).toBe(137);
    expect(processesWith(marker)).toEqual([]);
    expect(readdirSync(runDir).sort()).toEqual([
      "agents",
      "context",
      "id_ed25519.pub",
      "report",
      "ssh",
      "sshd_config",
      "x11",
    ]);
  });

  it("ends with its launcher also before the start and while held back", async () => {
    const waiting = await launch(["--no-listen", "--", witness, "listen"]);
    await waiting.launcher.hears(/^up/);
    waiting.launcher.close();
    expect(await waiting.started.ended).toBe(137);
    const heldBack = await launch(["--held-back", "3000000", "--no-listen", "--", witness, "listen"]);
    await heldBack.launcher.hears(/^hello/);
    heldBack.launcher.close();
    expect(await heldBack.started.ended).toBe(137);
  });

  it("does not touch strangers when it is not PID 1", async () => {
    const stranger = new Started("sleep", ["1000"]);
    const { launcher, started } = await launch(["--no-listen", "--", "sh", "-c", "sleep 1000 & exit 0"], { rig: [] });
    await launcher.say("go");
    expect(await started.ended).toBe(0);
    expect(isAlive(stranger.pid)).toBe(true);
  });

  it("goes on when the launcher does not read, and the end arrives", async () => {
    const { launcher, started, runDir } = await launch(["--no-listen", "--", "cat"]);
    await launcher.say("go");
    await launcher.hears(/^started/);
    await launcher.stopReading();
    for (let turn = 0; turn < 300; turn++)
      await new Promise((done) => {
        const session = connect(join(runDir, "ssh"), () => session.end()).on("close", done);
        session.resume();
      });
    launcher.socket?.resume();
    await launcher.hears(/^sessions 0$/);
    started.process.stdin?.end();
    expect(await started.ended).toBe(0);
    await launcher.hears(/^exit 0$/);
  });

  it("reports a port that is taken, and ends with 125", async () => {
    const taken = createServer();
    await new Promise<void>((done) => taken.listen(0, "::", done));
    const address = taken.address();
    const port = typeof address === "object" && address ? address.port : 0;
    const { launcher, started } = await launch(["--port", String(port), "--", witness, "exit", "0"]);
    await launcher.hears(new RegExp(`^error listen ${port}: Address already in use$`));
    expect(await started.ended).toBe(125);
    taken.close();
  });

  it("fails with 125 when there is no launcher and must be one", async () => {
    const runDir = makeRunDir();
    const started = new Started(init, ["--launcher", "--run-dir", runDir, "--", witness, "exit", "0"]);
    expect(await started.ended).toBe(125);
    expect(started.err()).toBe(`init: cannot connect to the launcher at ${runDir}/ctl: No such file or directory\n`);
    expect(readdirSync(runDir)).toEqual(["sshd_config"]);
  });

  it("finds a launcher in a directory whose path is longer than a socket's may be", async () => {
    const runDir = join(makeDirectory(), "x".repeat(60), "y".repeat(60));
    const short = makeRunDir();
    const started0 = new Started("sh", ["-c", `mkdir -p ${runDir} && cp ${short}/sshd_config ${runDir}`]);
    expect(await started0.ended).toBe(0);
    // The launcher of the test binds by a short way to the same directory.
    const launcher = await listenIn(runDir);
    const command = [init, "--launcher", "--run-dir", runDir, "--no-listen", "--hold"];
    const started = new Started(rig, ["--pid", "--", ...command]);
    await launcher.hears(/^up 0/);
    expect(existsSync(join(runDir, "ssh"))).toBe(true);
    await launcher.say("end");
    expect(await started.ended).toBe(0);
  });
});

async function listenIn(runDir: string): Promise<Launcher> {
  const here = process.cwd();
  process.chdir(runDir);
  try {
    return await Launcher.listen(".");
  } finally {
    process.chdir(here);
  }
}

describe("by hand", () => {
  it("runs the command without sessions where there is no run directory, and says so", async () => {
    const started = new Started(init, ["--run-dir", "/nonexistent", "--", witness, "exit", "5"]);
    expect(await started.ended).toBe(5);
    expect(started.err()).toBe("init: no run directory /nonexistent (No such file or directory): no sessions\n");
  });

  it("goes on alone when nobody answers at ctl", async () => {
    const runDir = makeRunDir();
    writeFileSync(join(runDir, "ctl"), "");
    const started = new Started(init, ["--run-dir", runDir, "--no-listen", "--", witness, "exit", "6"]);
    expect(await started.ended).toBe(6);
    expect(started.err()).toMatch(/^init: no launcher answers at \S+\/ctl \(Connection refused\): going on without\n$/);
  });

  it("takes a launcher that listens, asked or not", async () => {
    const runDir = makeRunDir();
    const launcher = await Launcher.listen(runDir);
    const started = new Started(init, ["--run-dir", runDir, "--no-listen", "--", witness, "exit", "6"]);
    await launcher.hears(/^up 0/);
    await launcher.say("go");
    await launcher.hears(/^exit 6$/);
    expect(await started.ended).toBe(6);
  });

  it("removes what it made", async () => {
    const runDir = makeRunDir();
    const started = new Started(init, ["--run-dir", runDir, "--", "cat"]);
    await until("the socket is there", () => existsSync(join(runDir, "ssh")));
    started.process.stdin?.end();
    expect(await started.ended).toBe(0);
    expect(started.err()).toBe("");
    expect(readdirSync(runDir)).toEqual(["sshd_config"]);
  });

  it.each([
    [[]],
    [["--"]],
    [["--nonsense", "--", "true"]],
    [["--port"]],
    [["--port", "70000", "--", "true"]],
    [["--port", "12x", "--", "true"]],
    [["--linger", "soon", "--", "true"]],
    [["--max-connections", "0", "--", "true"]],
    [["--hold", "--", "true"]],
  ])("refuses a wrong command line: %j", async (args) => {
    const started = new Started(init, args);
    expect(await started.ended).toBe(125);
    expect(started.err()).toMatch(/^init: .*\nusage: init /);
  });
});
