import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { inPart } from "../whole.ts";
import { complains } from "./complaint.ts";
import {
  DOCKER,
  environmentOf,
  eventually,
  GANGWAY,
  gangway,
  IMAGES,
  inDirectory,
  OTHER,
  PODMAN,
  ROOTLESS,
  run,
  USER,
} from "./harness.ts";
import { HeldJob } from "./held.ts";
import { execute, launch } from "./launch.ts";
import { Traces } from "./traces.ts";

let traces: Traces[];

beforeAll(async () => {
  traces = await Promise.all([DOCKER, PODMAN, ROOTLESS].map((engine) => Traces.watch(engine)));
});

afterAll(async () => {
  for (const each of traces) await each.gone();
  for (const each of traces) each.close();
});

describe.each(inPart([DOCKER, PODMAN], (engine) => engine === DOCKER))("what $name refuses", (engine) => {
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
        // The launcher has the file open a moment longer than its job is there.
        await eventually("nobody uses it", 30, () =>
          execute("umount", [base]).then(
            () => true,
            () => false,
          ),
        );
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
