// A step of one cpu and 300 MiB gets no more, in the command or in a session, whichever engine makes the container; and what
// the manager does to the step it does to the container.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { eventually, IMAGES, USER } from "../job/harness.ts";
import { asRoot, loadImages, runOn } from "./cluster.ts";
import { cgroupsOf, containersOn, isOver, output, processesNaming, runFilesOn, submit, WITH_PODMAN } from "./steps.ts";

/** More memory than the step has, wanted by `tail`, since there is no line to end. */
const HOG = "head -c 400000000 /dev/zero | tail >/dev/null; echo hog $?";
const KILLED = "hog 137";
/** The same of less than it has. */
const MODEST = "head -c 50000000 /dev/zero | tail >/dev/null; echo modest $?";
/** Cpus that a process may run on, whatever it asks for. */
const CPUS = "taskset -p ff $$ >/dev/null 2>&1; grep Cpus_allowed_list /proc/self/status";
/** At most so many may be on: one. */
const ONE_CPU = /^Cpus_allowed_list:\t\d+$/m;

/** Behind what a session's command prints. */
const DONE = "that was it\n";

const SITE = "/home/gangway-test-site.toml";

function srun(script: string, { words = [], env = [] }: { words?: readonly string[]; env?: readonly string[] } = {}) {
  const step = ["srun", "-N1", "-w", "n1", "-n1", "--mem=300", ...words, "bash", "-c", script];
  return runOn("n1", [...env, ...step]);
}

function launch(command: string, options = ""): string {
  return `gangway run ${options} -i ${IMAGES.debian} -- sh -c '${command}'`;
}

/** What a command in a session prints; the job may still be in Slurm's queue. */
async function inSession(job: string, command: string, words: readonly string[] = []): Promise<string> {
  let stdout = "";
  await eventually(`a session in job ${job}`, 60, async () => {
    const session = await runOn("n1", [...words, "gangway", "ssh", job, `${command}; echo that was it`]);
    stdout = session.stdout;
    // There may be no such job yet; the last line tells that the command was executed.
    return stdout.endsWith(DONE);
  });
  return stdout.slice(0, -DONE.length);
}

beforeAll(() => {
  loadImages("n1", "debian");
  loadImages("n2", "debian");
});

afterEach(async () => {
  await runOn("ctl", ["scancel", "-u", USER.name]);
  await eventually("Slurm is done", 60, async () => (await runOn("ctl", ["squeue", "-h", "-a"])).stdout === "");
});

afterAll(() => {
  rmSync(SITE, { force: true });
});

describe("a step of one cpu and 300 MiB", () => {
  test("has no more in the command, in a cgroup below the step's", async () => {
    const { code, stdout } = await srun(
      launch(`nproc; ${CPUS}; ${MODEST}; ${HOG}; grep -E ":(memory|freezer|cpuset|devices):" /proc/self/cgroup`),
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/^1\n/);
    expect(stdout).toMatch(ONE_CPU);
    expect(stdout).toContain("modest 0");
    expect(stdout).toContain(KILLED);
    const groups = stdout.split("\n").filter((line) => /^\d+:/.test(line));
    expect(groups).toHaveLength(4);
    for (const group of groups) expect(group).toMatch(/\/slurm_n1\/uid_\d+\/job_\d+\/step_0\/[0-9a-f]{64}$/);
  });

  test("has no more in a session, nor do both together", async () => {
    const job = await submit("n1", launch("head -c 200000000 /dev/zero | { sleep 60; tail; }; sleep 600"));
    const said = await inSession(job, `nproc; ${CPUS}; ${MODEST}; ${HOG}`);
    expect(said).toMatch(/^1\n/);
    expect(said).toMatch(ONE_CPU);
    expect(said).toContain("modest 0");
    expect(said).toContain(KILLED);
  });

  test("is no more on the other hosts of a job, in command or session", async () => {
    const script = `gangway run --everywhere -i ${IMAGES.debian} -- sh -c 'nproc; ${HOG}'
      gangway run -i ${IMAGES.debian} -- ssh n2 'nproc; ${HOG}'`;
    const words = ["salloc", "-Q", "-N2", "-n2", "-w", "n1,n2", "--mem=300", "bash", "-c", script];
    const { stdout } = await runOn("n1", words);
    const lines = stdout.split("\n").filter((line) => line !== "");
    expect(lines.slice(0, 4).sort()).toEqual([`n1: ${KILLED}`, "n1: 1", `n2: ${KILLED}`, "n2: 1"].sort());
    expect(lines.slice(4)).toEqual(["1", KILLED]);
  });

  test("has its own limits of processes, soft and hard, in command and session", async () => {
    const limits = "ulimit -Sn; ulimit -Hn; ulimit -Ss; ulimit -l; ulimit -Sc";
    const job = await submit(
      "n1",
      `ulimit -Sn 500; ulimit -Hn 600; ulimit -Ss 4096; ulimit -l 32; ulimit -c 0\n${launch(`${limits}; sleep 600`)}`,
    );
    const expected = "500\n600\n4096\n32\n0\n";
    expect(await inSession(job, limits)).toBe(expected);
    expect(await output("n1", job)).toBe(expected);
  });

  test("is lowered by what the user asks for, and not raised", async () => {
    const raised = await srun(launch(`ulimit -Hn; ${HOG}`, "--memory 1g --ulimit nofile=unlimited --cpus 2"));
    expect(raised.code).toBe(0);
    expect(raised.stdout).toContain(KILLED);
    expect(raised.stdout).not.toContain("unlimited");
    expect(raised.stderr).toContain(
      "1024 MiB of memory were asked for, and Slurm gave the job 300 MiB: it gets no more",
    );
    const lowered = await srun(launch(`ulimit -Hn; ${MODEST}`, "--memory 30m --ulimit nofile=99"));
    expect(lowered.stdout).toContain("99\nmodest 137");
  });

  test("refuses cpus that are all another's", async () => {
    const { stdout } = await srun("grep Cpus_allowed_list /proc/self/status");
    const other = stdout.trim().endsWith("0") ? "1" : "0";
    const { code, stderr } = await srun(launch("true", `--cpuset-cpus ${other}`));
    expect(code).toBe(125);
    expect(stderr).toContain(`--cpuset-cpus ${other}: none of these cpus is the job's`);
  });

  test("is divided among virtual nodes by their common cgroup", async () => {
    const { stdout } = await srun(launch(`ssh node2 "${HOG.replaceAll("$", "\\$")}"`, "--nodes 2"));
    expect(stdout.trim()).toBe(KILLED);
  });

  test("is copied where the site says so, and left alone where it says that", async () => {
    writeFileSync(SITE, 'stepLimits = "copy"\n');
    const env = ["env", `GANGWAY_SITE_CONFIG=${SITE}`];
    const copied = await srun(launch(`nproc; ${CPUS}; ${HOG}; grep :memory: /proc/self/cgroup`), { env });
    expect(copied.stdout).toMatch(/^1\n/);
    expect(copied.stdout).toMatch(ONE_CPU);
    expect(copied.stdout).toContain(KILLED);
    expect(copied.stdout).not.toContain("slurm");
    writeFileSync(SITE, 'stepLimits = "none"\n');
    expect((await srun(launch(HOG), { env })).stdout).toBe("hog 0\n");
  });
});

describe("what the manager does to the step", () => {
  test("scancel: nothing is left, no container, process, file or cgroup", async () => {
    const job = await submit("n1", `exec ${launch("sleep 612")}`);
    await inSession(job, "true");
    expect(cgroupsOf("n1", job).length).toBeGreaterThan(4);
    await runOn("ctl", ["scancel", job]);
    await eventually("the job is over", 60, () => isOver(job));
    await eventually("no container", 10, () => containersOn("n1").length === 0);
    await eventually("no process", 10, () => processesNaming("sleep\x00612").length === 0);
    expect(runFilesOn("n1")).toBe("");
    expect(cgroupsOf("n1", job)).toEqual([]);
  });

  test("suspend and resume: command and sessions stand still, and go on", async () => {
    const tick = "while :; do echo x; sleep 0.1; done";
    const job = await submit("n1", launch(tick));
    await inSession(job, "true");
    const session = runOn("n1", ["gangway", "ssh", job, `${tick} >>/tmp/ticks-${job} & sleep 1000`]);
    const counts = async () => [
      (await output("n1", job)).length,
      Number((await runOn("n1", ["sh", "-c", `cat /tmp/ticks-${job} 2>/dev/null | wc -c`])).stdout),
    ];
    const grow = async (from: readonly number[]) =>
      (await counts()).every((count, index) => count > (from[index] ?? 0));
    await eventually("both tick", 20, () => grow([0, 0]));
    asRoot("ctl", ["scontrol", "suspend", job]);
    let before = await counts();
    await eventually("both stand still", 20, async () => {
      const now = await counts();
      const still = now.every((count, index) => count === before[index]);
      before = now;
      return still;
    });
    asRoot("ctl", ["scontrol", "resume", job]);
    await eventually("both tick again", 20, () => grow(before));
    await runOn("ctl", ["scancel", job]);
    await session;
    await runOn("n1", ["rm", "-f", `/tmp/ticks-${job}`]);
  });

  test("scancel that ends the script first: no container and no process is left; its files go with the next launch", async () => {
    const job = await submit("n1", `${launch("sleep 611")}; sleep 611`);
    await inSession(job, "true");
    await runOn("ctl", ["scancel", job]);
    await eventually("the job is over", 60, () => isOver(job));
    await eventually("no container", 20, () => containersOn("n1").length === 0);
    await eventually("no process", 10, () => processesNaming("sleep\x00611").length === 0);
    expect(cgroupsOf("n1", job)).toEqual([]);
    await srun(launch("true"));
    expect(runFilesOn("n1")).toBe("");
  });

  test("scancel of a suspended job: no container and no process is left; its files go with the next launch", async () => {
    const job = await submit("n1", launch("sleep 613"));
    await inSession(job, "true");
    asRoot("ctl", ["scontrol", "suspend", job]);
    await runOn("ctl", ["scancel", job]);
    await eventually("the job is over", 60, () => isOver(job));
    await eventually("no container", 20, () => containersOn("n1").length === 0);
    await eventually("no process", 10, () => processesNaming("sleep\x00613").length === 0);
    expect(cgroupsOf("n1", job)).toEqual([]);
    await srun(launch("true"));
    expect(runFilesOn("n1")).toBe("");
  });

  test("SIGTSTP and SIGCONT alone do it, where the container is in no freezer of the manager's", async () => {
    const name = "tstp";
    const job = runOn("n1", [
      "setsid",
      "-w",
      "gangway",
      "run",
      "--name",
      name,
      "-i",
      IMAGES.debian,
      "--",
      "sleep",
      "614",
    ]);
    await inSession(name, "true");
    const launcher = readLauncher(name);
    const states = () => processesNaming("sleep\x00614").map(stateOf);
    process.kill(launcher, "SIGTSTP");
    await eventually(
      "the command and the launcher are stopped",
      10,
      () => states().includes("T") && stateOf(launcher) === "T",
    );
    process.kill(launcher, "SIGCONT");
    await eventually("they go on", 10, () => !states().includes("T") && stateOf(launcher) !== "T");
    expect(await inSession(name, "echo here")).toBe("here\n");
    await runOn("n1", ["gangway", "stop", name]);
    expect((await job).code).toBe(143);
  });
});

/** The number of the launcher of a job on n1, here: the hosts share this machine's process numbers. */
function readLauncher(job: string): number {
  const text = asRoot("n1", ["cat", `/run/user/${USER.uid}/gangway/${job}/launcher`]);
  return Number(text.split(":")[0]);
}

function stateOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).charAt(0);
}

describe("with the user's rootless Podman, which limits nothing by itself here", () => {
  const base = join(USER.runtime, "gangway");
  // This machine's own jobs have theirs there, too: the hosts share /run/gangway-test with it.
  const leftovers = (job: string) =>
    asRoot("n1", ["sh", "-c", `ls -d ${base}/${job} ${base}/.engine-* 2>/dev/null || true`]).trim();
  // So are its containers: the tests of jobs have theirs in the same Podman.
  const podman = (job: string) =>
    runOn("n1", [...WITH_PODMAN, "podman", "ps", "-aq", "--filter", `label=gangway.job=${job}`]);

  test("a Podman in the step holds command and sessions to it, and nothing is left", async () => {
    const job = await submit("n1", `exec ${launch(`nproc; ${HOG}; ulimit -l; sleep 600`)}`, WITH_PODMAN);
    const said = await inSession(job, `nproc; ${CPUS}; ${HOG}; grep :freezer: /proc/self/cgroup`, WITH_PODMAN);
    expect(said).toMatch(/^1\n/);
    expect(said).toMatch(ONE_CPU);
    expect(said).toContain(KILLED);
    expect(said).toContain(`/job_${job}/step_batch`);
    expect(await output("n1", job)).toContain(KILLED);
    expect((await podman(job)).stdout).toMatch(/^\w+\n$/);
    await runOn("ctl", ["scancel", job]);
    await eventually("the job is over", 60, () => isOver(job));
    expect((await podman(job)).stdout).toBe("");
    expect(leftovers(job)).toBe("");
    expect(processesNaming(`${base}/.engine-`)).toEqual([]);
    expect(cgroupsOf("n1", job)).toEqual([]);
  });

  test("SIGKILL on the launcher leaves neither container nor Podman nor file", async () => {
    const name = "killed";
    await submit("n1", `${launch("sleep 615", `--name ${name}`)}; sleep 600`, WITH_PODMAN);
    await inSession(name, "true", WITH_PODMAN);
    expect((await podman(name)).stdout).toMatch(/^\w+\n$/);
    process.kill(Number(readFileSync(join(base, name, "launcher"), "utf8").split(":")[0]), "SIGKILL");
    await eventually("no container", 30, async () => (await podman(name)).stdout === "");
    await eventually("no Podman in the step", 40, () => processesNaming(`${base}/.engine-`).length === 0);
    await eventually("no file", 10, () => leftovers(name) === "");
    expect(processesNaming("sleep\x00615")).toEqual([]);
  });

  test("where none can be started the launch is refused on a shared machine, and not on one that is the job's", async () => {
    // Found first, and no Podman.
    const script = `d=$(mktemp -d); printf '#!/bin/sh\\necho "no podman today" >&2; exit 1\\n' > $d/podman; chmod +x $d/podman
      PATH=$d:$PATH; ${launch("echo ran")}; s=$?; rm -r $d; exit $s`;
    const shared = await srun(script, { env: WITH_PODMAN });
    expect(shared).toMatchObject({ code: 125, stdout: "" });
    expect(shared.stderr).toContain("could not be kept within what Slurm gave the job: no Podman could be started");
    expect(shared.stderr).toContain("no podman today");
    expect(shared.stderr).toContain("stepLimits");
    const whole = await srun(script, { env: WITH_PODMAN, words: ["-c4"] });
    expect(whole).toMatchObject({ code: 0, stdout: "ran\n" });
    expect(whole.stderr).toContain("the machine is the job's alone, so it goes on");
    writeFileSync(SITE, 'stepLimits = "require"\n');
    const env = [...WITH_PODMAN, `GANGWAY_SITE_CONFIG=${SITE}`];
    expect((await srun(script, { env, words: ["-c4"] })).code).toBe(125);
  });
});
