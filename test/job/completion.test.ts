import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, gangway, IMAGES, inDirectory, run } from "./harness.ts";
import { onTerminal } from "./terminal.ts";

const JOB = "tab-job";
const PATH = `${process.env.GANGWAY_TEST_INSTALL}/bin:/usr/bin:/bin`;

/** What bash offers for a line whose last word is being written. */
async function bash(...words: string[]): Promise<string[]> {
  return await bashLine("gangway", ...words);
}

/** The same of a line that begins with another program's name, for which bash is told a function. */
async function bashLine(program: string, ...words: string[]): Promise<string[]> {
  const script = `source <(gangway completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
    [[ $(complete -p "\${1##*/}") =~ -F[[:space:]]([a-z_]+) ]]; "\${BASH_REMATCH[1]}"
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = await run(["bash", "--norc", "-c", script, "bash", program, ...words], { env: { PATH } });
  expect(stderr).toBe("");
  return stdout.split("\n").filter((line) => line !== "");
}

/** What fish offers: its own command tells. */
async function fish(line: string): Promise<string[]> {
  const script = `gangway completion fish | source; complete -C "$argv"`;
  const { stdout, stderr } = await run(["fish", "--no-config", "-c", script, line], { env: { PATH } });
  expect(stderr).toBe("");
  return stdout.split("\n").flatMap((each) => (each === "" ? [] : [each.split("\t")[0] ?? ""]));
}

/** The line as an interactive shell has it when Tab was pressed at its end. */
async function tab(shell: readonly string[], init: string, line: string, whole: string, cwd?: string): Promise<void> {
  await onTerminal(
    ["env", "PS1=host> ", "TERM=dumb", ...shell],
    [
      { send: `${init}; echo rea''dy\n` },
      { expect: "^ready$" },
      { send: line },
      { send: "\t" },
      { pause: 1 },
      // To its start; and the words are shown instead of being run.
      { send: "\u0001printf '<%s>' \n" },
      { expect: `^${whole}` },
      { send: "exit 0\n" },
    ],
    { env: { PATH }, ...(cwd === undefined ? {} : { cwd }) },
  );
}

beforeAll(async () => {
  await inDirectory(async (cwd) => {
    const words = ["run", "--detach", "--name", JOB, "--nodes", "2", "--image", IMAGES.bare, "--", "sleep", "600"];
    expect(await gangway(words, { cwd })).toMatchObject({ code: 0 });
  });
});

afterAll(async () => {
  await gangway(["stop", JOB]);
});

describe("completion", () => {
  it("lists running jobs without an engine", async () => {
    const env = { DOCKER_HOST: "unix:///nonexistent" };
    const jobs = await gangway(["completion", "--list", "jobs"], { env });
    expect(jobs.stdout.split("\n")).toContain(JOB);
    const nodes = await gangway(["completion", "--list", "nodes"], { env });
    expect(nodes.stdout.split("\n")).toEqual(expect.arrayContaining([JOB, `${JOB}.node1`, `${JOB}.node2`]));
  });

  it("refuses a shell it does not know", async () => {
    expect(await gangway(["completion", "tcsh"])).toMatchObject({ stdout: "", code: 125 });
    // What it prints is read by a shell: never its help.
    expect(await gangway(["completion"])).toMatchObject({ stdout: "", code: 125 });
  });

  it.each(["bash", "zsh", "fish"])("is a script that %s reads without a word", async (shell) => {
    const { stdout } = await gangway(["completion", shell]);
    await inDirectory(async (cwd) => {
      await run(["tee", "script"], { input: stdout, cwd });
      expect(await run([shell, "-n", "script"], { cwd })).toMatchObject({ code: 0, stderr: "" });
    });
  });

  it("knows every command and every option that the help has", async () => {
    const commands = await bash("");
    const { stdout } = await gangway(["--help"]);
    const shown = [...stdout.matchAll(/^ {2}([a-z_-]+) {2,}/gm)].map(([, name = ""]) => name);
    expect(commands).toEqual(expect.arrayContaining(shown));
    for (const name of shown) {
      // HTCondor's has one dash, and its help is no output.
      const { stdout, stderr } = await gangway([name, name.startsWith("condor") ? "-help" : "--help"]);
      const options = [...`${stdout}${stderr}`.matchAll(/^ {2}(?:-\w, )?(--?[a-z][a-z-]+)/gm)].map(
        ([, option = ""]) => option,
      );
      const offered = [...(await bash(name, "-")), ...(await bash(name, ""))];
      if (options.length > 1) expect(offered).toEqual(expect.arrayContaining(options));
    }
  });

  it("in bash: commands, jobs, nodes, choices, also behind an equals sign", async () => {
    expect(await bash("inspe")).toEqual(["inspect"]);
    expect(await bash("stop", "tab")).toEqual([JOB]);
    expect(await bash("stop", "--signal", "KI")).toEqual(["KILL"]);
    expect(await bash("shell", `${JOB}.`)).toEqual([`${JOB}.node1`, `${JOB}.node2`]);
    expect(await bash("run", "--pull", "")).toEqual(["missing", "always", "never"]);
    expect(await bash("run", "--pull", "=", "al")).toEqual(["always"]);
    expect(await bash("completion", "f")).toEqual(["fish"]);
    expect(await bash("ssh", "--connect", "so")).toEqual(["socket"]);
    expect(await bash("ssh", `${JOB}.`)).toEqual([`${JOB}.node1`, `${JOB}.node2`]);
    expect(await bash("key", "l")).toEqual(["list"]);
    expect(await bash("key", "list", "tab")).toEqual([JOB]);
    expect(await bash("condor_ssh_to_job", "-sh")).toEqual(["-shells"]);
    expect(await bash("condor_ssh_to_job", "-name", "x", "tab")).toEqual([JOB]);
    expect(await bashLine("condor_ssh_to_job", "-auto-retry", "tab")).toEqual([JOB]);
    expect(await bashLine("/usr/local/bin/shifter", "--work")).toEqual(["--workdir"]);
    // What stands behind is another program's.
    expect(await bash("run", "--image", "x", "ls", "--")).toEqual([]);
    expect(await bash("shell", JOB, "--", "--")).toEqual([]);
  });

  it("in fish: the same", async () => {
    expect(await fish("gangway inspe")).toEqual(["inspect"]);
    expect(await fish("gangway stop tab")).toEqual([JOB]);
    expect(await fish("gangway stop --signal KI")).toEqual(["KILL"]);
    expect(await fish(`gangway shell ${JOB}.`)).toEqual([`${JOB}.node1`, `${JOB}.node2`]);
    expect(await fish("gangway run --pull al")).toEqual(["always"]);
    expect(await fish("gangway run --pull=al")).toEqual(["--pull=always"]);
    expect(await fish("gangway run --image x -- --pu")).toEqual([]);
    expect(await fish("gangway condor_ssh_to_job -au")).toEqual(["-auto-retry"]);
    expect(await fish("condor_ssh_to_job -remove")).toEqual(["-remove-on-interrupt"]);
    expect(await fish("shifter --work")).toEqual(["--workdir"]);
  });

  it.each([
    ["bash", ["bash", "--norc", "--noprofile", "-i"], "source <(gangway completion bash)"],
    ["zsh", ["zsh", "-f", "-i"], "bindkey -e; source <(gangway completion zsh)"],
  ] as const)("in %s, typed", async (_name, shell, init) => {
    const lines: [line: string, whole: string][] = [
      ["gangway inspe", "<gangway><inspect>"],
      ["gangway stop tab", `<gangway><stop><${JOB}>`],
      [`gangway shell ${JOB}.node2`, `<gangway><shell><${JOB}.node2>`],
      ["gangway run --pull=al", "<gangway><run><--pull=always>"],
      ["gangway run --pull al", "<gangway><run><--pull><always>"],
      ["condor_ssh_to_job -auto", "<condor_ssh_to_job><-auto-retry>"],
      ["shifter --work", "<shifter><--workdir>"],
    ];
    await Promise.all(lines.map(([line, whole]) => tab(shell, init, line, whole)));
    await inDirectory(async (cwd) => {
      await run(["touch", "two words.env"], { cwd });
      await tab(shell, init, "gangway run --env-file tw", "<gangway><run><--env-file><two words.env>", cwd);
    });
  });

  it("offers a job no longer when it has ended", async () => {
    expect(await gangway(["stop", JOB])).toMatchObject({ code: 0 });
    await eventually("the job is gone", 20, async () => (await bash("stop", "tab")).length === 0);
  });
});
