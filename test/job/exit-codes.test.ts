import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { inPart } from "../whole.ts";
import { each, launch, OTHER_ENGINES, startAndHear } from "./command.ts";
import { gangway, IMAGES, type RunResult } from "./harness.ts";
import { HeldJob } from "./held.ts";

/** Signals whose default action ends a process. */
const DEADLY = [...range(1, 16), ...range(24, 27), 29, 30, 31, ...range(32, 64)];

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
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
    const all = [0, 1, 2, 124, 125, 126, 127, 128, 130, 137, 143, 254, 255];
    const codes = inPart(all, (code) => [0, 1, 125, 127, 143, 255].includes(code));
    for (const [code, result] of await each(codes, (code) => launch(["probe", "exit", String(code)])))
      expect(result).toMatchObject({ code, stdout: "", stderr: "" });
  });

  it("gangway run: death by a signal is 128+n", async () => {
    const signals = inPart([1, 2, 3, 6, 9, 11, 13, 14, 15, 34, 64], (signal) => [1, 2, 9, 15, 64].includes(signal));
    for (const [signal, result] of await each(signals, (signal) =>
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
