import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  DIFFERENT_ENGINES,
  eventually,
  GANGWAY,
  gangway,
  IMAGES,
  inDirectory,
  MANY,
  ROOTLESS,
  start,
  USER,
} from "./harness.ts";
import { HeldJob } from "./held.ts";
import { launch } from "./launch.ts";

describe("a detached job", () => {
  test("prints its id, writes to gangway-JOB.out, is waited for running and ended, and keeps its exit code", async () => {
    await inDirectory(async (cwd) => {
      const script = "echo started; while [ ! -e go ]; do sleep 0.1; done; echo done >&2; exit 7";
      const launched = await launch(["--detach", "--", "sh", "-c", script], { cwd });
      expect({ code: launched.code, stderr: launched.stderr }).toEqual({ code: 0, stderr: "" });
      expect(launched.stdout).toMatch(/^[a-z][a-z2-9]{5}\n$/);
      const job = launched.stdout.trim();
      const file = join(cwd, `gangway-${job}.out`);
      expect(statSync(file).uid).toBe(USER.uid);
      await eventually("output", 10, () => readFileSync(file, "utf8") === "started\n");
      expect((await gangway(["logs", job])).stdout).toBe("started\n");
      const follower = gangway(["logs", "-f", job]);
      const waiter = gangway(["wait", job]);
      await sleep(500);
      writeFileSync(join(cwd, "go"), "");
      expect((await waiter).code).toBe(7);
      expect(await follower).toMatchObject({ code: 0, stdout: "started\ndone\n", stderr: "" });
      expect(await gangway(["wait", job])).toMatchObject({ code: 7, stdout: "", stderr: "" });
      expect((await gangway(["logs", job])).stdout).toBe("started\ndone\n");
      expect((await gangway(["ps", "-q"])).stdout).not.toContain(job);
    });
  });

  test("is waited for at whatever moment of its end", async () => {
    await inDirectory(async (cwd) => {
      const launched = await launch(["-d", "--", "sh", "-c", "while [ ! -e go ]; do sleep 0.01; done; exit 7"], {
        cwd,
      });
      const job = launched.stdout.trim();
      const waiters: Promise<{ readonly code: number; readonly stderr: string }>[] = [];
      for (let count = 0; count < 24; count++) {
        if (count === 4) writeFileSync(join(cwd, "go"), "");
        waiters.push(gangway(["wait", job]));
        await sleep(25);
      }
      for (const waiter of waiters) expect(await waiter).toMatchObject({ code: 7, stderr: "" });
    });
  });

  test("writes to --output instead, %j standing for its id", async () => {
    await inDirectory(async (cwd) => {
      const { stdout } = await launch(["-d", "-o", "log-%j.txt", "--name", "named", "--", "probe", "both"], { cwd });
      expect(stdout).toBe("named\n");
      expect((await gangway(["wait", "named"])).code).toBe(0);
      expect(readdirSync(cwd)).toEqual(["log-named.txt"]);
      expect(readFileSync(join(cwd, "log-named.txt"), "utf8").split("\n").sort()).toEqual(["", "err", "out"]);
    });
  });

  test("outlives its terminal, and is ended by `gangway stop`: by TERM, or by KILL when the grace is over", async () => {
    await inDirectory(async (cwd) => {
      const polite = (await launch(["-d", "--", "probe", "sleep", "60"], { cwd })).stdout.trim();
      expect(await gangway(["stop", polite])).toMatchObject({ code: 0, stdout: "", stderr: "" });
      expect((await gangway(["wait", polite])).code).toBe(128 + 15);
      const other = (await launch(["-d", "--", "probe", "trap", "10", "9"], { cwd })).stdout.trim();
      await gangway(["stop", other, "--signal", "USR1"]);
      expect((await gangway(["wait", other])).code).toBe(9);
      const deaf = (await launch(["-d", "--", "sh", "-c", "trap '' TERM; sleep 60"], { cwd })).stdout.trim();
      await gangway(["stop", deaf, "--grace", "0.5"]);
      expect((await gangway(["wait", deaf])).code).toBe(128 + 9);
    });
  });

  test("several are ended at once, or none when one of them is not known", async () => {
    await inDirectory(async (cwd) => {
      const sleeper = async () => (await launch(["-d", "--", "probe", "sleep", "60"], { cwd })).stdout.trim();
      const jobs = [await sleeper(), await sleeper()];
      const slip = await gangway(["stop", ...jobs, "nosuch"]);
      expect(slip).toMatchObject({ code: 125, stdout: "" });
      expect(slip.stderr).toMatch(/no job "nosuch" is running on this host\n {2}none of the jobs was ended/);
      const running = (await gangway(["ps"])).stdout;
      for (const job of jobs) expect(running).toMatch(new RegExp(`^${job} .*running`, "m"));
      expect(await gangway(["stop", ...jobs])).toMatchObject({ code: 0, stdout: "", stderr: "" });
      for (const job of jobs) expect((await gangway(["wait", job])).code).toBe(128 + 15);
    });
  });

  test("whose launch is interrupted at the terminal is not started", async () => {
    await inDirectory(async (cwd) => {
      const words = [
        "run",
        "-d",
        "-i",
        IMAGES.bare,
        "--held-back",
        "node1=20000",
        "--name",
        "slow",
        "--",
        "probe",
        "both",
      ];
      const child = start([GANGWAY, ...words], { cwd });
      child.stdin.end();
      await eventually("a launch", 10, () => existsSync(join(USER.runtime, "gangway/slow")));
      child.kill("SIGINT");
      expect(await new Promise((resolve) => child.once("close", resolve))).toBe(130);
      expect(existsSync(join(USER.runtime, "gangway/slow"))).toBe(false);
      expect(readdirSync(cwd)).toEqual([]);
    });
  });
});

describe.each(DIFFERENT_ENGINES)("running jobs on $name", (engine) => {
  let job: HeldJob;

  beforeAll(async () => {
    job = await HeldJob.start({ engine, nodes: 2, words: ["--env", "KEY=a b"] });
  });

  afterAll(async () => {
    expect(await job.end()).toBe(0);
  });

  test("ps: a table, ids, and JSON", async () => {
    const table = (await gangway(["ps"], { engine })).stdout.split("\n");
    expect(table[0]).toMatch(/^JOB +USER +NODES +STATE +AGE +IMAGE +COMMAND$/);
    const row = table.find((line) => line.startsWith(job.id));
    expect(row).toMatch(
      new RegExp(`${USER.name} +node1,node2 +running +\\d+s +${IMAGES.bare} +probe say ready -- cat$`),
    );
    expect((await gangway(["ps", "-q"], { engine })).stdout.split("\n")).toContain(job.id);
    const parsed = JSON.parse((await gangway(["ps", "--json"], { engine })).stdout) as { job: string; uid: number }[];
    expect(parsed.find((each) => each.job === job.id)).toMatchObject({
      uid: USER.uid,
      image: IMAGES.bare,
      orphaned: false,
    });
  });

  test("inspect and hosts, for people and for programs", async () => {
    const inspected = JSON.parse((await gangway(["inspect", job.id], { engine })).stdout) as Record<string, unknown>;
    expect(inspected).toMatchObject({
      job: job.id,
      user: USER.name,
      record: { command: ["probe", "say", "ready", "--", "cat"] },
    });
    const hosts = JSON.parse((await gangway(["hosts", job.id, "--json"], { engine })).stdout) as {
      name: string;
      port: number;
    }[];
    expect(hosts.map(({ name }) => name)).toEqual(["node1", "node2"]);
    for (const { port } of hosts) expect(port).toBeGreaterThan(0);
    const table = (await gangway(["hosts", job.id], { engine })).stdout.split("\n");
    expect(table[0]).toMatch(/^NODE +SLOTS +PORT +ADDRESSES +CONTAINER$/);
    expect(table[2]).toMatch(/^node2 +2 +\d+ +\S+ +gangway-\S+$/);
  });

  test("shell: JOB left out, JOB, JOB.NODE, JOB.INDEX", async () => {
    const hostname = async (...target: string[]) =>
      (await gangway(["shell", ...target, "--", "hostname"], { engine })).stdout.trim();
    const { stdout, stderr } = await gangway(["shell", "--", "hostname"], { engine });
    // Docker may have jobs of HTCondor's beside, each `C.P`: then it has to be said which.
    if (/^gangway: several jobs are running: .*\b\d+\.\d+\b/.test(stderr)) expect(stderr).toContain(job.id);
    else expect(stdout).toBe("node1\n");
    expect(await hostname(job.id)).toBe("node1");
    expect(await hostname(`${job.id}.node2`)).toBe("node2");
    expect(await hostname(`${job.id}.0`)).toBe("node1");
    expect(await hostname(`${job.id}.1`)).toBe("node2");
    const wrong = await gangway(["shell", `${job.id}.node3`, "--", "hostname"], { engine });
    expect(wrong).toMatchObject({
      code: 68,
      stderr: `gangway: job ${job.id} has no node "node3"\n  it has node1, node2\n`,
    });
  });

  test("shell: the job's environment; its command's exit code; standard streams as they are", async () => {
    expect((await job.shell(["printenv", "KEY"])).stdout).toBe("a b\n");
    expect((await job.shell(["probe", "exit", "77"])).code).toBe(77);
    expect((await job.shell(["probe", "kill", "11"])).code).toBe(139);
    const both = await job.shell(["probe", "both"]);
    expect(both).toMatchObject({ stdout: "out\n", stderr: "err\n", code: 0 });
    expect((await job.shell(["probe", "wc"], "", { input: "12345" })).stdout).toBe("5\n");
    // Without a command it is a login shell, which reads what it is given.
    const login = await gangway(["shell", job.id], { engine, input: "echo $0 $KEY; exit 3\n" });
    expect(login).toMatchObject({ stdout: "-sh a b\n", code: 3 });
  });

  const ODD = [
    "",
    " ",
    "a b",
    "it's",
    '"',
    "line\nbreak",
    "\ttab",
    "$HOME",
    "$(id)",
    "`id`",
    "*",
    "?",
    "[a-z]",
    "~",
    "#no",
    "!x",
    "\\",
    "\\n",
    "a;b",
    "a&b",
    "a|b",
    ">x",
    "<x",
    "(x)",
    "{a,b}",
    "-n",
    "--",
    "--help",
    "-",
    "=ls",
    "A=b",
    "%1",
    "ünï→🚢",
    "\u0001",
    "x".repeat(5000),
  ];

  test("shell: any arguments arrive as they are", async () => {
    const { bytes, stderr } = await job.shell(["probe", "args", ...ODD]);
    expect(stderr).toBe("");
    expect(bytes.toString("utf8").split("\0").slice(0, -1)).toEqual(ODD);
  });

  test("shell: the command is a program's name and nothing else", async () => {
    for (const name of ["A=b", "if", "while", "ls /", "$HOME", "~"]) {
      const { code } = await job.shell([name]);
      expect({ name, code }).toEqual({ name, code: 127 });
    }
  });

  test("another user does not see it, nor get in", async () => {
    if (engine === ROOTLESS) return;
    const options = { engine, user: MANY };
    expect((await gangway(["ps", "-q"], options)).stdout).not.toContain(job.id);
    const shell = await gangway(["shell", job.id, "--", "id"], options);
    expect(shell).toMatchObject({ code: 77, stdout: "" });
    expect(shell.stderr).toMatch(new RegExp(`^gangway: job ${job.id} is \\S+'s: only they can enter it`));
    for (const command of [
      ["inspect", job.id],
      ["hosts", job.id],
      ["stop", job.id],
      ["logs", job.id],
    ]) {
      const { code, stdout, stderr } = await gangway(command, options);
      expect(stderr).toMatch(new RegExp(`^gangway: no job "${job.id}" is`));
      expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
    }
    expect((await gangway(["wait", job.id], options)).code).toBe(125);
  });

  test("with several, JOB must be said; the message says which there are", async () => {
    const second = await HeldJob.start({ engine });
    try {
      for (const command of [["shell", "--", "id"], ["inspect"], ["hosts"]]) {
        const { code, stderr } = await gangway(command, { engine });
        expect(stderr).toMatch(/^gangway: several jobs are running: .*\n {2}say which\n$/);
        expect(stderr).toContain(job.id);
        expect(stderr).toContain(second.id);
        expect(code).toBe(command[0] === "shell" ? 65 : 125);
      }
      expect((await second.shell(["hostname"])).stdout).toBe("node1\n");
    } finally {
      await second.end();
    }
  });
});
