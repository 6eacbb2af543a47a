import { createHash, randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually, OTHER, USER } from "../job/harness.ts";
import { driverWords, INTERACTIVE_SHELL, SIZES, type Step, suspended } from "../job/terminal.ts";
import { CarriedSession, cancel, launch, nothingLeft, runs, SILENCE_MS } from "./carried.ts";
import { asRoot, runOn, startOn } from "./cluster.ts";
import { fieldOf, HOST_DOCKER, loadInto, scontrol } from "./slurm.ts";

/* From the controller, which has neither engine nor route to a container nor a run directory of any job: by srun. */

const MIB = 2 ** 20;

let job = "";

const enter = async (...words: string[]) => await runOn("ctl", ["gangway", "ssh", ...words]);

beforeAll(async () => {
  for (const host of ["n1", "n2"] as const) loadInto(HOST_DOCKER, host, "debian");
  job = await launch(["-N2", "--nodelist=n[1-2]"]);
  await runs(job);
});

afterAll(async () => {
  await cancel(job);
});

describe("a session by srun", () => {
  test("the head, another node by its name and by its number; the command's status, and not a word of srun's", async () => {
    expect(await enter(job, "hostname; exit 7")).toMatchObject({ code: 7, stdout: "n1\n", stderr: "" });
    expect(await enter(`${job}.n2`, "hostname")).toMatchObject({ code: 0, stdout: "n2\n", stderr: "" });
    expect(await enter(`${job}.1`, "hostname")).toMatchObject({ code: 0, stdout: "n2\n", stderr: "" });
    expect(await enter("--connect", "srun", `n2.${job}.job`, "hostname")).toMatchObject({ code: 0, stdout: "n2\n" });
    await nothingLeft();
  });

  test("a host of the job leads on to a node that is on another one", async () => {
    const child = startOn("n1", ["gangway", "carried"]);
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => {
      said += chunk.toString("latin1");
    });
    const gone = new Promise((resolve) => child.once("close", resolve));
    child.stdin.write(`noise\ngangway-carried 1 ${JSON.stringify({ job, node: "n2", silenceMs: 20_000 })}\n`);
    await eventually("the node's sshd", 20, () => said.includes("SSH-2.0-OpenSSH"));
    expect(said).toMatch(/^\ngangway-carried 1 \{"kind":"ready","kit":""\}\n/);
    child.stdin.end();
    await gone;
  });

  test("a terminal with its size, and its changes", async () => {
    const argv = ["gangway", "ssh", "-t", job, SIZES];
    const steps: Step[] = [{ expect: "^30 90$" }, { resize: [50, 132] }, { expect: "^50 132$" }, { send: "\u0003" }];
    const { stdout } = await runOn("ctl", ["env", "TERM=xterm", ...driverWords(argv, steps)]);
    expect(JSON.parse(stdout)).toMatchObject({ missing: null, code: 130 });
    await nothingLeft();
  });

  test("~^Z, ssh's own, gives the terminal back for longer than silence is death, and fg goes on with the session", async () => {
    const session = ["env", `GANGWAY_NODE_SILENCE=${SILENCE_MS}ms`, "gangway", "ssh", job];
    const steps = suspended(session, (2 * SILENCE_MS) / 1000);
    const { stdout } = await runOn("ctl", driverWords(INTERACTIVE_SHELL, steps));
    expect(JSON.parse(stdout)).toMatchObject({ missing: null, code: 9 });
    await nothingLeft();
  });

  test("bytes of every kind go both ways, whole, while both directions are busy", async () => {
    const data = randomBytes(8 * MIB);
    const { code, bytes, stderr } = await runOn("ctl", ["gangway", "ssh", job, "cat"], { input: data });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(createHash("sha256").update(bytes).digest("hex")).toBe(createHash("sha256").update(data).digest("hex"));
  });

  test("rsync, sftp and scp, by plain ssh's own options", async () => {
    const data = randomBytes(2 * MIB);
    await runOn("ctl", ["sh", "-c", "cat >/tmp/carried.data"], { input: data });
    const copies = [
      ["rsync", "-e", "gangway ssh", "/tmp/carried.data", `${job}:/tmp/carried.rsync`],
      ["gangway", "ssh", "--ssh", "scp -q", job, "/tmp/carried.data", "remote:/tmp/carried.scp"],
      ["gangway", "ssh", "--ssh", "scp -q", `${job}.n1`, `${job}.n1:/tmp/carried.scp`, "/tmp/carried.back"],
      ["cmp", "/tmp/carried.data", "/tmp/carried.back"],
      ["sh", "-c", `echo 'put /tmp/carried.data /tmp/carried.sftp' | gangway ssh --ssh 'sftp -q -b -' ${job}`],
    ];
    for (const words of copies) expect(await runOn("ctl", words)).toMatchObject({ code: 0, stderr: "" });
    const sums = await enter(
      job,
      "sha256sum </tmp/carried.rsync; sha256sum </tmp/carried.scp; sha256sum </tmp/carried.sftp",
    );
    const sum = createHash("sha256").update(data).digest("hex");
    expect(sums.stdout).toBe(`${sum}  -\n`.repeat(3));
    await runOn("ctl", ["rm", "/tmp/carried.data", "/tmp/carried.back"]);
    await nothingLeft();
  });

  test("plain ssh by `gangway proxy`, with a key of the user's own", async () => {
    const script = `cd $(mktemp -d) && ssh-keygen -q -t ed25519 -N '' -f k && cat k.pub`;
    const made = await runOn("ctl", ["sh", "-c", `${script}; pwd`]);
    const [key = "", directory = ""] = made.stdout.trim().split("\n");
    const signed = await runOn("n1", ["gangway", "key", "authorize", job], { input: `${key}\n` });
    await runOn("ctl", ["sh", "-c", `cat >${directory}/k-cert.pub`], { input: signed.stdout });
    const options = [
      `-i${directory}/k`,
      "-oProxyCommand=gangway proxy %h",
      "-oStrictHostKeyChecking=no",
      "-oUserKnownHostsFile=/dev/null",
    ];
    const { code, stdout } = await runOn("ctl", [
      "ssh",
      "-F",
      "none",
      "-q",
      ...options,
      `n2.${job}.job`,
      "hostname; exit 4",
    ]);
    expect({ code, stdout }).toEqual({ code: 4, stdout: "n2\n" });
    await runOn("ctl", ["rm", "-r", directory]);
    await nothingLeft();
  });

  test("a forward (-L), here to the port of the node's own sshd", async () => {
    const [head] = JSON.parse((await runOn("n1", ["gangway", "hosts", "--json", job])).stdout) as { port: number }[];
    const child = startOn("ctl", ["gangway", "ssh", "-L", `18099:127.0.0.1:${head?.port}`, job, "sleep 4321"]);
    try {
      await eventually("the node's sshd", 30, async () => {
        const script = "exec 3<>/dev/tcp/127.0.0.1/18099 && read -r line <&3 && echo $line";
        return (await runOn("ctl", ["bash", "-c", script])).stdout.startsWith("SSH-2.0-");
      });
    } finally {
      asRoot("ctl", ["pkill", "-TERM", "-u", USER.name, "-f", "^\\S*/ssh -L 18099"]);
      await new Promise((resolve) => child.once("close", resolve));
    }
    await nothingLeft();
  });

  test("doctor goes this way, too", async () => {
    const { code, stdout } = await runOn("ctl", ["gangway", "doctor", `${job}.n2`]);
    expect(stdout).toMatch(/^ok +way srun +Slurm carries to n2, and a session works$/m);
    expect(code).toBe(0);
  });

  test("the index names a host to which ssh does not get: Slurm does", async () => {
    const installed = await runOn("n1", ["gangway", "ssh-config", "--install"]);
    try {
      const named = await runOn("ctl", ["gangway", "ssh", "--connect", "ssh", job, "hostname"]);
      expect(named).toMatchObject({ code: 76, stderr: expect.stringContaining("Permission denied") as string });
      // That another way was tried first is nobody's matter.
      expect(await enter(job, "hostname; exit 3")).toMatchObject({ code: 3, stdout: "n1\n", stderr: "" });
      const { code, stdout, stderr } = await runOn("ctl", ["gangway", "doctor", job]);
      expect(stdout).toMatch(/^fault +way ssh .*\(.*Permission denied.*\)$/m);
      expect(stdout).toMatch(/^ok +way srun +Slurm carries to n1, and a session works$/m);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    } finally {
      if (installed.code === 0) await runOn("n1", ["gangway", "ssh-config", "--uninstall"]);
    }
  });

  test("no key and no name of it is left in the launcher's table of sessions", async () => {
    expect((await runOn("n1", ["gangway", "ps", "--sessions"])).stdout.trim().split("\n")).toHaveLength(1);
  });
});

describe("killed at some moment, nothing is left on either side", () => {
  /* Side by side, since each of them waits. */
  async function killed(sessions: readonly CarriedSession[]): Promise<void> {
    const codes = await Promise.all(sessions.map(async (session) => await session.ended));
    expect(codes).not.toContain(0);
    await nothingLeft();
  }

  test("one of its processes, by SIGKILL, while a command runs", async () => {
    const victims = ["gangway", "ssh", "pump", "srun", "guard"] as const;
    const sessions = victims.map((victim) => ({ victim, session: new CarriedSession(job) }));
    const far = new CarriedSession(`${job}.n2`, { host: "n2" });
    await Promise.all([...sessions.map(async ({ session }) => await session.up()), far.up()]);
    for (const { victim, session } of sessions) session.kill(victim);
    far.kill("far end");
    await killed([...sessions.map(({ session }) => session), far]);
  });

  test("gangway, by what ends programs, and at its beginning", async () => {
    const signals = ["SIGTERM", "SIGHUP"] as const;
    const sessions = signals.map((signal) => ({ signal, session: new CarriedSession(job) }));
    const starting = [20, 150, 300].map(async (ms) => {
      const session = new CarriedSession(job);
      await session.killAfter(ms);
      return session;
    });
    await Promise.all(sessions.map(async ({ session }) => await session.up()));
    for (const { signal, session } of sessions) session.kill("gangway", signal);
    await killed([...sessions.map(({ session }) => session), ...(await Promise.all(starting))]);
  });

  test("a session that was stopped (^Z) for longer than silence is death goes on", async () => {
    const session = new CarriedSession(job, { script: 'echo up; read -r line; echo "<$line>"; exit 5' });
    await session.up();
    session.kill("gangway", "SIGTSTP");
    await new Promise((resolve) => setTimeout(resolve, 2 * SILENCE_MS));
    session.kill("gangway", "SIGCONT");
    session.say("back\n");
    expect(await session.ended).toBe(5);
    expect(session.stdout).toBe("up\n<back>\n");
    await nothingLeft();
  });
});

describe("what cannot be entered is said, with its status", () => {
  test("a login node has no jobs of its own, and no engine: where they are, and whose commands list and end them", async () => {
    for (const words of [["ps"], ["ps", "--sessions"], ["stop", job], ["logs", job], ["hosts", job]]) {
      const { code, stdout, stderr } = await runOn("ctl", ["gangway", ...words]);
      expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
      expect(stderr).toMatch(
        /^gangway: no job of yours was launched on this host, .*\n {2}those on Slurm's hosts are entered/,
      );
    }
  });

  test("no such job, no such node, somebody else's, no id of Slurm's", async () => {
    const nobody = await enter("999999", "true");
    expect(nobody.code).toBe(68);
    expect(nobody.stderr).toContain("those on Slurm's hosts are entered by Slurm's id");
    expect(nobody.stderr).not.toContain("docker.sock");
    expect(await enter("--connect", "srun", "999999", "true")).toMatchObject({ code: 68 });
    expect((await enter("--connect", "srun", "abc", "true")).stderr).toContain('"abc" is no id of Slurm\'s');
    const node = await enter(`${job}.n9`, "true");
    expect(node.stderr).toContain(`job ${job} has no node "n9"`);
    expect(node.code).toBe(68);
    const other = await runOn("ctl", ["gangway", "ssh", job, "true"], { user: OTHER.name });
    expect(other.stderr).toContain(`Slurm's job ${job} is ${USER.name}'s: only they can enter it`);
    expect(other.code).toBe(77);
  });

  test("idle, held, cancelled; --auto-retry waits while it is idle", async () => {
    const idle = await launch(["-N1", "--begin=now+1hour"]);
    const pending = await enter(idle, "true");
    expect(pending.stderr).toContain(`job ${idle} does not run yet (Slurm: pending, BeginTime)`);
    expect(pending.code).toBe(75);
    scontrol("hold", idle);
    const held = await enter(idle, "true");
    expect(held.stderr).toContain(`job ${idle} is held`);
    expect(held.code).toBe(76);
    scontrol("release", idle);
    const waiting = enter("--auto-retry", idle, "hostname");
    scontrol("update", `JobId=${idle}`, "StartTime=now");
    expect((await waiting).stdout).toMatch(/^n[123]\n$/);
    await cancel(idle);
    const over = await enter(idle, "true");
    expect(over.stderr).toContain(`job ${idle} has ended (Slurm: cancelled)`);
    expect(over.code).toBe(69);
  });

  test("suspended, and then resumed", async () => {
    scontrol("suspend", job);
    try {
      await eventually("it is suspended", 20, () => fieldOf(job, "JobState") === "SUSPENDED");
      const { code, stderr } = await enter(job, "true");
      expect(stderr).toContain(`job ${job} is suspended`);
      expect(code).toBe(75);
    } finally {
      scontrol("resume", job);
    }
    expect(await enter(job, "hostname")).toMatchObject({ code: 0, stdout: "n1\n" });
  });

  test("a launch with a name of its own is not known to Slurm: its name is said", async () => {
    const named = await launch(["-N1", "--nodelist=n2"], "--name carried-by-name");
    try {
      await runs(named, "n2", "carried-by-name");
      const { code, stderr } = await enter(named, "true");
      expect(stderr).toMatch(/what was launched in job \d+ on n2 has another name: carried-by-name/);
      expect(code).toBe(68);
      const examined = await runOn("ctl", ["gangway", "doctor", named]);
      expect(examined).toMatchObject({ code: 68, stdout: "" });
    } finally {
      await cancel(named);
    }
  });

  test("a task of an array by its own id; the array's id names those that run", async () => {
    const array = await launch(["-N1", "-n1", "--nodelist=n2", "--array=3,5"]);
    try {
      await runs(`${array}_3`, "n2");
      await runs(`${array}_5`, "n2");
      expect(await enter(`${array}_5`, "printenv GANGWAY_JOB_ID")).toMatchObject({ code: 0, stdout: `${array}_5\n` });
      // Its number, as Slurm counts jobs: the last task has the array's own.
      const own = ((await runOn("ctl", ["squeue", "-h", "-o", "%A", "-j", `${array}_3`])).stdout ?? "").trim();
      expect(own).not.toBe(array);
      expect(await enter(own, "printenv GANGWAY_JOB_ID")).toMatchObject({ code: 0, stdout: `${array}_3\n` });
      const several = await enter(array, "true");
      expect(several.stderr).toMatch(new RegExp(`those that run: ${array}_[35], ${array}_[35]`));
      expect(several.code).toBe(65);
    } finally {
      await runOn("ctl", ["scancel", array]);
    }
  });

  test("srun that fails is quoted: its own words are shown then", async () => {
    const words = ["env", "GANGWAY_NODE_PROGRAM=/no/such/gangway", "gangway", "ssh", job, "true"];
    const { code, stderr } = await runOn("ctl", words);
    expect(stderr).toMatch(/cannot be reached by srun.*\/no\/such\/gangway/);
    expect(code).toBe(76);
    await nothingLeft();
  });
});
