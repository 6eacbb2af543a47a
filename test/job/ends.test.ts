import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launch, OTHER_ENGINES, startAndHear } from "./command.ts";
import { ENGINES, eventually, gangway } from "./harness.ts";
import { HeldJob } from "./held.ts";

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

  it("none: a session that is cut off is told that the job has ended", async () => {
    const { job, session } = await lingering([], ["sleep", "300"]);
    expect((await gangway(["stop", "--signal", "KILL", job.id])).code).toBe(0);
    const { code, stderr } = await session.ended;
    expect(stderr.trim().split("\n").at(-1)).toBe(`gangway: job ${job.id} has ended`);
    expect(code).toBe(69);
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
