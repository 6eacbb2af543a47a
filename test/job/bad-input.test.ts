import { execFile } from "node:child_process";
import { chownSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  DOCKER,
  environmentOf,
  GANGWAY,
  gangway,
  IMAGES,
  inDirectory,
  OTHER,
  PODMAN,
  ROOTLESS,
  type RunOptions,
  type RunResult,
  run,
  UDI_IMAGE,
  USER,
} from "./harness.ts";
import { HeldJob } from "./held.ts";
import { Traces } from "./traces.ts";

const execute = promisify(execFile);

let traces: Traces[];

beforeAll(async () => {
  traces = await Promise.all([DOCKER, PODMAN, ROOTLESS].map((engine) => Traces.watch(engine)));
});

afterAll(async () => {
  for (const each of traces) await each.gone();
  for (const each of traces) each.close();
});

interface Complaint {
  /** The one line that says what is wrong, behind "gangway: ". */
  readonly says: string | RegExp;
  /** The line that says what to do. */
  readonly next: string | RegExp;
  readonly code?: number;
}

/** One line says what is wrong, one what to do; no stack, no other output, and the launcher's own exit code. */
function complains({ code, stdout, stderr }: RunResult, { says, next, code: expected = 125 }: Complaint): void {
  expect(stderr).toMatch(/^gangway: .+\n {2}.+\n$/);
  expect(stderr).not.toMatch(/\n\s+at |mistake of gangway's own|undefined|\[object/);
  const [first = "", second = ""] = stderr.split("\n");
  expect(first.slice("gangway: ".length)).toEqual(
    typeof says === "string" ? expect.stringContaining(says) : expect.stringMatching(says),
  );
  expect(second.trim()).toEqual(typeof next === "string" ? expect.stringContaining(next) : expect.stringMatching(next));
  expect(stdout).toBe("");
  expect(code).toBe(expected);
}

async function launch(words: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return await gangway(["run", "--image", IMAGES.bare, "--pull", "never", ...words], options);
}

describe.each([DOCKER, PODMAN])("what $name refuses", (engine) => {
  test("an image that is not there and may not be pulled", async () => {
    const result = await gangway(["run", "-i", "nobody/has-this", "--pull", "never", "--", "true"], { engine });
    complains(result, { says: 'the engine has no image "nobody/has-this"', next: "--pull missing" });
  });

  test("an image of a registry that cannot be reached", async () => {
    const result = await gangway(["run", "-i", "localhost:1/nobody/has-this", "--", "true"], { engine });
    complains(result, { says: /^could not pull image "localhost:1\/nobody\/has-this".*refused/, next: "registry" });
  });

  test("an image's name that is none", async () => {
    const result = await gangway(["run", "-i", "Bad Image", "--", "true"], { engine });
    complains(result, { says: /"Bad Image".*invalid reference format/, next: "NAME[:TAG]" });
  });

  test.each([
    { words: ["--memory", "1m"], says: /memory limit/i, next: "--memory" },
    { words: ["--cpuset-cpus", "4000"], says: /not available - requested 4000/i, next: "this machine has" },
    { words: ["--network", "nobody-made-this"], says: /network.*not found/, next: "--network" },
    { words: ["--device", "/dev/nobody-made-this"], says: /\/dev\/nobody-made-this.*no such file/, next: "--device" },
    { words: ["--tmpfs", "/x:nonsense"], says: /nonsense/, next: "--tmpfs" },
    { words: ["--ulimit", "nofile=99999999999"], says: /rlimit/, next: "--ulimit" },
    { words: ["--gpus", "all"], says: /GPU|gpu/, next: /toolkit|--device/ },
    { words: ["--pids-limit", "1"], says: /sshd|process|pids|fork|resource/i, next: /\S/ },
  ])("$words", async ({ words, says, next }) => {
    complains(await launch([...words, "--", "true"], { engine }), { says, next });
  });

  test("a command that is not there: 127; one that cannot be executed: 126", async () => {
    const missing = await launch(["--", "nobody-made-this"], { engine });
    complains(missing, { says: /^node1: nobody-made-this: not found in PATH$/, next: "in the image", code: 127 });
    const path = await launch(["--", "/no/such/program"], { engine });
    complains(path, { says: /^node1: \/no\/such\/program: No such file/, next: "in the image", code: 127 });
    const data = await launch(["--", "/opt/udiImage/manifest.json"], { engine });
    complains(data, { says: /^node1: .*manifest.json: Permission denied$/, next: "may execute", code: 126 });
  });

  test("a port of this host's that is taken", async () => {
    const server = createServer().listen(0);
    const { port } = server.address() as AddressInfo;
    const result = await launch(["--network", "host", "--port", String(port), "--", "true"], { engine });
    server.close();
    complains(result, { says: `node1: listen ${port}: Address already in use`, next: "leave --port out" });
    const low = await launch(["--network", "host", "--port", "1", "--", "true"], { engine });
    complains(low, { says: "node1: listen 1: Permission denied", next: "below 1024" });
  });

  test("a name that is a running job's", async () => {
    const job = await HeldJob.start({ engine });
    try {
      complains(await launch(["--name", job.id, "--", "true"], { engine }), {
        says: `there is a job "${job.id}" already`,
        next: "gangway ps",
      });
      // A detached one must not touch the running job's output either.
      await inDirectory(async (cwd) => {
        writeFileSync(join(cwd, `gangway-${job.id}.out`), "mine\n");
        const result = await launch(["--detach", "--name", job.id, "--", "true"], { engine, cwd });
        complains(result, { says: `there is a job "${job.id}" already`, next: "gangway ps" });
        expect(readFileSync(join(cwd, `gangway-${job.id}.out`), "utf8")).toBe("mine\n");
      });
      expect((await job.shell(["probe", "say", "alive"])).stdout).toBe("alive\n");
    } finally {
      await job.end();
    }
  });
});

describe("the engine", () => {
  const tcp = { env: { DOCKER_HOST: "tcp://10.0.0.1:2375" } };
  const ssh = { env: { DOCKER_HOST: "ssh://host" } };
  const gone = { env: { DOCKER_HOST: "unix:///nobody/made/this.sock" } };

  test.each(["run", "ps", "gc", "shell"])("of another host, for gangway %s", async (command) => {
    const words = command === "run" ? ["run", "-i", IMAGES.bare, "--", "true"] : [command];
    complains(await gangway(words, tcp), { says: /DOCKER_HOST.*tcp/, next: "unix:///" });
    complains(await gangway(words, ssh), { says: /DOCKER_HOST.*ssh/, next: "unix:///" });
    complains(await gangway(words, gone), {
      says: "/nobody/made/this.sock (named by DOCKER_HOST) does not exist",
      next: "start",
    });
  });

  test("that nobody serves any more", async () => {
    await inDirectory(async (path) => {
      const socket = join(path, "engine.sock");
      const code = `require("net").createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, 9))`;
      await run([process.execPath, "-e", code]);
      const result = await launch(["--", "true"], { env: { DOCKER_HOST: `unix://${socket}` } });
      complains(result, {
        says: `the container engine is down: nobody listens on ${socket}`,
        next: "start the engine",
      });
    });
  });

  test.each([DOCKER, PODMAN, ROOTLESS])("$name, whose socket is closed to this user", async (engine) => {
    const options = { engine, user: OTHER };
    complains(await launch(["--", "true"], options), {
      says: "no permission on the engine's socket",
      next: "rootless Podman",
    });
    complains(await gangway(["ps"], options), {
      says: "no permission on the engine's socket",
      next: "rootless Podman",
    });
  });

  test("of another user, which could read neither home nor keys", async () => {
    const words = ["run", "--user", OTHER.name, "-i", IMAGES.bare, "--pull", "never", "--", "true"];
    const child = execute(GANGWAY, words, { env: environmentOf({ engine: ROOTLESS, user: OTHER }), cwd: "/" });
    const { code, stdout, stderr } = await child.then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      (error: { code: number; stdout: string; stderr: string }) => error,
    );
    complains(
      { code, stdout, stderr, bytes: Buffer.alloc(0) },
      {
        says: `is that of uid ${USER.uid}, and the job that of uid ${OTHER.uid}`,
        next: "engine of the job's own user",
      },
    );
  });

  test("that cannot read a directory which is to be mounted", async () => {
    await inDirectory(async (path) => {
      mkdirSync(join(path, "inner"));
      await execute("chmod", ["0700", path]);
      const result = await launch(["-v", `${path}/inner:/x`, "--", "true"], { engine: ROOTLESS });
      complains(result, { says: "permission denied", next: /\S/ });
    }, OTHER);
  });
});

describe("volumes", () => {
  const ours = [
    "/opt/udiImage",
    "/run/gangway",
    "/var/hostsfile",
    "/etc/passwd",
    "/etc/group",
    "/etc/hosts",
    "/etc/profile.d/zz-gangway.sh",
  ];
  const ancestors = ["/opt", "/run", "/var", "/etc", "/etc/profile.d"];
  const inside = ["/opt/udiImage/bin", "/run/gangway/ssh", "/run/../run/gangway"];

  test.each([...ours, ...ancestors, ...inside])("at %s would cover what is ours", async (target) => {
    complains(await launch(["-v", `/tmp:${target}`, "--", "true"]), {
      says: /would cover \S+, which is Gangway's own$/,
      next: "somewhere else",
    });
    complains(await launch(["--tmpfs", target, "--", "true"]), {
      says: /would cover \S+, which is Gangway's own$/,
      next: "somewhere else",
    });
  });

  test("that do not exist", async () => {
    const words = ["-v", "/nobody/made/this:/x", "--", "true"];
    complains(await launch(words), { says: "/nobody/made/this does not exist on this host", next: "must exist" });
    complains(await launch(words, { engine: PODMAN }), {
      says: "/nobody/made/this does not exist on this host",
      next: "must exist",
    });
  });
});

describe("a full disk", () => {
  test("where the private files of jobs lie: explained at every stage, and nothing stays there", async () => {
    await inDirectory(async (path) => {
      const options = `size=4k,mode=0700,uid=${USER.uid},gid=${USER.gid}`;
      const base = join(path, "tiny");
      mkdirSync(base);
      await execute("mount", ["-t", "tmpfs", "-o", options, "gangway-test-tiny", base]);
      try {
        for (const size of [4, 16, 32, 48, 64, 80, 96]) {
          await execute("mount", ["-o", `remount,size=${size}k`, base]);
          const result = await launch(["--nodes", "2", "--", "true"], { env: { GANGWAY_RUN_DIRECTORY: base } });
          if (result.code !== 0) complains(result, { says: /no space left on device/i, next: "room" });
          expect(readdirSync(base)).toEqual([]);
        }
      } finally {
        await execute("umount", [base]);
      }
    });
  });

  test("where a detached job's output goes: the job hears of it as of any full disk", async () => {
    await inDirectory(async (path) => {
      const base = join(path, "tiny");
      mkdirSync(base);
      const options = `size=64k,mode=0700,uid=${USER.uid},gid=${USER.gid}`;
      await execute("mount", ["-t", "tmpfs", "-o", options, "gangway-test-tiny", base]);
      try {
        const name = `full-${process.pid}`;
        const words = ["--detach", "--name", name, "--output", join(base, "out"), "--", "probe", "gen", "9000000", "1"];
        const { code, stdout } = await launch(words, { cwd: path });
        expect({ code, stdout }).toEqual({ code: 0, stdout: `${name}\n` });
        // SIGPIPE: nobody takes its output any more.
        expect((await gangway(["wait", name])).code).toBe(141);
      } finally {
        await execute("umount", [base]);
      }
    });
  });

  test("where `gangway ps` writes to", async () => {
    const result = await run(["sh", "-c", `exec ${GANGWAY} ps --json >/dev/full`]);
    expect(result.stderr).toMatch(/^gangway: standard output cannot be written: ENOSPC/);
    expect(result.code).toBe(125);
    // Whereas a reader who has seen enough is no reason for words.
    const piped = await run(["bash", "-c", `${GANGWAY} config show | true; echo "\${PIPESTATUS[0]}"`]);
    expect(piped.stderr).toBe("");
    expect(["0\n", "141\n"]).toContain(piped.stdout);
  });
});

describe("configuration files", () => {
  test("the user's: the error names file and line, and what may have been meant", async () => {
    await inDirectory(async (path) => {
      mkdirSync(join(path, "gangway"));
      const file = join(path, "gangway/config.toml");
      writeFileSync(file, '# mine\nshmSize = "1g"\npul = "never"\n');
      chownSync(file, USER.uid, USER.gid);
      const options = { env: { XDG_CONFIG_HOME: path } };
      complains(await launch(["--", "true"], options), { says: `${file}:3:`, next: "pull" });
      writeFileSync(file, 'pull = "nevr"\n');
      complains(await launch(["--", "true"], options), { says: `${file}:1:`, next: "never" });
      writeFileSync(file, "pull = never\n");
      complains(await launch(["--", "true"], options), { says: `${file}:1`, next: /\S/ });
      writeFileSync(file, "allowSessions = false\n");
      complains(await launch(["--", "true"], options), { says: `${file}:1:`, next: /site|\/etc/ });
    });
  });

  test("the site's", async () => {
    await inDirectory(async (path) => {
      const file = join(path, "site.toml");
      writeFileSync(file, '\n\nvolums = ["/tmp:/x"]\n');
      chownSync(file, USER.uid, USER.gid);
      const options = { env: { GANGWAY_SITE_CONFIG: file } };
      complains(await launch(["--", "true"], options), { says: `${file}:3:`, next: "volumes" });
      complains(await gangway(["ps"], options), { says: `${file}:3:`, next: "volumes" });
      complains(await gangway(["ps"], { env: { GANGWAY_SITE_CONFIG: join(path, "none") } }), {
        says: "none",
        next: /\S/,
      });
    });
  });

  test("variables", async () => {
    complains(await launch(["--", "true"], { env: { GANGWAY_PORT: "many" } }), {
      says: /GANGWAY_PORT.*many/,
      next: /number/,
    });
  });
});

describe("the udiImage", () => {
  test("missing", async () => {
    const result = await launch(["--", "true"], { env: { GANGWAY_UDI_IMAGE_PATH: "/nobody/made/this" } });
    complains(result, { says: "/nobody/made/this", next: "make" });
  });

  test("of another architecture than the image", async () => {
    await inDirectory(async (path) => {
      const tree = join(path, "udiImage");
      cpSync(UDI_IMAGE, tree, { recursive: true, verbatimSymlinks: true });
      await execute("chmod", ["0755", path]);
      const manifest = join(tree, "manifest.json");
      writeFileSync(manifest, readFileSync(manifest, "utf8").replace(/("arch"\s*:\s*")[^"]*/, "$1sparc64"));
      const result = await launch(["--", "true"], { env: { GANGWAY_UDI_IMAGE_PATH: tree } });
      complains(result, { says: /is made for (amd64|arm64).*sparc64$/, next: "architecture" });
    });
  });

  test("that cannot be executed where it lies: noticed at once, not when time is up", async () => {
    await inDirectory(async (path) => {
      const tree = join(path, "udiImage");
      cpSync(UDI_IMAGE, tree, { recursive: true, verbatimSymlinks: true });
      await execute("chmod", ["0755", path]);
      writeFileSync(join(tree, "libexec/init"), "#!/opt/udiImage/tools/sh\nexit 3\n");
      const result = await launch(["--up-timeout", "600", "--", "true"], { env: { GANGWAY_UDI_IMAGE_PATH: tree } });
      complains(result, { says: "node1: its container ended before it was up", next: "udiImage" });
    });
  });
});

describe("who and where", () => {
  async function asRoot(words: readonly string[]): Promise<RunResult> {
    const env = { ...environmentOf({}), HOME: "/root", XDG_RUNTIME_DIR: "" };
    return await execute(GANGWAY, words, { env, cwd: "/" }).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr, bytes: Buffer.alloc(0) }),
      (error: { code: number; stdout: string; stderr: string }) => ({ ...error, bytes: Buffer.alloc(0) }),
    );
  }

  test("root must name the job's user, and not root", async () => {
    const says = "a job never runs as root";
    complains(await asRoot(["run", "-i", IMAGES.bare, "--", "true"]), { says, next: "--user" });
    complains(await asRoot(["run", "-u", "root", "-i", IMAGES.bare, "--", "true"]), { says, next: "--user" });
    complains(await asRoot(["run", "-u", "0", "-i", IMAGES.bare, "--", "true"]), { says, next: "--user" });
  });

  test("a user who is not there; a uid that no engine knows", async () => {
    complains(await asRoot(["run", "-u", "nobody-is-called-so", "-i", IMAGES.bare, "--", "true"]), {
      says: 'no user "nobody-is-called-so"',
      next: "--user",
    });
    complains(await asRoot(["run", "-u", "2147483648", "-i", IMAGES.bare, "--", "true"]), {
      says: "2147483647",
      next: /2147483647/,
    });
  });

  test("only root can act for others", async () => {
    for (const command of [["run", "-i", IMAGES.bare], ["ps"], ["gc"], ["shell"]]) {
      const result = await gangway([...command, "--user", OTHER.name]);
      complains(result, { says: `--user ${OTHER.name}: only root can act for another user`, next: "leave it out" });
    }
  });

  test("a directory that is gone", async () => {
    await inDirectory(async (cwd) => {
      const script = `mkdir gone && cd gone && rmdir ../gone && exec ${GANGWAY}`;
      const launched = await run(["sh", "-c", `${script} run -i ${IMAGES.bare} -- true`], { cwd });
      complains(launched, { says: "the current directory does not exist any more", next: "change to another" });
      expect((await run(["sh", "-c", `${script} ps`], { cwd })).code).toBe(0);
    });
  });

  test("a directory that cannot be written, for a detached job's output", async () => {
    const result = await launch(["--detach", "--", "true"], { cwd: "/" });
    complains(result, { says: /the job's output file \/gangway-\S+\.out cannot be made: EACCES/, next: "--output" });
  });

  test("a detached launch that fails says why, on the terminal, and leaves no file", async () => {
    await inDirectory(async (cwd) => {
      const image = await gangway(["run", "-d", "-i", "nobody/has-this", "--pull", "never", "--", "true"], { cwd });
      complains(image, { says: 'the engine has no image "nobody/has-this"', next: "--pull missing" });
      complains(await launch(["-d", "--nodes", "0", "--", "true"], { cwd }), { says: "--nodes 0", next: /\S/ });
      complains(await launch(["-d", "--network", "nobody-made-this", "--", "true"], { cwd }), {
        says: "network",
        next: /\S/,
      });
      expect(readdirSync(cwd)).toEqual([]);
    });
  });
});

describe("the command line", () => {
  test.each<[string[], string | RegExp, string | RegExp]>([
    [[], "no image was named", "--image IMAGE"],
    [["--nodes", "0"], "--nodes 0", "number"],
    [["--nodes", "257"], "--nodes 257: one engine takes 1 to 256", "number"],
    [["--nodes", "x"], "--nodes x: not a whole number", "digits"],
    [["--nodes", "-1"], "--nodes -1", "digits"],
    [["--nodes", "3", "--network", "none"], "3 nodes cannot reach each other with --network none", "one node"],
    [["--nodes", "3", "--no-listen"], "3 nodes cannot reach each other with no TCP port", "one node"],
    [["--nodes", "2", "--network", "host", "--port", "5000"], "only one can have port 5000", "leave --port out"],
    [["--name", "a b"], '"a b" cannot be the id of a job', "letters, digits"],
    [["--name", ""], '"" cannot be the id of a job', "letters, digits"],
    [["--name", "../x"], '"../x" cannot be the id of a job', "letters, digits"],
    [["--name", "a.b"], '"a.b" cannot be the id of a job', "letters, digits"],
    [["--name", "n".repeat(64)], "cannot be the id of a job", "letters, digits"],
    [["--env", "=x"], '"=x" cannot be set', "NAME=value"],
    [["--env-file", "/nobody/made/this"], "--env-file /nobody/made/this", "file"],
    [["--workdir", "relative"], "--workdir relative: not an absolute path", "/"],
    [["--tmpfs", "relative"], "--tmpfs relative: not an absolute path", "/"],
    [["--volume", "/tmp"], '--volume: "/tmp"', "SOURCE:TARGET"],
    [["--volume", "/tmp:relative"], "--volume", /\S/],
    [["--volume", "/tmp:/x:nonsense"], "--volume", /\S/],
    [["--volume", "/tmp:/"], "--volume", /\S/],
    [["-v", "/tmp:/x", "-v", "/usr:/x"], "/x is given twice", "one of them"],
    [["--pull", "sometimes"], '--pull: "sometimes"', "missing, always, never"],
    [["--port", "99999"], "--port: 99999", "65535"],
    [["--port", "x"], "--port", "number"],
    [["--listen", "300.1.1.1"], '--listen: "300.1.1.1"', "IP address"],
    [["--linger", "always"], '--linger: "always"', "sessions"],
    [["--slots", "0"], "--slots: 0", "1"],
    [["--cpus", "0"], "--cpus: 0", "0.01"],
    [["--cpus", "many"], "--cpus", "number"],
    [["--cpuset-cpus", "3-1"], "--cpuset-cpus", /\S/],
    [["--memory", "lots"], '--memory: "lots"', "512m"],
    [["--shm-size", "1x"], '--shm-size: "1x"', "512m"],
    [["--pids-limit", "0"], "--pids-limit: 0", "1"],
    [["--ulimit", "nofil=1"], 'no ulimit "nofil"', "nofile"],
    [["--ulimit", "nofile=5:2"], "--ulimit", /\S/],
    [["--gpus", "-5"], "--gpus", /\S/],
    [["--device", "sda"], "--device", "/"],
    [["--cgroup-parent", "a/../b"], "--cgroup-parent", /\S/],
    [["--time-limit", "0"], "--time-limit", "longer"],
    [["--time-limit", "soon"], '--time-limit: "soon"', "1h30m"],
    [["--prepare-timeout", "1x"], "--prepare-timeout", "30s"],
    [["--up-timeout", "0"], "--up-timeout", "longer"],
    [["--membership-timeout", "-1"], "--membership-timeout", /\S/],
    [["--max-connections", "0"], "--max-connections: 0", "1"],
    [["--max-per-source", "x"], "--max-per-source", "number"],
    [["--shell", "bash"], "--shell", "/"],
    [["--engine", "tcp://host:1"], "--engine", "unix://"],
    [["--udi-image", "relative"], "--udi-image", "/"],
    [["--network", "a b"], "--network", /\S/],
    [["--output", "x"], "--output belongs to --detach", "redirect"],
    [["--tty"], "--tty: standard input and output are no terminal", "leave --tty out"],
    [["--memry", "1g"], "unknown option '--memry'", "did you mean --memory?"],
    [["--nonsense"], "unknown option '--nonsense'", "gangway run --help"],
    [["--image"], "option '-i, --image <IMAGE>' argument missing", "gangway run --help"],
  ])("gangway run %j", async (words, says, next) => {
    const image = words.length === 0 || words.includes("--image") ? [] : ["--image", IMAGES.bare];
    const result = await gangway(["run", ...image, ...words, ...(words.includes("--image") ? [] : ["--", "true"])]);
    complains(result, { says, next });
  });

  test.each<[string[], string | RegExp, string | RegExp]>([
    [["rnu"], 'there is no command "rnu"', "did you mean run?"],
    [["nothing-like-it"], 'there is no command "nothing-like-it"', "gangway --help"],
    [["--nonsense"], 'there is no option "--nonsense"', "gangway --help"],
    [["constructor"], 'there is no command "constructor"', /\S/],
    [["ps", "extra"], "too many arguments", "gangway ps --help"],
    [["ps", "--jsn"], "unknown option '--jsn'", "--json"],
    [["wait"], "missing required argument 'job'", "gangway wait --help"],
    [["wait", "nobody"], 'no job "nobody" is running', "gangway ps"],
    [["wait", "../x"], '"../x" cannot be the id of a job', "letters"],
    [["logs", "nobody"], 'no job "nobody" is known', "gangway ps"],
    [["stop"], "missing required argument 'job'", "gangway stop --help"],
    [["stop", "nobody"], 'no job "nobody" is running on this engine', /\S/],
    [["stop", "x", "--signal", "NONSENSE"], "--signal NONSENSE: there is no such signal", /\S/],
    [["stop", "x", "--grace", "long"], "--grace long: not a number of seconds", /\S/],
    [["inspect", "nobody"], 'no job "nobody" is running on this engine', /\S/],
    [["hosts", "nobody"], 'no job "nobody" is running on this engine', /\S/],
    [["shell", "nobody"], 'no job "nobody" is running on this engine', /\S/],
    [["shell", "a b"], '"a b" is no job', "JOB.NODE"],
    [["shell", "job", "ls", "x"], '"ls x": a command stands behind --', "gangway shell job -- ls x"],
    [["config", "sho"], "unknown command 'sho'", "show"],
  ])("gangway %j", async (words, says, next) => {
    complains(await gangway(words), { says, next });
  });
});
