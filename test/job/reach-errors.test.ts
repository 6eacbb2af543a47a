import { readFileSync, rmSync } from "node:fs";
import { expect, test } from "vitest";
import { eventually, GANGWAY, gangway, IMAGES, MANY, run, start, USER } from "./harness.ts";
import { CLIENTS, directoryOf, enter, installed, saying, withJob } from "./reach.ts";

/*
 * Each reason why a job cannot be reached has its own words and its own exit status; plain ssh says the same words and
 * ends with its own status, 255.
 */

async function plain(host: string): Promise<{ code: number; stderr: string }[]> {
  return await Promise.all(CLIENTS.map((ssh) => run([ssh, "-o", "ConnectTimeout=3", host, "true"])));
}

test("no such job", async () => {
  expect(await enter(["reach-none"])).toMatchObject({
    code: 68,
    stderr: saying('no job "reach-none"'),
  });
  await installed(async () => {
    for (const { code, stderr } of await plain("reach-none.job")) {
      expect(code).toBe(255);
      expect(stderr).toContain('gangway: there is no job "reach-none"');
    }
  });
});

test("a job that has ended", async () => {
  const words = [
    "run",
    "--detach",
    "--name",
    "reach-ended",
    "--image",
    IMAGES.bare,
    "--output",
    "/tmp/gangway-test-reach-ended.out",
  ];
  expect((await gangway([...words, "--", "/opt/udiImage/tools/sh", "-c", "exit 5"])).code).toBe(0);
  await gangway(["wait", "reach-ended"]);
  rmSync("/tmp/gangway-test-reach-ended.out", { force: true });
  const said = saying("job reach-ended has ended: exit status 5");
  expect(await enter(["reach-ended"])).toMatchObject({ code: 69, stderr: said });
  expect(await enter(["--auto-retry", "reach-ended"])).toMatchObject({ code: 69, stderr: said });
  await installed(async () => {
    for (const result of await plain("reach-ended.job")) expect(result).toMatchObject({ code: 255, stderr: said });
  });
});

test("a job that is being launched", async () => {
  const launch = start(
    [GANGWAY, "run", "--name", "reach-early", "--image", IMAGES.bare, "--", "/opt/udiImage/tools/sleep", "300"],
    {
      env: { GANGWAY_DEBUG: "" },
    },
  );
  try {
    // Frozen as soon as it has a directory and no record.
    const directory = directoryOf("reach-early");
    await eventually("it has begun", 20, () => {
      try {
        process.kill(launcherOf(directory), "SIGSTOP");
        return true;
      } catch {
        return false;
      }
    });
    const result = await enter(["reach-early"]);
    expect(result).toMatchObject({ code: 75, stderr: saying("is being launched") });
  } finally {
    const pid = launcherOf(directoryOf("reach-early"));
    process.kill(pid, "SIGCONT");
    process.kill(pid, "SIGTERM");
    await new Promise((resolve) => launch.once("close", resolve));
  }
});

function launcherOf(directory: string): number {
  const pid = /^(\d+):/.exec(readFileSync(`${directory}/launcher`, "utf8"))?.[1];
  // Of a file that is not written yet it would be 0, which is this process's own group.
  if (pid === undefined) throw new Error(`nobody is in ${directory}/launcher yet`);
  return Number(pid);
}

test("somebody else's job", async () => {
  await withJob("reach-theirs", [], async () => {
    const result = await enter(["reach-theirs"], { user: MANY });
    expect(result).toMatchObject({
      code: 77,
      stderr: saying(/reach-theirs is .*'s: only they can enter/),
    });
  });
});

test("a name that fits two jobs", async () => {
  await withJob("node1", ["--nodes", "2"], () =>
    withJob("node2", ["--nodes", "2"], async () => {
      const result = await enter(["node1.node2", "hostname"]);
      expect(result).toMatchObject({ code: 65, stderr: saying("node2.node1.job, node1.node2.job") });
      expect(await enter(["node1.node2.job", "hostname"])).toMatchObject({ code: 0, stdout: "node1\n" });
    }),
  );
});

test("a node that does not answer", async () => {
  await withJob("reach-frozen", [], async () => {
    // Of this very container: another job on this machine may look alike.
    const words = ["inspect", "--format", "{{.State.Pid}}", `gangway-${USER.uid}-reach-frozen-0`];
    const pid = Number((await run(["docker", ...words])).stdout);
    expect(pid).toBeGreaterThan(1);
    process.kill(pid, "SIGSTOP");
    try {
      const [result, doctor, plainly] = await installed(() =>
        Promise.all([
          enter(["-o", "ConnectTimeout=2", "reach-frozen", "true"]),
          gangway(["doctor", "reach-frozen"]),
          plain("reach-frozen.job"),
        ]),
      );
      expect(result).toMatchObject({
        code: 76,
        stderr: saying(/node1 of job reach-frozen cannot be reached: no answer/),
      });
      expect(doctor).toMatchObject({ code: 76, stdout: saying(/fault +way socket +node1: no answer/) });
      for (const { code, stderr } of plainly) {
        expect(code).toBe(255);
        expect(stderr).toMatch(/timed out/);
      }
    } finally {
      process.kill(pid, "SIGCONT");
    }
  });
});

test("doctor: which ways lead to a job, and who was refused", async () => {
  await withJob("reach-doctor", [], async () => {
    await run([
      CLIENTS[0] ?? "",
      "-F",
      `${directoryOf("reach-doctor")}/kit/ssh_config`,
      "-l",
      "root",
      "reach-doctor.job",
    ]);
    const { code, stdout } = await gangway(["doctor", "reach-doctor", "--json"]);
    expect(code).toBe(0);
    const findings: unknown = JSON.parse(stdout);
    expect(findings).toEqual([
      expect.objectContaining({ what: "way socket", state: "ok" }),
      expect.objectContaining({ what: "way tcp", state: "ok" }),
      expect.objectContaining({ what: "access kit", state: "ok" }),
      expect.objectContaining({ what: "plain ssh", state: "limit" }),
      expect.objectContaining({ what: "refused", detail: saying("log in as root") }),
    ]);
  });
});

test("a job whose command has put another file in its socket's place", async () => {
  await withJob("reach-swapped", [], async () => {
    const swap = "mv /run/gangway/ssh /run/gangway/away; ln -s /run/docker.sock /run/gangway/ssh";
    expect((await enter(["reach-swapped", swap])).code).toBe(0);
    const result = await enter(["--connect", "socket", "reach-swapped"]);
    expect(result).toMatchObject({ code: 76 });
    expect(result.stderr).toContain("something in the container has put another file in its place");
  });
});
