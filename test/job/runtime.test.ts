// `gangway attach-runtime` with the smallest runtime there is (examples/runtime/with-unshare), on this host: what is the same
// for every runtime, terminals before all. With Apptainer: test/condor/apptainer.test.ts.
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, GANGWAY, gangway, run, start, USER } from "./harness.ts";
import { INTERACTIVE_SHELL, onTerminal } from "./terminal.ts";

const REPOSITORY = join(import.meta.dirname, "../..");
const INIT = "/opt/udiImage/libexec/init";

let place = "";
let line: readonly string[] = [];

beforeAll(() => {
  place = mkdtempSync("/tmp/gangway-test-");
  copyFileSync(join(REPOSITORY, "examples/runtime/with-unshare"), join(place, "with-unshare"));
  const root = join(place, "root");
  mkdirSync(root);
  execFileSync("tar", ["-x", "-C", root, "-f", join(REPOSITORY, "build/images/bare.tar")]);
  execFileSync("chown", ["-R", `${USER.uid}:${USER.gid}`, place]);
  line = [GANGWAY, "attach-runtime", "--accounts", "--", join(place, "with-unshare"), root, INIT, "--"];
});

afterAll(() => rmSync(place, { recursive: true, force: true }));

const named = (name: string) => [...line.slice(0, 2), "--name", name, ...line.slice(2)];

describe("on a terminal", () => {
  it("the command has the launcher's own, in its size, and hears of another", async () => {
    const result = await onTerminal(
      [...line, "sh", "-c", "probe tty; exec probe winch"],
      [
        { expect: "size 30 90" },
        { expect: "size 30 90" },
        { resize: [41, 132] },
        { expect: "size 41 132" },
        { send: "\u0003" },
      ],
    );
    expect(result).toMatchObject({ code: 130 });
    expect(result.output).toMatch(/foreground/);
  });

  it("^Z stops launcher, runtime and command as one job of the shell's, and fg goes on with all", async () => {
    const result = await onTerminal(INTERACTIVE_SHELL, [
      { expect: "host> " },
      { send: `${line.join(" ")} sh -c 'echo go; probe winch; echo never'\r` },
      { expect: "^size 30 90" },
      { send: "\u001a" },
      { expect: "Stopped[\\s\\S]*host> " },
      { send: "echo here\r" },
      { expect: "^here[\\s\\S]*host> " },
      { send: "fg\r" },
      { pause: 0.3 },
      { resize: [22, 70] },
      { expect: "size 22 70" },
      { send: "\u0003" },
      { expect: "host> " },
      { send: "echo code $?\r" },
      { expect: "^code 130" },
      { send: "exit\r" },
    ]);
    expect(result.code).toBe(0);
  });

  it("a shell in the container has job control, and its own exit code", async () => {
    const result = await onTerminal(
      [...line, "sh", "-i"],
      [
        { expect: "[$#] " },
        { send: "sleep 61\r" },
        { expect: "sleep 61" },
        { pause: 0.3 },
        { send: "\u0003" },
        { send: "echo code $?\r" },
        { expect: "^code 130" },
        { send: "sleep 62\r" },
        { pause: 0.3 },
        { send: "\u001a" },
        { expect: "Stopped" },
        { send: "exit 6\r" },
        { pause: 0.3 },
        { send: "exit 6\r" },
      ],
    );
    expect(result).toMatchObject({ code: 6 });
  });
});

describe("signals and streams", () => {
  it.each([0, 1, 255])("the exit status %i comes through", async (code) => {
    expect((await run([...line, "sh", "-c", `exit ${code}`])).code).toBe(code);
  });

  it("each signal that the launcher is sent is the command's", async () => {
    const script =
      'for s in TERM HUP QUIT USR1 USR2; do trap "echo $s" $s; done; echo go; while :; do sleep 0.05; done';
    const child = start([...line, "sh", "-c", script]);
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => {
      said += chunk.toString();
    });
    await eventually("go", 20, () => said.includes("go\n"));
    for (const signal of ["TERM", "HUP", "QUIT", "USR1", "USR2"] as const) {
      child.kill(`SIG${signal}`);
      await eventually(signal, 20, () => said.includes(`${signal}\n`));
    }
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("close", resolve));
  });

  it("the command's streams are the very files that the launcher was given", async () => {
    const shell = `${line.join(" ")} sh -c 'read a; echo "$a" >&2; echo $((a + 1))' <in >out 2>err`;
    const { stdout } = await run(["sh", "-c", `cd ${place} && echo 41 >in && ${shell} && cat out err`]);
    expect(stdout).toBe("42\n41\n");
  });
});

describe("a launcher that is killed at any moment of its start", () => {
  it.each([50, 150, 300, 450, 600, 900])("after %i ms: nothing is left", async (after) => {
    const name = `killed-${after}`;
    const child = start([...named(name), "sleep", "4712"]);
    const closed = new Promise((resolve) => child.once("close", resolve));
    await new Promise((resolve) => setTimeout(resolve, after));
    child.kill("SIGKILL");
    await closed;
    const directory = join(USER.runtime, "gangway", name);
    await eventually("the directory is gone", 20, () => !existsSync(directory));
    const find = ["pgrep", "-u", String(USER.uid), "-f", `^sleep 4712|/gangway/${name}`];
    await eventually("no process", 20, async () => (await run(find)).stdout === "");
  });
});

describe("a command line that cannot be", () => {
  it.each([
    [["--", "apptainer", "exec", "app.sif", "./solve"], /program is not \/opt\/udiImage\/libexec\/init/],
    [["--", INIT, "--", "true"], /no runtime stands before/],
    [["--", "apptainer", "exec", "a.sif", INIT, "--"], /no command stands behind/],
    [["--", "apptainer", "exec", "a.sif", INIT, "--hold"], /--hold stands behind init/],
    [["--everywhere", "--", "apptainer", INIT, "--", "true"], /--everywhere/],
    [["--", "no-such-runtime", "x", INIT, "--", "true"], /no-such-runtime cannot be started.*\n.*installed/],
  ])("%j is refused, and nothing is left", async (words, message) => {
    const result = await gangway(["attach-runtime", ...words]);
    expect(result.code).toBe(125);
    expect(result.stderr).toMatch(message);
    expect(result.stderr.trim().split("\n").length).toBeLessThanOrEqual(2);
  });

  it("a runtime that does not bind what it is asked to is told of", async () => {
    const result = await gangway(["attach-runtime", "--", "env", "true", INIT, "--", "true"]);
    expect(result).toMatchObject({ code: 125 });
    expect(result.stderr).toContain("the runtime env ended with status 0 before the container's init was up");
  });
});
