// What init does for the command: exact ends, every signal, a clean start, and a clean end of everything else.
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { buildAll, cleanUp, Launcher, makeDirectory, makeRunDir, processesWith, Started, until } from "./helpers.ts";

const { rig, init, witness } = buildAll();
afterEach(cleanUp);

const marked = (marker: string) => ({ env: { ...process.env, MARKER: marker } });
let markers = 0;
const newMarker = () => `gangway-test-${process.pid}-${++markers}-end`;

const alone = (command: string[], options = {}) => new Started(init, ["--no-sshd", "--", ...command], options);
const asPidOne = (command: string[], options = {}) =>
  new Started(rig, ["--pid", "--", init, "--no-sshd", "--", ...command], options);
const kinds = [
  ["as PID 1", asPidOne],
  ["as an ordinary process", alone],
] as const;

/** What does not end a program that has not asked for anything else. */
const harmless = new Set([17, 18, 19, 20, 21, 22, 23, 28]);
const everySignal = Array.from({ length: 64 }, (_, index) => index + 1);
/** All but KILL and STOP, which nobody can catch, and CHLD, which is init's own. */
const forwarded = everySignal.filter((number) => ![9, 17, 19].includes(number));

async function inBatches(all: number[], each: (one: number) => Promise<void>): Promise<void> {
  const left = [...all];
  const worker = async () => {
    for (let one = left.shift(); one !== undefined; one = left.shift()) await each(one);
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
}

async function withLauncher(args: string[]) {
  const runDir = makeRunDir();
  const launcher = await Launcher.listen(runDir);
  const started = new Started(rig, ["--pid", "--", init, "--launcher", "--run-dir", runDir, "--no-listen", ...args]);
  await launcher.hears(/^up /);
  return { launcher, started };
}

describe.each(kinds)("init %s", (_, run) => {
  it("ends with the command's exit code, 0 to 255", async () => {
    const wrong: string[] = [];
    const codes = Array.from({ length: 256 }, (_, code) => code);
    await inBatches(codes, async (code) => {
      const ended = await run([witness, "exit", String(code)]).ended;
      if (ended !== code) wrong.push(`${code}: ${ended}`);
    });
    expect(wrong).toEqual([]);
  });

  it("ends with 128+n when the command died of signal n", async () => {
    const wrong: string[] = [];
    await inBatches(
      everySignal.filter((number) => !harmless.has(number)),
      async (number) => {
        const ended = await run([witness, "die", String(number)]).ended;
        if (ended !== 128 + number) wrong.push(`${number}: ${ended}`);
      },
    );
    expect(wrong).toEqual([]);
  });

  it("passes stdin, stdout and stderr through, to the last byte", async () => {
    const started = run(["sh", "-c", "cat; echo end >&2"]);
    const data = Buffer.alloc(3_000_001, "0123456789abcdef\n");
    started.process.stdin?.end(data);
    expect(await started.ended).toBe(0);
    expect(started.stdout.equals(data)).toBe(true);
    expect(started.err()).toBe("end\n");
  });

  it("reaps orphans", async () => {
    const started = run([witness, "orphans", "20"]);
    expect(await started.ended).toBe(0);
    expect(started.out()).toBe("20 orphans reaped\n");
  });

  it("leaves no process behind: not one that left the session and ignores TERM", async () => {
    const marker = newMarker();
    const started = run(
      ["sh", "-c", `${witness} stay & ${witness} stay & sleep 1000 & read x; exit 4`],
      marked(marker),
    );
    await started.says(/(daemon[\s\S]*){2}/);
    started.process.stdin?.end("\n");
    expect(await started.ended).toBe(4);
    expect(processesWith(marker)).toEqual([]);
  });

  it("ends others with TERM first", async () => {
    const place = makeDirectory();
    const child = `trap 'echo TERM >> ${place}/told; exit' TERM; echo > ${place}/ready; sleep 1000 & wait`;
    writeFileSync(join(place, "child"), child);
    const started = run(["sh", "-c", `sh ${place}/child & while [ ! -e ${place}/ready ]; do sleep 0.01; done; exit 9`]);
    expect(await started.ended).toBe(9);
    expect(readFileSync(join(place, "told"), "utf8")).toBe("TERM\n");
  });

  it("ends what ignores TERM with HUP, as an interactive shell does", async () => {
    const place = makeDirectory();
    const child = `trap '' TERM; trap 'echo HUP >> ${place}/told; exit' HUP; echo > ${place}/ready; sleep 1000 & wait`;
    writeFileSync(join(place, "child"), child);
    const started = run(["sh", "-c", `sh ${place}/child & while [ ! -e ${place}/ready ]; do sleep 0.01; done; exit 9`]);
    expect(await started.ended).toBe(9);
    expect(readFileSync(join(place, "told"), "utf8")).toBe("HUP\n");
  });

  it("wakes what is stopped, so that it can end", async () => {
    const marker = newMarker();
    const started = run(["sh", "-c", "sleep 1000 & kill -STOP $!; exit 5"], marked(marker));
    expect(await started.ended).toBe(5);
    expect(processesWith(marker)).toEqual([]);
  });

  it("forwards every signal that can be caught, real-time ones and their values included", async () => {
    const marker = newMarker();
    const started = run([witness, "listen"], marked(marker));
    await started.says("listening");
    const pid = run === alone ? started.pid : await started.child();
    for (const number of forwarded.filter((number) => number !== 12)) {
      process.kill(pid, number);
      await started.says(new RegExp(`^got ${number}$`, "m"));
    }
    expect(await new Started(witness, ["queue", String(pid), "40", "123456"]).ended).toBe(0);
    await started.says("got 40 value 123456\n");
    process.kill(pid, "SIGUSR2");
    await started.says("got 12\n");
    process.kill(pid, "SIGUSR2");
    expect(await started.ended).toBe(0);
    expect(started.out().match(/^got/gm)).toHaveLength(forwarded.length + 2);
  });

  it("signals the command's process and nobody else", async () => {
    const place = makeDirectory();
    const child = `trap 'echo >> ${place}/told' TERM; echo > ${place}/ready; while [ ! -e ${place}/end ]; do sleep 0.01; done`;
    writeFileSync(join(place, "child"), child);
    const command = `trap 'echo got TERM; echo > ${place}/end' TERM; sh ${place}/child & wait; wait; exit 6`;
    const started = run(["sh", "-c", command]);
    await until("the child is ready", () => existsSync(join(place, "ready")));
    process.kill(run === alone ? started.pid : await started.child(), "SIGTERM");
    expect(await started.ended).toBe(6);
    expect(started.out()).toBe("got TERM\n");
    expect(existsSync(join(place, "told"))).toBe(false);
  });
});

describe("the command's start", () => {
  it("has default dispositions, an empty mask and no descriptor of init's, whatever init was started with", async () => {
    const started = new Started(rig, ["--pid", "--dirty", "--", init, "--no-sshd", "--", witness, "status"]);
    expect(await started.ended).toBe(0);
    expect(started.out()).toMatch(/^SigPnd:\t0{16}$/m);
    expect(started.out()).toMatch(/^SigBlk:\t0{16}$/m);
    expect(started.out()).toMatch(/^SigIgn:\t0{16}$/m);
    expect(started.out()).toMatch(/^fds: 0 1 2$/m);
    expect(started.out()).toMatch(/^leader: group$/m);
  });

  it("has the same with sockets, a launcher and a small limit of files", async () => {
    const runDir = makeRunDir();
    const launcher = await Launcher.listen(runDir);
    const command = [init, "--launcher", "--run-dir", runDir, "--", witness, "status"];
    const started = new Started(rig, ["--pid", "--nofile", "20", "--", ...command]);
    await launcher.say("go");
    expect(await started.ended).toBe(0);
    expect(started.out()).toMatch(/^fds: 0 1 2$/m);
    expect(started.out()).toMatch(/^nofile: 20$/m);
  });

  it("has init's environment and working directory", async () => {
    const env = { PATH: process.env.PATH, "a.b-c": "x\ny", "1X": "", "BASH_FUNC_f%%": "() {  :\n}" };
    const started = new Started(init, ["--no-sshd", "--", witness, "environment"], { env });
    expect(await started.ended).toBe(0);
    const expected = Object.entries(env).map(([name, value]) => `${name}=${value ?? ""}\0`);
    expect(started.out().split("\0").sort()).toEqual(expected.join("").split("\0").sort());
    const where = new Started(init, ["--no-sshd", "--", witness, "arguments"], { cwd: "/usr/lib" });
    expect(await where.ended).toBe(0);
    expect(where.out()).toContain("cwd=/usr/lib\n");
  });

  it("is searched in the job's PATH, past files that cannot be executed", async () => {
    const place = makeDirectory();
    for (const [name, mode] of [
      ["one", 0o644],
      ["two", 0o755],
    ] as const) {
      mkdirSync(join(place, name));
      writeFileSync(join(place, name, "tool"), "#!/bin/sh\necho $0\n");
      chmodSync(join(place, name, "tool"), mode);
    }
    const env = { PATH: `/nonexistent:${place}/one:/etc/passwd:${place}/two` };
    const started = new Started(init, ["--no-sshd", "--", "tool"], { env });
    expect(await started.ended).toBe(0);
    expect(started.out()).toBe(`${place}/two/tool\n`);
    const none = new Started(init, ["--no-sshd", "--", "tool"], { env: { PATH: `/nonexistent:${place}/one` } });
    expect(await none.ended).toBe(126);
    expect(none.err()).toBe(`init: ${place}/one/tool: Permission denied\n`);
  });

  it("gives a script without #! to the shell", async () => {
    const place = makeDirectory();
    writeFileSync(join(place, "plain"), 'echo "$1:$2"; exit 3\n');
    chmodSync(join(place, "plain"), 0o755);
    const started = alone([join(place, "plain"), "a b", "c"]);
    expect(await started.ended).toBe(3);
    expect(started.out()).toBe("a b:c\n");
  });

  const failures: [string, (place: string) => string, number, RegExp][] = [
    ["a name that is not in PATH", () => "no-such-command", 2, /^no-such-command: not found in PATH$/],
    ["an empty name", () => "", 2, /not found in PATH$/],
    ["a file that is not there", (place) => `${place}/no`, 2, /^\S+\/no: No such file or directory$/],
    ["a name that is not ASCII", (place) => `${place}/é\n`, 2, /^\S+\/\?\?\?: No such file or directory$/],
    [
      "a script whose interpreter is not there",
      (place) => file(place, "#! /no/such/shell -x\n"),
      2,
      /: its interpreter \/no\/such\/shell is not in the image$/,
    ],
    [
      "a program without its dynamic loader",
      (place) => loaderless(place),
      2,
      /: the dynamic loader it asks for is not /,
    ],
    ["a file that is not executable", (place) => file(place, "echo\n", 0o644), 13, /: Permission denied$/],
    ["a directory", (place) => place, 13, /: Permission denied$/],
    ["another machine's program", (place) => file(place, "\x7fELF nothing"), 8, /: not a program for this machine$/],
    ["bytes", (place) => file(place, "\0\0\0\0"), 8, /: not a program for this machine$/],
  ];
  it.each(failures)("that fails is reported: %s", async (_, make, errno, text) => {
    const command = make(makeDirectory());
    const { launcher, started } = await withLauncher(["--", command]);
    await launcher.say("go");
    const [, number, said] = await launcher.hears(/^failed (\d+) (.*)$/);
    expect(Number(number)).toBe(errno);
    expect(said).toMatch(text);
    const code = errno === 2 ? 127 : 126;
    await launcher.hears(new RegExp(`^exit ${code}$`));
    expect(await started.ended).toBe(code);
    expect(launcher.lines.some((line) => line.startsWith("started"))).toBe(false);
    expect(started.err()).toBe("");
  });
});

function file(place: string, content: string, mode = 0o755): string {
  const path = join(place, "file");
  writeFileSync(path, content, "latin1");
  chmodSync(path, mode);
  return path;
}

/** A dynamically linked program that asks for a loader which no system has. */
function loaderless(place: string): string {
  const program = readFileSync("/bin/true");
  program.write("no-linux", program.indexOf("ld-linux"));
  const path = join(place, "program");
  writeFileSync(path, program, { mode: 0o755 });
  return path;
}

describe("a debugger in a session", () => {
  it("is allowed by the command itself, before it is executed", async () => {
    const refused = new Started(rig, ["--kill-ptracer", "--", init, "--no-sshd", "--", witness, "exit", "3"]);
    // SIGSYS: the command's process has asked for exactly this.
    expect(await refused.ended).toBe(128 + 31);
  });
});
