import { createHash, randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launch } from "./command.ts";
import { DIFFERENT_ENGINES, GANGWAY, IMAGES, run, start } from "./harness.ts";
import { HeldJob } from "./held.ts";

const MIB = 2 ** 20;

function sum(data: Buffer): string {
  return `${data.length} sha256 ${createHash("sha256").update(data).digest("hex")}\n`;
}

describe("streams", () => {
  const data = randomBytes(64 * MIB);

  it.each(DIFFERENT_ENGINES)("64 MiB each way through the launcher: $name", async (engine) => {
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

  it.each(DIFFERENT_ENGINES)("stdin that the command ends early: $name", async (engine) => {
    const input = data.subarray(0, 9 * MIB);
    const one = await launch(["head", "-c", "1"], { engine, input });
    expect(one).toMatchObject({ code: 0, stderr: "" });
    expect(one.bytes.equals(input.subarray(0, 1))).toBe(true);
    expect(await launch(["probe", "early", "5"], { engine, input })).toMatchObject({ code: 0, stdout: "5\nlate\n" });
  });

  it.each(DIFFERENT_ENGINES)("/dev/null and a closed stdin are an empty one: $name", async (engine) => {
    const script = '"$@" </dev/null; "$@" <&-';
    const words = ["bash", "-c", script, "launch", GANGWAY, "run", "--image", IMAGES.bare, "--", "wc", "-l"];
    expect(await run(words, { engine })).toMatchObject({ code: 0, stdout: "0\n0\n", stderr: "" });
  });

  it("a file as stdin is read from where others have left off", async () => {
    const script =
      'cd "$(mktemp -d)"; { echo first; head -c 3000000 /dev/zero; } >file; { read -r _; "$@"; } <file; rm -r "$PWD"';
    const words = ["bash", "-c", script, "launch", GANGWAY, "run", "--image", IMAGES.bare, "--", "wc", "-c"];
    expect(await run(words)).toMatchObject({ code: 0, stdout: "3000000\n", stderr: "" });
  });

  it("--no-stdin leaves what is there to others", async () => {
    const script = '"$@"; cat';
    const words = ["bash", "-c", script, "launch", GANGWAY, "run", "-n", "--image", IMAGES.bare, "--", "wc", "-l"];
    expect(await run(words, { input: "theirs\n" })).toMatchObject({ code: 0, stdout: "0\ntheirs\n", stderr: "" });
  });

  it.each(DIFFERENT_ENGINES)("stdout and stderr stay apart: $name", async (engine) => {
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

  it.each(DIFFERENT_ENGINES)("a reader who leaves ends the command by SIGPIPE: $name", async (engine) => {
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
