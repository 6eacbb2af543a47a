import { execFile } from "node:child_process";
import { chmodSync, chownSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DOCKER, environmentOf, GANGWAY, gangway, IMAGES, inDirectory, OTHER, run, USER } from "./harness.ts";
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

describe("root, in a user's job", () => {
  const env = { ...environmentOf({}), HOME: "/root", USER: "root" };

  test("does as that user what the user's files say", async () => {
    const job = await HeldJob.start();
    try {
      await inDirectory(async (directory) => {
        const evidence = join(directory, "who");
        const config = join(USER.runtime, "gangway", job.id, "kit/ssh_config");
        const kit = readFileSync(config, "utf8");
        chmodSync(config, 0o644);
        writeFileSync(config, `Match exec "id -u >> ${evidence}"\n${kit}`);
        const base = { ...env, GANGWAY_RUN_DIRECTORY: join(USER.runtime, "gangway") };
        const { stdout } = await execute(GANGWAY, ["shell", job.id, "--", "id", "-u"], { env: base });
        expect(stdout).toBe(`${USER.uid}\n`);
        expect(new Set(readFileSync(evidence, "utf8").trim().split("\n"))).toEqual(new Set([String(USER.uid)]));
      });
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
