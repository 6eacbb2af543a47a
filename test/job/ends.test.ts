import { createHash, randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  ENGINES,
  eventually,
  GANGWAY,
  gangway,
  IMAGES,
  PODMAN,
  ROOTLESS,
  type RunOptions,
  type RunResult,
  run,
  start,
} from "./harness.ts";
import { HeldJob } from "./held.ts";
import { INTERACTIVE_SHELL, onTerminal } from "./terminal.ts";

const MIB = 2 ** 20;
/** Signals whose default action ends a process. */
const DEADLY = [...range(1, 16), ...range(24, 27), 29, 30, 31, ...range(32, 64)];
const OTHER_ENGINES = [PODMAN, ROOTLESS];

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

/** `gangway run` of a command, in the bare image unless another is named. */
async function launch(
  command: readonly string[],
  options: RunOptions & { image?: string; words?: readonly string[] } = {},
) {
  const { image = IMAGES.bare, words = [], ...rest } = options;
  return await gangway(["run", "--image", image, ...words, "--", ...command], rest);
}

/** A few at a time: the machine may be small. */
async function each<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<[T, R][]> {
  const results = new Map<T, R>();
  const queue = [...items];
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) results.set(item, await work(item));
  };
  await Promise.all([worker(), worker(), worker()]);
  return items.map((item) => [item, results.get(item) as R]);
}

function sum(data: Buffer): string {
  return `${data.length} sha256 ${createHash("sha256").update(data).digest("hex")}\n`;
}

/** Starts `gangway …` and waits until it has printed something that matches. */
async function startAndHear(words: readonly string[], pattern: RegExp, options: RunOptions = {}) {
  const child = start([GANGWAY, ...words], options);
  const result = { stdout: "", stderr: "", code: -1 };
  child.stdin.on("error", () => undefined);
  const heard = new Promise<void>((resolve) => {
    child.stdout.on("data", (chunk: Buffer) => {
      result.stdout += chunk.toString();
      if (pattern.test(result.stdout)) resolve();
    });
  });
  child.stderr.on("data", (chunk: Buffer) => {
    result.stderr += chunk.toString();
  });
  const ended = new Promise<typeof result>((resolve) => {
    child.once("close", (code) => {
      result.code = code ?? -1;
      resolve(result);
    });
  });
  await Promise.race([heard, ended]);
  return { child, ended };
}

describe("exit codes and signals reach the other side", () => {
  // Of the images that have a shell, the one whose does not ignore QUIT by itself, as busybox's does.
  const image = IMAGES.debian;
  const words = ["--ulimit", "core=0"];
  let job: HeldJob;
  beforeAll(async () => {
    job = await HeldJob.start({ image, nodes: 2, words });
  });
  afterAll(async () => {
    expect(await job.end()).toBe(0);
  });

  /** Runs `ssh node2 COMMAND` for every number, within the job, and tells the numbers whose end was another. */
  async function mismatches(numbers: readonly number[], command: string, expected: string): Promise<RunResult> {
    const script = `
      check() { for n; do ssh node2 "${command}"; got=$?; [ $got = $((${expected})) ] || echo "$n: $got"; done; }
      ${[0, 1, 2, 3].map((lane) => `check ${numbers.filter((_, at) => at % 4 === lane).join(" ")} &`).join("\n")}
      wait`;
    return await job.shell(["sh", "-c", script]);
  }

  it("ssh node2: every exit code from 0 to 255", async () => {
    expect(await mismatches(range(0, 255), "exit $n", "n")).toMatchObject({ code: 0, stdout: "", stderr: "" });
  });

  it("ssh node2: death by every signal is 128+n", async () => {
    const result = await mismatches(DEADLY, "exec probe kill $n", "128 + n");
    expect(result).toMatchObject({ code: 0, stdout: "", stderr: "" });
  });

  it("ssh node2: a command that traps INT and QUIT, and one that sends them to itself", async () => {
    const trap = await mismatches([2, 3], "trap 'exit 9' $n; kill -$n \\$\\$; exit 1", "9");
    expect(trap).toMatchObject({ code: 0, stdout: "", stderr: "" });
    const own = await mismatches([2, 3, 15], "exec sh -c 'kill -$n \\$\\$; exit 1'", "128 + n");
    expect(own).toMatchObject({ code: 0, stdout: "", stderr: "" });
  });

  it("gangway shell: exit codes", async () => {
    for (const [code, result] of await each([0, 1, 2, 125, 126, 127, 128, 130, 143, 254, 255], (code) =>
      job.shell(["probe", "exit", String(code)]),
    ))
      expect(result).toMatchObject({ code, stdout: "", stderr: "" });
  });

  it("gangway shell: death by a signal is 128+n", async () => {
    for (const [signal, result] of await each([1, 2, 3, 6, 9, 11, 15, 34, 64], (signal) =>
      job.shell(["probe", "kill", String(signal)]),
    ))
      expect(result).toMatchObject({ code: 128 + signal, stdout: "" });
  });

  it("gangway shell: a command that is not there, and one that is no program", async () => {
    expect((await job.shell(["no-such-program"])).code).toBe(127);
    expect((await job.shell(["/etc/passwd"])).code).toBe(126);
  });

  it("gangway run: exit codes", async () => {
    for (const [code, result] of await each([0, 1, 2, 124, 125, 126, 127, 128, 130, 137, 143, 254, 255], (code) =>
      launch(["probe", "exit", String(code)]),
    ))
      expect(result).toMatchObject({ code, stdout: "", stderr: "" });
  });

  it("gangway run: death by a signal is 128+n", async () => {
    for (const [signal, result] of await each([1, 2, 3, 6, 9, 11, 13, 14, 15, 34, 64], (signal) =>
      launch(["probe", "kill", String(signal)], { words }),
    ))
      expect(result).toMatchObject({ code: 128 + signal, stdout: "", stderr: "" });
  });

  it("gangway run: a job that sends itself INT or QUIT, and one that traps them", async () => {
    const jobs: [string, number][] = [
      ["kill -INT $$; exit 1", 130],
      ["kill -QUIT $$; exit 1", 131],
      ["trap 'exit 7' INT; kill -INT $$; exit 1", 7],
      ["trap 'exit 8' QUIT; kill -QUIT $$; exit 1", 8],
      // A child, too: a shell that ignored the signals would hand that down.
      ["sh -c 'kill -INT $$; exit 1'; exit $?", 130],
    ];
    for (const [[, code], result] of await each(jobs, ([script]) => launch(["sh", "-c", script], { image, words })))
      expect(result).toMatchObject({ code, stdout: "", stderr: "" });
  });

  it.each(OTHER_ENGINES)("the same on $name", async (engine) => {
    const commands: [string[], number][] = [
      [["probe", "exit", "0"], 0],
      [["probe", "exit", "255"], 255],
      [["probe", "kill", "9"], 137],
      [["probe", "kill", "14"], 142],
      [["sh", "-c", "kill -INT $$; exit 1"], 130],
      [["sh", "-c", "trap 'exit 7' QUIT; kill -QUIT $$; exit 1"], 7],
      [["sh", "-c", "sh -c 'kill -INT $$; exit 1'; exit $?"], 130],
      [["no-such-program"], 127],
      [["/etc/passwd"], 126],
    ];
    for (const [[, code], result] of await each(commands, ([command]) => launch(command, { engine, image })))
      expect(result).toMatchObject({ code, stdout: "" });
    const other = await HeldJob.start({ engine, nodes: 2 });
    try {
      for (const [code, result] of await each([0, 1, 255], (code) => other.shell(["ssh", "node2", `exit ${code}`])))
        expect(result).toMatchObject({ code, stdout: "", stderr: "" });
      expect(await other.shell(["ssh", "node2", "exec probe kill 15"])).toMatchObject({ code: 143 });
    } finally {
      expect(await other.end()).toBe(0);
    }
  });
});

describe("signals sent to the launcher are the command's", () => {
  it.each(["SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGALRM"] as const)("%s", async (name) => {
    const number = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGUSR1: 10, SIGALRM: 14, SIGTERM: 15 }[name];
    const words = ["run", "--image", IMAGES.bare, "--", "probe", "trap", String(number), "42"];
    const { child, ended } = await startAndHear(words, /ready\n/);
    child.kill(name);
    expect(await ended).toMatchObject({ code: 42, stderr: "" });
  });

  it("a command that does not trap one dies by it", async () => {
    const words = ["run", "--image", IMAGES.bare, "--", "probe", "say", "ready", "--", "sleep", "60"];
    const { child, ended } = await startAndHear(words, /ready\n/);
    child.kill("SIGTERM");
    expect(await ended).toMatchObject({ code: 143, stderr: "" });
  });

  it("three interrupts end a job that does not listen to them", async () => {
    const words = ["run", "--image", IMAGES.bare, "--", "probe", "signals", "60"];
    const { child, ended } = await startAndHear(words, /ready\n/);
    for (const count of [1, 2, 3]) {
      child.kill("SIGINT");
      if (count < 3) await new Promise((resolve) => child.stdout.once("data", resolve));
    }
    const result = await ended;
    expect(result.code).toBe(130);
    expect(result.stderr).toBe("gangway: the command does not end by ^C: ending the job\n");
  });
});

describe("the command, and what stands in its way", () => {
  it.each<[string, string[], number, RegExp]>([
    ["not found", ["no-such-program"], 127, /^gangway: node1: no-such-program: not found in PATH\n/],
    ["a path that is not there", ["/no/such/program"], 127, /^gangway: node1: \/no\/such\/program: No such file/],
    ["not executable", ["/etc/passwd"], 126, /^gangway: node1: \/etc\/passwd: Permission denied\n/],
    ["a directory", ["/usr"], 126, /^gangway: node1: \/usr: (Permission denied|Is a directory)\n/],
  ])("%s: %j ends with %i", async (_, command, code, message) => {
    const result = await launch(command);
    expect(result).toMatchObject({ code, stdout: "" });
    expect(result.stderr).toMatch(message);
  });

  it("the launcher's own failures end with 125", async () => {
    const image = await gangway(["run", "--image", "gangway-test/none", "--pull", "never", "--", "probe", "who"]);
    expect(image).toMatchObject({ code: 125, stdout: "" });
    expect(image.stderr).toContain("gangway-test/none");
    expect((await launch(["probe", "who"], { words: ["--no-such-flag"] })).code).toBe(125);
  });

  const locked = async (words: readonly string[]) => await gangway(["run", "--image", IMAGES.locked, ...words]);

  it("the image's ENTRYPOINT stands before the command", async () => {
    const { code, stdout } = await locked(["--", "probe", "env"]);
    expect(code).toBe(0);
    expect(stdout.split("\0")).toContain("ENTRYPOINT_WAS_HERE=yes, with 2 arguments");
  });

  it("without a command its CMD is run, by its ENTRYPOINT", async () => {
    const { code, stdout } = await locked([]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^uid/m);
  });

  it("--entrypoint takes the ENTRYPOINT's place, and the CMD away", async () => {
    const given = await locked(["--entrypoint", "probe", "--", "args", "one", "two words", ""]);
    expect(given).toMatchObject({ code: 0, stdout: "one\0two words\0\0" });
    const alone = await locked(["--entrypoint", "probe"]);
    expect(alone.code).toBe(112);
  });

  it("--entrypoint '' is none at all", async () => {
    const { code, stdout } = await locked(["--entrypoint", "", "--", "probe", "env"]);
    expect(code).toBe(0);
    expect(stdout).not.toContain("ENTRYPOINT_WAS_HERE");
    const nothing = await locked(["--entrypoint", ""]);
    expect(nothing.code).toBe(125);
    expect(nothing.stderr).toContain("names no command of its own");
  });

  it("an image with neither needs a command", async () => {
    const scratch = await gangway(["run", "--image", IMAGES.scratch, "--", "/probe", "exit", "3"]);
    expect(scratch.code).toBe(3);
    const own = await gangway(["run", "--image", IMAGES.scratch]);
    expect(own.code).toBe(0);
    expect(own.stdout).toMatch(/^uid/m);
  });
});

describe("streams", () => {
  const data = randomBytes(64 * MIB);

  it.each(ENGINES)("64 MiB each way through the launcher: $name", async (engine) => {
    const both = await launch(["probe", "cat"], { engine, input: data });
    expect(both).toMatchObject({ code: 0, stderr: "" });
    expect(sum(both.bytes)).toBe(sum(data));
  });

  it("the job sees what the launcher was given", async () => {
    const input = data.subarray(0, 16 * MIB + 1);
    expect(await launch(["probe", "sum"], { input })).toMatchObject({ code: 0, stdout: sum(input) });
  });

  describe("of sessions", () => {
    let job: HeldJob;
    beforeAll(async () => {
      job = await HeldJob.start({ nodes: 2 });
    });
    afterAll(async () => {
      expect(await job.end()).toBe(0);
    });

    it("64 MiB each way by gangway shell", async () => {
      const { code, bytes, stderr } = await job.shell(["probe", "cat"], "", { input: data });
      expect({ code, stderr, sum: sum(bytes) }).toEqual({ code: 0, stderr: "", sum: sum(data) });
    });

    it("64 MiB each way by ssh node2, within gangway shell", async () => {
      const { code, bytes, stderr } = await job.shell(["ssh", "node2", "probe", "cat"], "", { input: data });
      expect({ code, stderr, sum: sum(bytes) }).toEqual({ code: 0, stderr: "", sum: sum(data) });
    });

    it.each<[string, string, string]>([
      ["an empty stdin", "ssh node2 wc -l </dev/null", "0\n"],
      ["no stdin (-n)", "ssh -n node2 wc -l", "0\n"],
      ["output after stdin's end", "printf 'a\\nb\\n' | ssh node2 'wc -l; echo late'", "2\nlate\n"],
      ["stdin that the command ends early", "probe gen 9000000 1 | ssh node2 'head -c 1 | wc -c'", "1\n"],
      ["the same, and output still later", "probe gen 9000000 1 | ssh node2 probe early 5", "5\nlate\n"],
      ["stdout and stderr apart", "ssh node2 probe both 2>/dev/null", "out\n"],
      ["stderr alone", "ssh node2 probe both 2>&1 >/dev/null", "err\n"],
      ["stdout closed by the command", "ssh node2 'exec >&-; probe sleep 0.2; exit 5'; echo $?", "5\n"],
      ["a reader who leaves", "ssh node2 yes | head -n 1", "y\n"],
      ["the last line without its end", "ssh node2 'printf last'", "last"],
    ])("ssh node2: %s", async (_, script, stdout) => {
      expect(await job.shell(["sh", "-c", script])).toMatchObject({ code: 0, stdout });
    });
  });

  it.each<[string, string[], string, string]>([
    ["an empty stdin", ["wc", "-l"], "", "0\n"],
    ["output after stdin's end", ["sh", "-c", "wc -l; echo late"], "a\nb\n", "2\nlate\n"],
    ["the last line without its end", ["printf", "last"], "", "last"],
  ])("gangway run: %s", async (_, command, input, stdout) => {
    expect(await launch(command, { input })).toMatchObject({ code: 0, stdout, stderr: "" });
  });

  it.each(ENGINES)("stdin that the command ends early: $name", async (engine) => {
    const input = data.subarray(0, 9 * MIB);
    const one = await launch(["head", "-c", "1"], { engine, input });
    expect(one).toMatchObject({ code: 0, stderr: "" });
    expect(one.bytes.equals(input.subarray(0, 1))).toBe(true);
    expect(await launch(["probe", "early", "5"], { engine, input })).toMatchObject({ code: 0, stdout: "5\nlate\n" });
  });

  it.each(ENGINES)("/dev/null and a closed stdin are an empty one: $name", async (engine) => {
    const script = '"$@" </dev/null; "$@" <&-';
    const words = ["bash", "-c", script, "launch", GANGWAY, "run", "--image", IMAGES.bare, "--", "wc", "-l"];
    expect(await run(words, { engine })).toMatchObject({ code: 0, stdout: "0\n0\n", stderr: "" });
  });

  it("--no-stdin leaves what is there to others", async () => {
    const script = '"$@"; cat';
    const words = ["bash", "-c", script, "launch", GANGWAY, "run", "-n", "--image", IMAGES.bare, "--", "wc", "-l"];
    expect(await run(words, { input: "theirs\n" })).toMatchObject({ code: 0, stdout: "0\ntheirs\n", stderr: "" });
  });

  it.each(ENGINES)("stdout and stderr stay apart: $name", async (engine) => {
    expect(await launch(["probe", "both"], { engine })).toMatchObject({ code: 0, stdout: "out\n", stderr: "err\n" });
  });

  it("a slow reader gets everything", async () => {
    const child = start([GANGWAY, "run", "--image", IMAGES.bare, "--", "probe", "gen", String(8 * MIB), "3"]);
    child.stdin.end();
    const chunks: Buffer[] = [];
    const code = new Promise((resolve) => child.once("close", resolve));
    await new Promise((resolve) => setTimeout(resolve, 1500));
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      if (chunks.length % 40 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(await code).toBe(0);
    const { stdout } = await launch(["sh", "-c", `probe gen ${8 * MIB} 3 | probe sum`]);
    expect(sum(Buffer.concat(chunks))).toBe(stdout);
  });

  it.each(ENGINES)("a reader who leaves ends the command by SIGPIPE: $name", async (engine) => {
    const script = '"$@" | head -n 1; echo "$PIPESTATUS"';
    const words = ["bash", "-c", script, "launch", GANGWAY, "run", "--image", IMAGES.bare, "--", "yes"];
    expect(await run(words, { engine })).toMatchObject({ code: 0, stdout: "y\n141\n", stderr: "" });
  });

  it("a closed stdout is no reason to fail", async () => {
    const script = '"$@" >&-';
    const words = ["bash", "-c", script, "launch", GANGWAY, "run", "--image", IMAGES.bare, "--"];
    expect(await run([...words, "probe", "both"])).toMatchObject({ code: 0, stderr: "err\n" });
    expect(await run([...words, "probe", "exit", "3"])).toMatchObject({ code: 3, stderr: "" });
  });

  it("a full disk is told, and the command ended", async () => {
    const words = ["bash", "-c", '"$@" >/dev/full', "launch", GANGWAY, "run", "--image", IMAGES.bare, "--", "yes"];
    const result = await run(words);
    expect(result.code).toBe(141);
    expect(result.stderr).toMatch(/^gangway: standard output cannot be written: .*no space left/i);
  });

  it("output that was lost is no success", async () => {
    const lost = (code: string) =>
      run(["bash", "-c", '"$@" >/dev/full', "launch", GANGWAY, "run", "--image", IMAGES.bare, "--", "sh", "-c", code]);
    expect((await lost("trap '' PIPE; echo x; exit 0")).code).toBe(125);
    expect((await lost("trap '' PIPE; echo x; exit 3")).code).toBe(3);
  });
});

describe("on a terminal", () => {
  const RUN = [GANGWAY, "run", "--image", IMAGES.bare] as const;

  it.each(ENGINES)("the command has it, in its size, and hears of another: $name", async (engine) => {
    const result = await onTerminal(
      [...RUN, "--", "sh", "-c", "probe tty; exec probe winch"],
      [
        { expect: "size 30 90" },
        { expect: "size 30 90" },
        { resize: [41, 132] },
        { expect: "size 41 132" },
        { send: "\u0003" },
      ],
      { engine },
    );
    expect(result).toMatchObject({ code: 130 });
    expect(result.output).toMatch(/foreground/);
  });

  it.each(ENGINES)("^C interrupts: $name", async (engine) => {
    const result = await onTerminal(
      [...RUN, "--", "sh", "-c", "echo go; sleep 60"],
      [{ expect: "go" }, { send: "\u0003" }],
      {
        engine,
      },
    );
    expect(result).toMatchObject({ code: 130 });
  });

  it.each(ENGINES)("what is printed arrives as it is: no CR is put in: $name", async (engine) => {
    const script = "stty -opost; printf 'left\\n  right'; exit 3";
    const result = await onTerminal([...RUN, "--", "sh", "-c", script], [], { engine });
    expect(result).toEqual({ code: 3, output: "left\n  right" });
  });

  it("^\\ quits, and ^D is the end of input", async () => {
    const words = ["--ulimit", "core=0", "--", "sh", "-c"];
    // A shell that does not ignore QUIT by itself.
    const debian = [GANGWAY, "run", "--image", IMAGES.debian, ...words, "echo go; sleep 60"];
    const quit = await onTerminal(debian, [{ expect: "go" }, { send: "\u001c" }]);
    expect(quit).toMatchObject({ code: 131 });
    const end = await onTerminal(
      [...RUN, "--", "sh", "-c", "echo go; cat; exit 4"],
      [{ expect: "go" }, { send: "typed\r" }, { expect: "typed[\\s\\S]*typed" }, { send: "\u0004" }],
    );
    expect(end).toMatchObject({ code: 4 });
  });

  it("a shell in the job has job control: ^C, ^Z, fg, its own exit code", async () => {
    const result = await onTerminal(
      [...RUN, "--env", "PS1=job> ", "--", "sh", "-i"],
      [
        { expect: "job> " },
        { send: "sleep 61\r" },
        { expect: "sleep 61" },
        { pause: 0.3 },
        { send: "\u0003" },
        { expect: "job> " },
        { send: "echo code $?\r" },
        { expect: "^code 130" },
        { send: "sleep 62\r" },
        { pause: 0.3 },
        { send: "\u001a" },
        { expect: "Stopped" },
        { send: "jobs\r" },
        { expect: "sleep 62" },
        { send: "fg\r" },
        { pause: 0.3 },
        { send: "\u0003" },
        { expect: "job> " },
        { send: "exit 6\r" },
      ],
    );
    expect(result).toMatchObject({ code: 6 });
  });

  it("^Z stops the launcher as any local command, and fg goes on with it", async () => {
    const result = await onTerminal(INTERACTIVE_SHELL, [
      { expect: "host> " },
      { send: `${RUN.join(" ")} -- sh -c 'echo go; probe winch; echo never'\r` },
      { expect: "^size 30 90" },
      { send: "\u001a" },
      { expect: "Stopped[\\s\\S]*host> " },
      { send: "echo here\r" },
      { expect: "^here[\\s\\S]*host> " },
      { resize: [22, 70] },
      { send: "fg\r" },
      { expect: "size 22 70" },
      { send: "\u0003" },
      { expect: "host> " },
      { send: "echo code $?\r" },
      { expect: "^code 130" },
      { send: "exit\r" },
    ]);
    expect(result.code).toBe(0);
  });

  it("a command that stops itself is continued by fg, and ends as it will", async () => {
    const result = await onTerminal(INTERACTIVE_SHELL, [
      { expect: "host> " },
      { send: `${RUN.join(" ")} -- probe stop -- exit 5\r` },
      { expect: "Stopped[\\s\\S]*host> " },
      { send: "fg\r" },
      { expect: "^continued[\\s\\S]*host> " },
      { send: "echo code $?\r" },
      { expect: "^code 5" },
      { send: "exit\r" },
    ]);
    expect(result.code).toBe(0);
  });

  it("in the background it runs to its end and is not stopped", async () => {
    const result = await onTerminal(INTERACTIVE_SHELL, [
      { expect: "host> " },
      { send: `${RUN.join(" ")} -- probe say 'from behind' -- exit 3 &\r` },
      { expect: "from behind$" },
      { send: "wait\r" },
      { expect: "Exit 3" },
      { send: `${RUN.join(" ")} --no-tty -- cat & wait; echo waited\r` },
      { expect: "^waited" },
      { send: "exit\r" },
    ]);
    expect(result.output).not.toContain("Stopped");
  });

  it("the terminal is as it was afterwards", async () => {
    const result = await onTerminal(INTERACTIVE_SHELL, [
      { expect: "host> " },
      { send: "before=$(stty -g)\r" },
      { expect: "host> " },
      { send: `${RUN.join(" ")} -- probe kill 9\r` },
      { expect: "host> " },
      { send: '[ "$before" = "$(stty -g)" ] && echo the-same-$?\r' },
      { expect: "^the-same-0" },
      { send: "exit\r" },
    ]);
    expect(result.code).toBe(0);
  });

  describe("of a session", () => {
    let job: HeldJob;
    beforeAll(async () => {
      job = await HeldJob.start({ nodes: 2 });
    });
    afterAll(async () => {
      expect(await job.end()).toBe(0);
    });

    it("gangway shell: size, resize, ^C, exit code", async () => {
      const winch = [GANGWAY, "shell", job.id, "--", "probe", "winch"];
      const steps = [
        { expect: "size 30 90" },
        { resize: [44, 111] },
        { expect: "size 44 111" },
        { send: "\u0003" },
      ] as const;
      expect(await onTerminal(winch, steps)).toMatchObject({ code: 130 });
      const shell = await onTerminal(
        [GANGWAY, "shell", job.id],
        [{ expect: "[$] " }, { send: "sleep 60\r" }, { pause: 0.3 }, { send: "\u0003" }, { send: "exit 9\r" }],
      );
      expect(shell).toMatchObject({ code: 9 });
    });

    it("ssh -tt node2: a terminal of the same size, ^C, exit code", async () => {
      const result = await onTerminal(
        [GANGWAY, "shell", job.id, "--", "sh", "-c", "ssh -tt node2 probe winch; echo code $?"],
        [
          { expect: "size 30 90" },
          { resize: [33, 99] },
          { expect: "size 33 99" },
          { send: "\u0003" },
          { expect: "code 130" },
        ],
      );
      expect(result).toMatchObject({ code: 0 });
    });

    it("ssh -tt without a terminal of one's own", async () => {
      const { stdout } = await job.shell(["ssh", "-tt", "-q", "node2", "probe tty; exit 6"], "", { input: "" });
      expect(stdout.replaceAll("\r", "")).toMatch(/tty/);
    });
  });
});

describe("a client that vanishes", () => {
  let job: HeldJob;
  beforeAll(async () => {
    job = await HeldJob.start({ nodes: 2 });
  });
  afterAll(async () => {
    expect(await job.end()).toBe(0);
  });

  const alive = async (pid: string) => (await job.shell(["probe", "alive", pid], "node2")).code === 0;
  const written = async (name: string): Promise<string> => {
    const path = job.file(1, name);
    await eventually(`${name} is there`, 10, () => existsSync(path) && readFileSync(path, "utf8").endsWith("\n"));
    return readFileSync(path, "utf8").trim();
  };

  it.each([
    ["with a terminal", "-tt"],
    ["without a terminal", "-T"],
  ])("%s: the command gets SIGHUP and ends; what called setsid lives on", async (_, flag) => {
    const name = `hup${flag}`;
    const command = [
      // A shell that tells of its child's end would die by SIGPIPE: who would read it is gone.
      "exec 2>/dev/null",
      `trap 'echo hup >/run/gangway/${name}.hup; exit' HUP`,
      `probe detach probe sleep 300 >/run/gangway/${name}.detached`,
      `probe sleep 300 & echo $! >/run/gangway/${name}.child`,
      `echo $$ >/run/gangway/${name}.pid`,
      "while :; do probe sleep 0.1; done",
    ].join("; ");
    const client = await job.shell([
      "sh",
      "-c",
      `ssh ${flag} node2 "$0" </dev/null >/dev/null 2>&1 & echo $!`,
      command,
    ]);
    const [pid, child, detached] = [
      await written(`${name}.pid`),
      await written(`${name}.child`),
      await written(`${name}.detached`),
    ];
    expect(await Promise.all([alive(pid), alive(child), alive(detached)])).toEqual([true, true, true]);
    expect(await job.shell(["kill", "-9", client.stdout.trim()])).toMatchObject({ code: 0 });
    expect(await written(`${name}.hup`)).toBe("hup");
    await eventually(
      "the command and its child have ended",
      10,
      async () => !(await alive(pid)) && !(await alive(child)),
    );
    expect(await alive(detached)).toBe(true);
  });

  it("what called setsid ends with the job", async () => {
    const other = await HeldJob.start();
    const marker = `GANGWAY_JOB_ID=${other.id}`;
    const there = () =>
      readdirSync("/proc").some((pid) => {
        try {
          return readFileSync(join("/proc", pid, "environ"), "latin1")
            .split("\0")
            .includes(marker);
        } catch {
          return false;
        }
      });
    expect(await other.shell(["probe", "detach", "probe", "trap", "1", "0"])).toMatchObject({ code: 0 });
    expect(there()).toBe(true);
    expect(await other.end()).toBe(0);
    expect(there()).toBe(false);
  });
});

describe("--linger", () => {
  /** A job whose command is over while a session is open. */
  async function lingering(linger: readonly string[], command: readonly string[], nodes = 1, node = "") {
    const job = await HeldJob.start({ nodes, words: [...linger] });
    const shell = await startAndHear(
      ["shell", node === "" ? job.id : `${job.id}.${node}`, "--", "probe", "say", "in", "--", ...command],
      /in\n/,
    );
    return { job, session: shell };
  }

  it("none, the default: sessions are cut with the command's end", async () => {
    const { job, session } = await lingering([], ["signals", "300"]);
    expect(await job.end()).toBe(0);
    // The session's command hears of it as on a terminal that is closed, then is killed.
    expect((await session.ended).code).not.toBe(0);
    expect(job.stderr).toBe("");
  });

  it.each([
    ["the head", ""],
    ["another node", "node2"],
  ])("sessions: the job stays until the last is closed, on %s", async (_, node) => {
    const { job, session } = await lingering(["--linger", "sessions"], ["cat", "--", "say", "out"], 2, node);
    const ended = job.end();
    const order: string[] = [];
    void ended.then(() => order.push("job"));
    void session.ended.then(() => order.push("session"));
    await new Promise((resolve) => setTimeout(resolve, 1000));
    session.child.stdin.end("kept\n");
    expect(await session.ended).toMatchObject({ code: 0, stdout: "in\nkept\nout\n" });
    expect(await ended).toBe(0);
    expect(order).toEqual(["session", "job"]);
  });

  it("a time: the job stays so long at most", async () => {
    const { job, session } = await lingering(["--linger", "2s"], ["sleep", "300"]);
    expect(await job.end()).toBe(0);
    expect((await session.ended).code).not.toBe(0);
    expect(job.stderr).toBe("gangway: the command has ended; waiting for 1 session to be closed\n");
  });

  it("a time: without a session it does not stay at all", async () => {
    const job = await HeldJob.start({ words: ["--linger", "1h"] });
    expect(await job.end()).toBe(0);
  });
});

describe("a job that is ended from outside", () => {
  it.each(ENGINES)("--time-limit: 124, told once: $name", async (engine) => {
    const result = await launch(["probe", "sleep", "60"], { engine, words: ["--time-limit", "1s"] });
    expect(result).toMatchObject({ code: 124, stderr: "gangway: the job's time limit is reached\n" });
  });

  it("--time-limit: the command may end in order", async () => {
    const result = await launch(["probe", "trap", "15", "7"], { words: ["--time-limit", "1s"] });
    expect(result).toMatchObject({ code: 124, stdout: "ready\n" });
  });

  it("--time-limit: a job that is faster ends as it does", async () => {
    expect(await launch(["probe", "exit", "5"], { words: ["--time-limit", "1h"] })).toMatchObject({
      code: 5,
      stderr: "",
    });
  });

  it.each<[string, string[], string[], number, string]>([
    ["a command that traps TERM ends as it will", ["probe", "trap", "15", "7"], [], 7, "ready\n"],
    ["one that does not dies by it", ["probe", "say", "ready", "--", "sleep", "60"], [], 143, "ready\n"],
    ["another signal", ["probe", "trap", "10", "8"], ["--signal", "USR1"], 8, "ready\n"],
    [
      "one that does not end is killed after the grace time",
      ["sh", "-c", "trap : TERM; echo ready; while :; do sleep 1; done"],
      ["--grace", "0.5"],
      137,
      "ready\n",
    ],
  ])("gangway stop: %s", async (_, command, words, code, stdout) => {
    const job = await HeldJob.start({ command });
    expect(await gangway(["stop", job.id, ...words])).toMatchObject({ code: 0, stdout: "", stderr: "" });
    expect(await job.ended()).toBe(code);
    expect(job.stdout).toBe(stdout);
  });

  it.each(OTHER_ENGINES)("gangway stop: $name", async (engine) => {
    const job = await HeldJob.start({ engine, command: ["probe", "trap", "15", "7"] });
    expect(await gangway(["stop", job.id], { engine })).toMatchObject({ code: 0 });
    expect(await job.ended()).toBe(7);
  });
});
