// A container with a terminal: job control, its reports, and the terminal's size.
import { afterEach, describe, expect, it } from "vitest";
import { buildAll, cleanUp, Launcher, makeRunDir, Started } from "./helpers.ts";

const { rig, init, witness } = buildAll();
afterEach(cleanUp);

const INTERRUPT = "\x03";
const SUSPEND = "\x1a";

async function withLauncher(...command: string[]) {
  const runDir = makeRunDir();
  const launcher = await Launcher.listen(runDir);
  const program = [init, "--launcher", "--run-dir", runDir, "--no-listen", "--", ...command];
  const started = new Started(rig, ["--pid", "--tty", "--", ...program]);
  await launcher.hears(/^up 0/);
  await launcher.say("go");
  const [, pid] = await launcher.hears(/^started (\d+)$/);
  return { launcher, started, pid: Number(pid) };
}

const type = (started: Started, text: string) => started.process.stdin?.write(text);

describe("on a terminal", () => {
  it("^C reaches the command", async () => {
    const { launcher, started } = await withLauncher("sh", "-c", "echo ready; exec sleep 1000");
    await started.says("ready");
    type(started, INTERRUPT);
    await launcher.hears(/^signal 2 0$/);
    expect(await started.ended).toBe(130);
  });

  it("^C ends what an interactive shell runs, not the shell", async () => {
    const { started } = await withLauncher("sh", "-i");
    type(started, "echo rea''dy; sleep 1000\n");
    await started.says("ready\r\n");
    type(started, INTERRUPT);
    await started.says("^C");
    type(started, "echo st''atus $?\n");
    await started.says("status 130");
    type(started, "exit 7\n");
    expect(await started.ended).toBe(7);
  });

  it("^Z stops it, which is reported, and `continue` brings it back into the foreground", async () => {
    const { launcher, started, pid } = await withLauncher("sh", "-c", "echo ready; read line; echo got $line");
    await started.says("ready");
    for (let turn = 0; turn < 3; turn++) {
      type(started, SUSPEND);
      await launcher.hears(/^stopped 20$/);
      await launcher.say("continue");
      await launcher.hears(/^continued$/);
    }
    expect(pid).toBeGreaterThan(1);
    type(started, "text\n");
    await started.says("got text");
    expect(await started.ended).toBe(0);
  });

  it("the command is the foreground group of init's session, with default dispositions", async () => {
    const { started } = await withLauncher("sh", "-c", `${witness} status; ps -o pgid=,tpgid=,tty= -p $$`);
    expect(await started.ended).toBe(0);
    expect(started.out()).toMatch(/SigIgn:\t0{16}/);
    expect(started.out()).toMatch(/^\s*(\d+)\s+\1 pts\/\d+/m);
  });

  it("`winsize` sets the size and the command is told", async () => {
    const { launcher, started } = await withLauncher(
      "sh",
      "-c",
      "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done",
    );
    await started.says("ready");
    await launcher.say("winsize 33 111");
    await started.says("33 111");
    await launcher.say("end");
    expect(await started.ended).toBe(143);
  });

  it("a background process that writes to it does not stop init", async () => {
    const { started } = await withLauncher("sh", "-c", "stty tostop; (sleep 0.1; echo late) & sleep 0.3; echo end");
    expect(await started.ended).toBe(0);
    expect(started.out()).toContain("end");
  });

  it("its hangup is the end of the command", async () => {
    const { launcher, started } = await withLauncher("sh", "-c", "echo ready; sleep 1000");
    await started.says("ready");
    started.process.kill("SIGKILL");
    await started.ended;
    expect(launcher.lines).toContain("hello 1");
  });

  it("without `ctl`, as PID 1, is the command's all the same", async () => {
    const started = new Started(rig, [
      "--pid",
      "--tty",
      "--",
      init,
      "--no-sshd",
      "--",
      "sh",
      "-c",
      "tty; read x; exit $x",
    ]);
    await started.says("/dev/pts/");
    type(started, "9\n");
    expect(await started.ended).toBe(9);
  });

  it("by hand under a shell, ^Z stops init too, and `fg` brings both back", async () => {
    const command = [init, "--no-sshd", "--", "sh", "-c", "echo ready; read line; echo got $line"];
    const started = new Started(rig, ["--tty", "--shell", "--", ...command]);
    await started.says("ready");
    type(started, SUSPEND);
    await started.says("shell: stopped, foreground job");
    type(started, "text\n");
    await started.says("got text");
    expect(await started.ended).toBe(0);
  });

  it("which is its launcher's, too, ^Z stops all of the shell's job, and `fg` brings all back", async () => {
    const runDir = makeRunDir();
    const launcher = await Launcher.listen(runDir);
    const words = ["--launcher", "--shared-terminal", "--run-dir", runDir, "--no-listen"];
    const command = ["sh", "-c", "echo ready; read line; echo got $line"];
    const started = new Started(rig, ["--tty", "--shell", "--", init, ...words, "--", ...command]);
    await launcher.hears(/^up 0/);
    await launcher.say("go");
    await started.says("ready");
    type(started, SUSPEND);
    await launcher.hears(/^stopped 20$/);
    await started.says("shell: stopped, foreground job");
    type(started, "text\n");
    await started.says("got text");
    expect(await started.ended).toBe(0);
  });

  it("by hand under a shell, ^C ends the command, with its code", async () => {
    const started = new Started(rig, [
      "--tty",
      "--shell",
      "--",
      init,
      "--no-sshd",
      "--",
      "sh",
      "-c",
      "echo ready; sleep 1000",
    ]);
    await started.says("ready");
    type(started, INTERRUPT);
    expect(await started.ended).toBe(130);
  });
});
