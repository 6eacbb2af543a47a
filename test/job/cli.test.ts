import { execFile } from "node:child_process";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  DOCKER,
  environmentOf,
  eventually,
  GANGWAY,
  gangway,
  IMAGES,
  inDirectory,
  MANY,
  OTHER,
  PODMAN,
  ROOTLESS,
  type RunOptions,
  type RunResult,
  run,
  start,
  UDI_IMAGE,
  USER,
} from "./harness.ts";
import { HeldJob } from "./held.ts";

const execute = promisify(execFile);

async function launch(words: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return await gangway(["run", "--image", IMAGES.bare, "--pull", "never", ...words], options);
}

/** What a launch with these flags prints; it has to go well. */
async function output(words: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await launch(words, options);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout;
}

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
      expect(slip.stderr).toContain('no job "nosuch" is running');
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

describe.each([DOCKER, PODMAN, ROOTLESS])("running jobs on $name", (engine) => {
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
    expect(await hostname()).toBe("node1");
    expect(await hostname(job.id)).toBe("node1");
    expect(await hostname(`${job.id}.node2`)).toBe("node2");
    expect(await hostname(`${job.id}.0`)).toBe("node1");
    expect(await hostname(`${job.id}.1`)).toBe("node2");
    const wrong = await gangway(["shell", `${job.id}.node3`, "--", "hostname"], { engine });
    expect(wrong).toMatchObject({
      code: 125,
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
    for (const command of [
      ["shell", job.id, "--", "id"],
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
        expect(code).toBe(125);
      }
      expect((await second.shell(["hostname"])).stdout).toBe("node1\n");
    } finally {
      await second.end();
    }
  });
});

describe("doctor", () => {
  test("is content here, for people and for programs", async () => {
    const { code, stdout, stderr } = await gangway(["doctor"]);
    expect(stderr).toBe("");
    expect(stdout).toMatch(/^ok +node +Node.js/);
    for (const what of ["udiImage", "user", "directory", "engine"])
      expect(stdout).toMatch(new RegExp(`^ok +${what} `, "m"));
    expect(code).toBe(0);
    const findings = JSON.parse((await gangway(["doctor", "--json"])).stdout) as { what: string; state: string }[];
    expect(findings.filter(({ state }) => state === "fault")).toEqual([]);
  });

  test("names what a rootless engine cannot do", async () => {
    const { code, stdout } = await gangway(["doctor"], { engine: ROOTLESS });
    expect(stdout).toMatch(/^limit +mpirun +virtual nodes of a rootless engine share one address/m);
    expect(code).toBe(0);
  });

  test("finds one changed byte, a missing file and a wrong link in the udiImage; an edited configuration is no fault", async () => {
    await inDirectory(async (path) => {
      chmodSync(path, 0o755);
      const tree = join(path, "udiImage");
      cpSync(UDI_IMAGE, tree, { recursive: true, verbatimSymlinks: true });
      const options = { env: { GANGWAY_UDI_IMAGE_PATH: tree } };
      expect((await gangway(["doctor"], options)).code).toBe(0);
      writeFileSync(join(tree, "etc/sshd_config"), "# ours\n", { flag: "a" });
      const edited = await gangway(["doctor"], options);
      expect(edited.stdout).toMatch(/^limit +udiImage .*sshd_config is not what was built \(edited here\)$/m);
      expect(edited.code).toBe(0);
      const program = readFileSync(join(tree, "sbin/sshd"));
      program[5000] = (program[5000] ?? 0) ^ 1;
      writeFileSync(join(tree, "sbin/sshd"), program);
      const changed = await gangway(["doctor"], options);
      expect(changed.stdout).toMatch(
        /^fault +udiImage .*sbin\/sshd is not what was built\n +build it anew with make$/m,
      );
      expect(changed.code).toBe(1);
      await execute("rm", [join(tree, "bin/ssh")]);
      await execute("ln", ["-sfn", "sh", join(tree, "tools/ls")]);
      const broken = await gangway(["doctor"], options);
      expect(broken.stdout).toMatch(/^fault +udiImage .*bin\/ssh is missing$/m);
      expect(broken.stdout).toMatch(/^fault +udiImage .*tools\/ls should be a link to /m);
      expect(broken.code).toBe(1);
    });
  });

  test("explains an engine that cannot be used", async () => {
    const { code, stdout, stderr } = await gangway(["doctor"], { user: OTHER });
    expect(stdout).toMatch(/^fault +engine +no permission on the engine's socket .*\n +it is open to group/m);
    expect({ code, stderr }).toEqual({ code: 1, stderr: "" });
  });
});

describe("config show", () => {
  test("tells every setting with its origin", async () => {
    await inDirectory(async (path) => {
      mkdirSync(join(path, "gangway"));
      const user = join(path, "gangway/config.toml");
      const site = join(path, "site.toml");
      writeFileSync(user, '# mine\npull = "never"\n');
      writeFileSync(site, 'slots = 4\nvolumes = ["/usr/share:/data:ro"]\n');
      for (const file of [user, site]) chownSync(file, USER.uid, USER.gid);
      const env = { XDG_CONFIG_HOME: path, GANGWAY_SITE_CONFIG: site, GANGWAY_SHM_SIZE: "128m" };
      const { stdout, code } = await gangway(["config", "show"], { env });
      expect(code).toBe(0);
      expect(stdout).toMatch(/^SETTING +VALUE +FROM$/m);
      expect(stdout).toMatch(new RegExp(`^pull +never +${user}:2$`, "m"));
      expect(stdout).toMatch(new RegExp(`^slots +4 +${site}:1$`, "m"));
      expect(stdout).toMatch(/^shmSize +128m +GANGWAY_SHM_SIZE$/m);
      expect(stdout).toMatch(/^maxConnections +1024 +default$/m);
      const json = JSON.parse((await gangway(["config", "show", "--json"], { env })).stdout) as unknown;
      expect(JSON.stringify(json)).toContain("GANGWAY_SHM_SIZE");
      expect(await output(["--", "probe", "read", "/var/hostsfile"], { env })).toBe("node1\n".repeat(4));
      expect(await output(["--", "probe", "stat", "/data"], { env })).toMatch(/dir/);
    });
  });
});

describe("help", () => {
  const commands = ["run", "shell", "ps", "inspect", "hosts", "logs", "wait", "stop", "gc", "doctor", "config"];

  test("of gangway itself names every command", async () => {
    for (const words of [["--help"], ["-h"], ["help"]]) {
      const { code, stdout, stderr } = await gangway(words);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      for (const command of commands) expect(stdout).toMatch(new RegExp(`^ {2}${command} +\\S`, "m"));
    }
    const bare = await gangway([]);
    expect(bare).toMatchObject({ code: 125, stdout: "" });
    expect(bare.stderr).toMatch(/^Usage: gangway COMMAND/);
    expect((await gangway(["--version"])).stdout).toMatch(/^gangway \d+\.\d+\.\d+\n$/);
  });

  test.each(commands)("of %s", async (command) => {
    for (const words of [
      [command, "--help"],
      ["help", command],
    ]) {
      const { code, stdout, stderr } = await gangway(words);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout).toMatch(new RegExp(`^Usage: gangway ${command}`));
      expect(stdout.split("\n").length).toBeGreaterThan(5);
    }
  });
});

describe("root launches for an ordinary user", () => {
  test("everything is that user's: processes, files, run directory, output", async () => {
    await inDirectory(async (cwd) => {
      const env = { ...environmentOf({}), HOME: "/root", XDG_RUNTIME_DIR: "", USER: "root" };
      const base = `/dev/shm/gangway-${USER.uid}`;
      const words = ["run", "-d", "-u", USER.name, "-i", IMAGES.bare, "-N", "2", "--name", "for-user", "--"];
      const script = "id -u; id -G; touch made; while [ ! -e go ]; do sleep 0.1; done";
      const { stdout } = await execute(GANGWAY, [...words, "sh", "-c", script], { env, cwd });
      expect(stdout).toBe("for-user\n");
      const places = [`/run/user/${USER.uid}/gangway`, base].map((place) => join(place, "for-user"));
      const directory = places.find((place) => existsSync(place)) ?? "";
      const files = (await execute("find", [directory, "-printf", "%U %G %p\n"])).stdout.trim().split("\n");
      expect(files.length).toBeGreaterThan(20);
      expect(files.filter((line) => !line.startsWith(`${USER.uid} ${USER.gid} `))).toEqual([]);
      await eventually("a file", 10, () => existsSync(join(cwd, "made")));
      expect(statSync(join(cwd, "made"))).toMatchObject({ uid: USER.uid, gid: USER.gid });
      expect(statSync(join(cwd, "gangway-for-user.out"))).toMatchObject({ uid: USER.uid, gid: USER.gid });
      // The user goes in as into any job of theirs; so does root, who names the user.
      expect((await gangway(["shell", "for-user", "--", "id", "-u"])).stdout).toBe(`${USER.uid}\n`);
      const all = await execute(GANGWAY, ["ps"], { env, cwd });
      expect(all.stdout).toMatch(new RegExp(`^for-user +${USER.name} +node1,node2 +running`, "m"));
      writeFileSync(join(cwd, "go"), "");
      await execute(GANGWAY, ["wait", "-u", USER.name, "for-user"], { env, cwd });
      const lines = readFileSync(join(cwd, "gangway-for-user.out"), "utf8").split("\n");
      expect(lines[0]).toBe(String(USER.uid));
      expect(lines[1]?.split(" ").sort()).toEqual(
        (await execute("id", ["-G", USER.name])).stdout.trim().split(" ").sort(),
      );
      expect(existsSync(directory)).toBe(false);
    });
  });
});

describe("what a user asks for takes effect", () => {
  const read = async (flags: string[], ...files: string[]) =>
    (await output([...flags, "--", "sh", "-c", `cat ${files.join(" ")} 2>/dev/null`])).trim();
  const cgroup1 = existsSync("/sys/fs/cgroup/memory");

  test("--memory, with no swap beyond it", async () => {
    const [v1, v2] = ["/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max"];
    expect(await read(["--memory", "64m"], cgroup1 ? v1 : v2)).toBe(String(64 * 1024 ** 2));
    const result = await launch(["--memory", "64m", "--", "probe", "alloc", "200"]);
    expect(result.code).toBe(137);
  });

  test("--cpus, --cpuset-cpus, --pids-limit", async () => {
    const quota = cgroup1
      ? await read(["--cpus", "0.5"], "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us")
      : await read(["--cpus", "0.5"], "/sys/fs/cgroup/cpu.max");
    expect(quota.split(/\s+/)).toEqual(["50000", "100000"]);
    expect(await output(["--cpuset-cpus", "0", "--", "nproc"])).toBe("1\n");
    expect(cpus().length).toBeGreaterThan(0);
    expect(
      await read(["--pids-limit", "123"], cgroup1 ? "/sys/fs/cgroup/pids/pids.max" : "/sys/fs/cgroup/pids.max"),
    ).toBe("123");
  });

  test("--shm-size, --ulimit", async () => {
    const shm = await output(["--shm-size", "32m", "--", "sh", "-c", "df -k /dev/shm | tail -1"]);
    expect(shm.split(/\s+/)[1]).toBe(String(32 * 1024));
    const limits = await output([
      "--ulimit",
      "nofile=256:512",
      "--ulimit",
      "core=0",
      "--",
      "sh",
      "-c",
      "ulimit -n; ulimit -Hn; ulimit -c",
    ]);
    expect(limits).toBe("256\n512\n0\n");
  });

  test("--read-only and --tmpfs", async () => {
    const script = "touch /nope 2>/dev/null || echo ro; touch /scratch/x && ls /scratch; df -k /scratch | tail -1";
    const text = await output(["--read-only", "--tmpfs", "/scratch:size=4m,mode=1777", "--", "sh", "-c", script]);
    expect(text).toMatch(/^ro\nx\ntmpfs +4096 /);
  });

  test("-e, -e from the caller, --env-file, --clearenv", async () => {
    await inDirectory(async (cwd) => {
      const file = join(cwd, "job.env");
      writeFileSync(file, "# comment\nFROM_FILE=a b=c\n\nBOTH=file\nNODE_OPTIONS=--nonsense\n");
      const words = ["-e", "ONE=1", "-e", "CALLERS", "-e", "BOTH=flag", "--env-file", "job.env"];
      const env = { CALLERS: "mine", NOT_ASKED: "x" };
      const { bytes, stderr } = await launch([...words, "--", "probe", "env"], { cwd, env });
      expect(stderr).toBe("");
      const variables = bytes.toString("utf8").split("\0");
      expect(variables).toEqual(
        expect.arrayContaining(["ONE=1", "CALLERS=mine", "BOTH=flag", "FROM_FILE=a b=c", "NODE_OPTIONS=--nonsense"]),
      );
      expect(variables.filter((variable) => variable.startsWith("NOT_ASKED="))).toEqual([]);
      const image = ["run", "-i", IMAGES.locked, "--pull", "never", "--entrypoint", ""];
      const whole = (await gangway([...image, "--", "probe", "env"], { cwd })).bytes.toString("utf8").split("\0");
      const clear = (await gangway([...image, "--clearenv", "--", "probe", "env"], { cwd })).bytes
        .toString("utf8")
        .split("\0");
      expect(clear.length).toBeLessThanOrEqual(whole.length);
      expect(clear).toEqual(expect.arrayContaining([expect.stringMatching(/^GANGWAY_JOB_ID=/)]));
    });
  });

  test("--device", async () => {
    const text = await output([
      "--device",
      "/dev/zero:/dev/nought:r",
      "--",
      "sh",
      "-c",
      "head -c 3 /dev/nought | wc -c",
    ]);
    expect(text.trim()).toBe("3");
  });

  test("home and working directory at their own paths; --workdir; --no-mount-home, --no-mount-workdir", async () => {
    await inDirectory(async (cwd) => {
      chmodSync(cwd, 0o755);
      writeFileSync(join(cwd, "here"), "x");
      expect(await output(["--", "sh", "-c", `pwd; cat ${cwd}/here; cd; pwd; test -w . && echo home`], { cwd })).toBe(
        `${cwd}\nx${USER.home}\n${"home\n"}`,
      );
      expect(await output(["--workdir", "/usr", "--", "pwd"], { cwd })).toBe("/usr\n");
      expect(await output(["--no-mount-workdir", "--", "sh", "-c", `pwd; ls ${cwd} 2>/dev/null; true`], { cwd })).toBe(
        "/\n",
      );
      const without = await output(["--no-mount-home", "--", "sh", "-c", `ls ${USER.home} 2>/dev/null | wc -l`], {
        cwd,
      });
      expect(without.trim()).toBe("0");
    });
  });

  test("-v, relative, read-only", async () => {
    await inDirectory(async (cwd) => {
      mkdirSync(join(cwd, "data"), { mode: 0o777 });
      chmodSync(join(cwd, "data"), 0o777);
      chmodSync(cwd, 0o755);
      const words = ["-v", "./data:/in:ro", "-v", `${cwd}/data:/out`];
      const script = "touch /in/x 2>/dev/null || echo ro; touch /out/y && ls /in";
      expect(await output([...words, "--", "sh", "-c", script], { cwd })).toBe("ro\ny\n");
      expect(statSync(join(cwd, "data/y")).uid).toBe(USER.uid);
    });
  });

  test("the host name is the node's, on every network", async () => {
    for (const network of ["bridge", "host", "none"]) {
      expect(await output(["--network", network, "--", "hostname"])).toBe("node1\n");
    }
  });

  test("--entrypoint, and the image's own", async () => {
    expect(await output(["--entrypoint", "probe", "--", "say", "hi"])).toBe("hi\n");
    const empty = await gangway([
      "run",
      "-i",
      IMAGES.locked,
      "--pull",
      "never",
      "--entrypoint",
      "",
      "--",
      "probe",
      "say",
      "hi",
    ]);
    expect(empty).toMatchObject({ code: 0, stdout: "hi\n", stderr: "" });
  });

  test("--time-limit ends the job with 124", async () => {
    const { code, stderr } = await launch(["--time-limit", "1s", "--", "probe", "sleep", "60"]);
    expect({ code, stderr }).toEqual({ code: 124, stderr: "gangway: the job's time limit is reached\n" });
  });
});

describe("output", () => {
  test("through pipes and files is the command's alone: no progress, no colour", async () => {
    await inDirectory(async (cwd) => {
      const script = `${GANGWAY} run -i ${IMAGES.bare} --pull never -N 2 -- probe both >out 2>err </dev/null`;
      expect((await run(["sh", "-c", script], { cwd })).code).toBe(0);
      expect(readFileSync(join(cwd, "out"), "utf8")).toBe("out\n");
      expect(readFileSync(join(cwd, "err"), "utf8")).toBe("err\n");
      const piped = await run(["bash", "-c", `${GANGWAY} run -i ${IMAGES.bare} -- probe gen 1000000 1 | wc -c`], {
        cwd,
      });
      expect(piped.stdout.trim()).toBe("1000000");
      const cut = await run(
        [
          "bash",
          "-c",
          `${GANGWAY} run -i ${IMAGES.bare} -- probe gen 50000000 1 | head -c 10 | wc -c; echo "\${PIPESTATUS[0]}"`,
        ],
        { cwd },
      );
      expect(cut).toMatchObject({ stdout: "10\n141\n", stderr: "" });
    });
  });

  test("with closed streams the exit code still counts", async () => {
    const script = `${GANGWAY} run -i ${IMAGES.bare} -- probe exit 9 >&- 2>&- <&-`;
    expect((await run(["sh", "-c", script])).code).toBe(9);
  });
});
