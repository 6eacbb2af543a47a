import { execFile } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
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
  OTHER,
  run,
  start,
  USER,
} from "./harness.ts";
import { HeldJob } from "./held.ts";

const execute = promisify(execFile);

async function docker(...words: string[]): Promise<string> {
  return (await execute("docker", words, { env: { ...process.env, DOCKER_HOST: DOCKER.endpoint } })).stdout.trim();
}

/** An image like the bare one, with further lines in its configuration. */
async function withConfiguration(tag: string, ...changes: string[]): Promise<void> {
  const container = await docker("create", IMAGES.bare, "true");
  await docker("commit", ...changes.flatMap((change) => ["--change", change]), container, tag);
  await docker("rm", container);
}

const HEALTH = "gangway-test/health";
const VOLUME = "gangway-test/volume";

describe("an image", () => {
  beforeAll(async () => {
    await withConfiguration(HEALTH, 'HEALTHCHECK --interval=1ms CMD ["/bin/true"]');
    await withConfiguration(VOLUME, "VOLUME /opt/udiImage/libexec");
  });

  afterAll(async () => {
    await docker("rmi", "-f", HEALTH, VOLUME);
  });

  test("with a health check runs nothing of its own beside the job", async () => {
    const job = await HeldJob.start({ image: HEALTH });
    try {
      const name = `gangway-${USER.uid}-${job.id}-0`;
      expect(await docker("inspect", "--format", "{{json .State.Health}}", name)).toMatch(/null|"Status":"none"/);
    } finally {
      await job.end();
    }
  });

  test("with a volume where ours is, is refused", async () => {
    const { code, stderr } = await gangway(["run", "-i", VOLUME, "--", "true"]);
    expect(code).toBe(125);
    expect(stderr).toContain('image "gangway-test/volume" has a VOLUME at /opt/udiImage/libexec');
  });
});

/** Pids of this host's ssh clients that go to a job. */
async function sshProcessesOf(job: string): Promise<string[]> {
  const { stdout } = await execute("ps", ["-eo", "pid=,args="]);
  const lines = stdout.split("\n").filter((line) => /^ *\d+ \S*ssh -.* -F /.test(line) && line.includes(`.${job}.job`));
  return lines.map((line) => line.trim().split(" ", 1)[0] ?? "");
}

describe("root, in a user's job", () => {
  const env = { ...environmentOf({}), HOME: "/root", USER: "root" };

  const base = { ...env, GANGWAY_RUN_DIRECTORY: join(USER.runtime, "gangway") };
  const asRoot = async (words: readonly string[]) => await execute(GANGWAY, [...words], { env: base });

  test("executes nothing that the user's files say, and is nobody else on its terminal", async () => {
    const job = await HeldJob.start();
    const kit = join(USER.runtime, "gangway", job.id, "kit");
    try {
      await inDirectory(async (directory) => {
        const evidence = join(directory, "who");
        const config = join(kit, "ssh_config");
        const trap = `Match exec "id -u >> ${evidence}"\nHost *\n  ProxyCommand id -u >> ${evidence}\n`;
        writeFileSync(config, `${trap}${readFileSync(config, "utf8")}`);
        // The record is the user's word, too: no program of it is root's.
        const record = join(kit, "../job.json");
        const text = readFileSync(record, "utf8");
        writeFileSync(record, text.replace(/"udiImage":"[^"]*"/, `"udiImage":"${directory}"`));
        const who = ["id", "-u"];
        expect((await asRoot(["shell", job.id, "--", ...who])).stdout).toBe(`${USER.uid}\n`);
        expect((await asRoot(["ssh", "--user", USER.name, job.id, ...who])).stdout).toBe(`${USER.uid}\n`);
        expect(existsSync(evidence)).toBe(false);
      });
      const session = execute(GANGWAY, ["shell", job.id, "--", "sleep", "2"], { env: base });
      await eventually("ssh runs", 10, async () => (await sshProcessesOf(job.id)).length > 0);
      const owners = (await sshProcessesOf(job.id)).map((pid) => statSync(`/proc/${pid}`).uid);
      expect(new Set(owners)).toEqual(new Set([0]));
      await session;
    } finally {
      await job.end();
    }
  });

  test("stops it by its containers' labels, whatever the user's record calls its own", async () => {
    const foreign = await docker("run", "-d", IMAGES.bare, "sleep", "600");
    const job = await HeldJob.start();
    const directory = join(USER.runtime, "gangway", job.id);
    try {
      const record = join(directory, "job.json");
      const text = readFileSync(record, "utf8");
      writeFileSync(record, text.replaceAll(/"container":"[^"]*"/g, `"container":"${foreign}"`));
      // Its launcher does not answer: what is there is removed.
      renameSync(join(directory, "launcher.sock"), join(directory, "elsewhere.sock"));
      const labelled = ["ps", "-q", "--filter", `label=gangway.job=${job.id}`];
      expect(await docker(...labelled)).not.toBe("");
      await asRoot(["stop", "--user", USER.name, "--grace", "0", job.id]);
      expect(await docker(...labelled)).toBe("");
      expect(await docker("inspect", "--format", "{{.State.Running}}", foreign)).toBe("true");
    } finally {
      await job.end();
      await docker("rm", "-f", foreign);
    }
  });

  test.each([
    ["refuses", '{"kind":"refused","reason":"no"}'],
    ["answers nonsense", "\\u001b[31m"],
  ])("stops it, too, where what the user has put in the launcher's place %s", async (_, answer) => {
    const job = await HeldJob.start();
    const directory = join(USER.runtime, "gangway", job.id);
    const socket = join(directory, "launcher.sock");
    renameSync(socket, join(directory, "elsewhere.sock"));
    const script = `require("net").createServer((c) => { c.on("error", () => {}); c.end(${JSON.stringify(`${answer}\n`)}); })
      .listen(${JSON.stringify(socket)}, () => console.log("listens"));`;
    const imposter = start([process.execPath, "-e", script]);
    try {
      await new Promise((resolve) => imposter.stdout.once("data", resolve));
      const launcher = Number(readFileSync(join(directory, "launcher"), "utf8").split(":")[0]);
      const { stderr } = await asRoot(["stop", "--user", USER.name, "--grace", "0", job.id]);
      expect(stderr).toMatch(/^gangway: .*: its containers are removed\n$/);
      expect(stderr).not.toContain("\u001b");
      expect(await docker("ps", "-q", "--filter", `label=gangway.job=${job.id}`)).toBe("");
      expect(existsSync(`/proc/${launcher}/exe`)).toBe(false);
      // Other tests' jobs may run beside it.
      expect((await asRoot(["ps", "--user", USER.name, "--quiet"])).stdout.split("\n")).not.toContain(job.id);
    } finally {
      imposter.kill("SIGKILL");
      await job.end();
    }
  });

  test("takes for the kit's key and certificate nothing but what they are", async () => {
    const job = await HeldJob.start();
    const kit = join(USER.runtime, "gangway", job.id, "kit");
    try {
      for (const name of ["id_ed25519", "id_ed25519-cert.pub"]) {
        const path = join(kit, name);
        for (const [make, says] of [
          [`ln -s /etc/shadow ${path}`, "ELOOP"],
          [`mkfifo ${path}`, "it is no regular file"],
          [`head -c 9000 /dev/zero > ${path}`, "it is too large"],
          [`ln /etc/passwd ${path} 2>/dev/null || echo x > ${path}`, "not what the launcher wrote there"],
        ] as const) {
          await run(["sh", "-c", `mv ${path} ${path}.kept; ${make}`]);
          await expect(asRoot(["shell", job.id, "--", "true"])).rejects.toThrow(says);
          await run(["sh", "-c", `mv -f ${path}.kept ${path}`]);
        }
      }
      expect((await asRoot(["shell", job.id, "--", "echo", "in"])).stdout).toBe("in\n");
    } finally {
      await job.end();
    }
  });

  test("is neither held up by a FIFO in a record's place, nor reads what only root may", async () => {
    const job = await HeldJob.start();
    const record = join(USER.runtime, "gangway", job.id, "job.json");
    try {
      await run(["sh", "-c", `mv ${record} ${record}.kept && mkfifo ${record}`]);
      expect((await execute(GANGWAY, ["ps", "-q"], { env })).stdout).toContain(job.id);
      await run(["sh", "-c", `rm ${record} && mv ${record}.kept ${record}`]);
    } finally {
      await job.end();
    }
    await inDirectory(async (state) => {
      const ended = { job: "sx", exitCode: 0, outputFile: "/etc/shadow", ended: new Date().toISOString() };
      await run(["mkdir", join(state, "jobs")]);
      writeFileSync(join(state, "jobs/sx.json"), JSON.stringify(ended));
      chownSync(join(state, "jobs/sx.json"), USER.uid, USER.gid);
      const asked = execute(GANGWAY, ["logs", "-u", USER.name, "sx"], {
        env: { ...env, GANGWAY_STATE_DIRECTORY: state },
      });
      await expect(asked).rejects.toThrow(/cannot be read/);
    });
  });
});

describe("root's gc", () => {
  test("clears what others left, whatever traps one user has laid, and says where it could not", async () => {
    const base = `/dev/shm/gangway-${USER.uid}`;
    const madeBase = !existsSync(base);
    const others = `/dev/shm/gangway-${OTHER.uid}`;
    const madeOthers = !existsSync(others);
    const deep = `for (let i = 0; i < 40; i++) { fs.mkdirSync("n".repeat(200)); process.chdir("n".repeat(200)); }`;
    await run(["sh", "-c", `umask 077; mkdir -p ${base}/deep ${base}/sealed/x`]);
    await run([process.execPath, "-e", deep], { cwd: join(base, "deep") });
    await run(["sh", "-c", `chmod 0 ${base}/sealed; touch -d '1 hour ago' ${base}/deep ${base}/sealed`]);
    await run(["sh", "-c", `umask 077; mkdir -p ${others}/left/x; touch -d '1 hour ago' ${others}/left`], {
      user: OTHER,
    });
    try {
      const env = { ...environmentOf({}), HOME: "/root", XDG_RUNTIME_DIR: "" };
      const cleared = await inDirectory(async (home) => {
        await run(["sh", "-c", `umask 077; mkdir -p ${home}/.gangway/ssh/jobs; chmod 0 ${home}/.gangway/ssh/jobs`]);
        // For gc alone: the user's jobs of other tests have the real home.
        const asHome = ["--mount", "sh", "-c", 'mount --bind "$0" "$1" && exec "$2" gc', home, USER.home, GANGWAY];
        return await execute("unshare", asHome, { env }).then(
          (done) => ({ code: 0, ...done }),
          (failed: { code: number; stdout: string; stderr: string }) => failed,
        );
      });
      for (const path of [`${base}/deep`, `${base}/sealed`, `${others}/left`]) {
        expect(existsSync(path)).toBe(false);
        expect(cleared.stdout).toContain(`removed ${path}\n`);
      }
      expect(cleared.stderr).toMatch(
        /^gangway: not cleared: of user \d+: the index .* cannot be read: EACCES[^\n]*\n$/,
      );
      expect(cleared.code).toBe(1);
    } finally {
      const made = [
        [madeBase, base],
        [madeOthers, others],
      ] as const;
      for (const [mine, path] of made) if (mine) await execute("rm", ["-rf", path]);
    }
  });
});

describe("a directory that others may write", () => {
  test("a detached job's output goes into no file of theirs", async () => {
    await inDirectory(async (shared) => {
      chmodSync(shared, 0o1777);
      await run(["sh", "-c", `umask 0; : > ${shared}/gangway-sq.out`], { user: OTHER });
      const { code, stderr } = await gangway(["run", "-d", "--name", "sq", "-i", IMAGES.bare, "--", "echo", "secret"], {
        cwd: shared,
      });
      expect(code).toBe(125);
      expect(stderr).toContain(`it belongs to uid ${OTHER.uid}`);
      expect(readFileSync(join(shared, "gangway-sq.out"), "utf8")).toBe("");
    });
  });

  test("a FIFO in its place is not waited for", async () => {
    await inDirectory(async (shared) => {
      await run(["mkfifo", join(shared, "gangway-sq.out")]);
      const { code } = await gangway(["run", "-d", "--name", "sq", "-i", IMAGES.bare, "--", "true"], { cwd: shared });
      expect(code).toBe(125);
      expect(readdirSync(shared)).toEqual(["gangway-sq.out"]);
    });
  });

  test("the private files of jobs are shown to no container", async () => {
    const base = join(USER.runtime, "gangway");
    expect(existsSync(base)).toBe(true);
    for (const source of [base, USER.runtime]) {
      const { code, stderr } = await gangway(["run", "-i", IMAGES.bare, "-v", `${source}:/x`, "--", "true"]);
      expect(code).toBe(125);
      expect(stderr).toContain("would show the private files of your jobs");
    }
  });
});

describe("programs in the working directory", () => {
  const ROOT = { name: "root", uid: 0, gid: 0, home: "/root", runtime: "/run" };

  // execvp(3) takes an empty entry of the PATH for the working directory.
  test.each(["", ".", "bin"])("are not started, with %j before the system's directories in the PATH", async (entry) => {
    await inDirectory(async (cwd) => {
      const seen = join(cwd, "seen");
      for (const name of ["ssh", "getent", "id", "flock", "tar", "logger"])
        for (const directory of [cwd, join(cwd, "bin")]) {
          mkdirSync(directory, { recursive: true });
          writeFileSync(join(directory, name), `#!/bin/sh\necho ${name} >>${seen}\nexit 1\n`, { mode: 0o755 });
        }
      const env = { PATH: `${entry}:/usr/bin:/bin` };
      const far = await gangway(["run", "--hosts", "gangway-nowhere.invalid", "--image", IMAGES.bare, "--", "true"], {
        cwd,
        env,
      });
      expect(far.code).toBe(125);
      expect(far.stderr).toContain("gangway-nowhere");
      expect(await run([GANGWAY, "ps", "--user", OTHER.name], { cwd, env, user: ROOT })).toMatchObject({ code: 0 });
      expect(existsSync(seen) ? readFileSync(seen, "utf8") : "").toBe("");
    });
  });
});
