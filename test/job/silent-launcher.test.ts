import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { DOCKER, environmentOf, eventually, GANGWAY, gangway, IMAGES, OTHER, run, USER } from "./harness.ts";
import { HeldJob } from "./held.ts";

const execute = promisify(execFile);

async function docker(...words: string[]): Promise<string> {
  return (await execute("docker", words, { env: { ...process.env, DOCKER_HOST: DOCKER.endpoint } })).stdout.trim();
}

async function containersOf(job: string): Promise<string> {
  return await docker("ps", "-aq", "--filter", `label=gangway.job=${job}`);
}

/* A launcher that was stopped is there, and answers nothing: nobody waits for it for ever. */

describe("a launcher that does not answer", () => {
  test("is named by what asks it, keeps no other job from being shown, and its job can be stopped", async () => {
    const stuck = await HeldJob.start();
    const other = await HeldJob.start();
    const session = other.shell(["sleep", "20"]);
    try {
      await eventually("the session is noted", 10, async () =>
        (await gangway(["ps", "--sessions"])).stdout.includes(other.id),
      );
      stuck.kill("SIGSTOP");
      const says = `the launcher of job ${stuck.id} does not answer`;
      const [keys, sessions] = await Promise.all([gangway(["key", "list", stuck.id]), gangway(["ps", "--sessions"])]);
      expect(keys).toMatchObject({ code: 76, stdout: "" });
      expect(keys.stderr).toContain(says);
      expect(sessions.code).toBe(1);
      expect(sessions.stderr).toContain(says);
      expect(sessions.stdout).toContain(other.id);
      const stopped = await gangway(["stop", "--grace", "0", stuck.id]);
      expect(stopped.code).toBe(0);
      expect(stopped.stderr).toContain(`${says} (within 10 s): its containers are removed`);
      expect(await containersOf(stuck.id)).toBe("");
    } finally {
      stuck.kill("SIGCONT");
      await other.end();
      await session;
      await stuck.end();
    }
  });
});

describe("root's stop", () => {
  test("does not follow a link in the place of the launcher's socket", async () => {
    const job = await HeldJob.start();
    const bystander = await HeldJob.start();
    const env = { ...environmentOf({}), HOME: "/root", USER: "root" };
    try {
      await run([
        "sh",
        "-c",
        `cd ${job.directory} && mv launcher.sock kept && ln -s ${bystander.directory}/launcher.sock .`,
      ]);
      const { stderr } = await execute(GANGWAY, ["stop", job.id], { env });
      expect(stderr).toContain("is not the socket of the job's launcher: its containers are removed");
      expect(await containersOf(bystander.id)).not.toBe("");
      expect(await containersOf(job.id)).toBe("");
    } finally {
      await bystander.end();
      await job.end();
    }
  });
});

describe("a container whose labels somebody else made", () => {
  test("is no job when its label is no job's id", async () => {
    const labels = [`gangway.uid=${USER.uid}`, "gangway.job=\u001b[2Jx\ny", `gangway.user=${OTHER.name}`];
    const container = await docker("create", ...labels.flatMap((label) => ["--label", label]), IMAGES.bare, "true");
    try {
      const { stdout } = await gangway(["ps", "-q"]);
      expect(stdout).not.toMatch(/^y$/m);
      expect(stdout).not.toContain("\u001b");
    } finally {
      await docker("rm", container);
    }
  });
});
