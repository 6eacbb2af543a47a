// Nodes of a job that are on another host than the one that asks. The job is real; its record on "this host" is made to say
// that node2 is elsewhere, as it says in a job of several hosts, and node2's socket is moved away.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { indexEntryOf } from "../../src/job/index-entry.ts";
import { localJob, type RunningLocalJob } from "../../src/job/local-jobs.ts";
import { GANGWAY, gangway, IMAGES, inDirectory, OTHER, type RunResult, run, USER } from "./harness.ts";
import { CLIENTS, saying } from "./reach.ts";

const JOB = "far-1";
const directory = join(USER.runtime, "gangway", JOB);
const socket = join(directory, "1/ssh");
const identity = { uid: USER.uid, gid: USER.gid, groups: [] };

interface WrittenRecord {
  nodes: { here?: boolean; port: number; addresses: string[] }[];
}

beforeAll(async () => {
  const words = [
    "run",
    "-d",
    "--name",
    JOB,
    "-N",
    "2",
    "--network",
    "host",
    "--output",
    `/tmp/gangway-test-${JOB}.out`,
  ];
  const started = await gangway([...words, "--image", IMAGES.debian, "--", "sleep", "600"]);
  expect(started).toMatchObject({ code: 0, stderr: "" });
  const path = join(directory, "job.json");
  const record = JSON.parse(readFileSync(path, "utf8")) as WrittenRecord;
  const [, node] = record.nodes;
  if (node === undefined) throw new Error("no second node");
  node.here = false;
  // Where the other hosts reach it, first.
  node.addresses = ["127.0.0.1", ...node.addresses];
  writeFileSync(path, `${JSON.stringify(record)}\n`);
  renameSync(socket, `${socket}.away`);
});
afterAll(async () => {
  renameSync(`${socket}.away`, socket);
  await gangway(["stop", "--signal", "KILL", JOB]);
  rmSync(`/tmp/gangway-test-${JOB}.out`, { force: true });
});

function job(): RunningLocalJob {
  const found = localJob(identity, [join(USER.runtime, "gangway")], JOB);
  if (found?.state !== "running") throw new Error("the job does not run");
  return found;
}

function portOf(node: number): number {
  return job().nodes[node]?.port ?? 0;
}

/** Runs work with the job's entry of the index in a file of its own, for `ssh -F`. */
async function withEntry<T>(change: (conf: string) => string, work: (conf: string) => Promise<T>): Promise<T> {
  return await inDirectory(async (home) => {
    const entry = indexEntryOf(job(), home);
    mkdirSync(join(home, ".gangway/ssh/jobs"), { recursive: true });
    writeFileSync(join(home, ".gangway/ssh/jobs", `${JOB}.hosts`), entry?.hosts ?? "");
    const conf = join(home, "config");
    writeFileSync(conf, change(entry?.conf ?? ""));
    return await work(conf);
  });
}

async function plainSsh(conf: string, host: string, client = "ssh"): Promise<RunResult> {
  return await run([client, "-F", conf, host, "hostname; exit 5"]);
}

describe("a node on another host of the job", () => {
  it("is entered by TCP, by gangway ssh and gangway shell", async () => {
    const ssh = await gangway(["ssh", `${JOB}.node2`, "hostname; echo $SSH_CONNECTION; exit 4"]);
    expect(ssh).toMatchObject({ code: 4, stdout: saying(`node2\n127.0.0.1 `), stderr: "" });
    expect(ssh.stdout.trim().endsWith(` ${portOf(1)}`)).toBe(true);
    expect(await gangway(["shell", `${JOB}.node2`, "--", "hostname"])).toMatchObject({ code: 0, stdout: "node2\n" });
    expect(await gangway(["ssh", `1.${JOB}.JOB.`, "hostname"])).toMatchObject({ code: 0, stdout: "node2\n" });
  });

  it("is not entered by its socket, and that is said", async () => {
    const forced = await gangway(["ssh", "--connect", "socket", `${JOB}.node2`, "true"]);
    expect(forced).toMatchObject({ code: 76, stdout: "" });
    expect(forced.stderr).toMatch(/^gangway: node2 is on another host: its socket is no way from here\n {2}\S/);
    const proxied = await gangway(["proxy", "--connect", "socket", `node2.${JOB}.job`]);
    expect(proxied).toMatchObject({ code: 76, stderr: saying("node2 is on another host") });
  });

  it("is a way for gangway proxy", async () => {
    const kit = join(directory, "kit/ssh_config");
    const words = ["-F", kit, "-o", `ProxyCommand=${GANGWAY} proxy %h`, "-o", "ProxyUseFdpass=no"];
    expect(await run(["ssh", ...words, `node2.${JOB}.job`, "hostname; exit 6"])).toMatchObject({
      code: 6,
      stdout: "node2\n",
    });
  });

  it("is examined: which way works, and why the other does not", async () => {
    const { code, stdout } = await gangway(["doctor", `${JOB}.node2`]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^limit +way socket +node2 is on another host$/m);
    expect(stdout).toMatch(
      new RegExp(`^ok +way tcp +127\\.0\\.0\\.1 port ${portOf(1)} answers .*a session works$`, "m"),
    );
  });

  it.each(CLIENTS)("is entered by plain ssh with the index, the head by its socket: %s", async (client) => {
    await withEntry(
      (conf) => conf,
      async (conf) => {
        expect(await plainSsh(conf, `node2.${JOB}.job`, client)).toMatchObject({ code: 5, stdout: "node2\n" });
        expect(await plainSsh(conf, `${JOB}.job`, client)).toMatchObject({ code: 5, stdout: "node1\n" });
      },
    );
  });

  it("is left alone by plain ssh when another sshd than its own answers there", async () => {
    const swap = (conf: string) => conf.replaceAll(` 127.0.0.1 ${portOf(1)}`, ` 127.0.0.1 ${portOf(0)}`);
    await withEntry(swap, async (conf) => {
      const { code, stdout, stderr } = await plainSsh(conf, `node2.${JOB}.job`);
      expect({ code, stdout }).toEqual({ code: 255, stdout: "" });
      expect(stderr).toMatch(/Certificate invalid: name is not a listed principal|Host key verification failed/);
    });
  });

  it("is reached by a key from elsewhere through this host, and only by the job's own user", async () => {
    await inDirectory(async (cwd) => {
      const script = `ssh-keygen -q -t ed25519 -N '' -f key && "$GANGWAY" key authorize --kit ${JOB}.node2 key.pub`;
      const { code, stdout } = await run(["sh", "-c", script], { cwd, env: { GANGWAY } });
      expect(code).toBe(0);
      expect(stdout).toContain(`\nhost node2.${JOB}.job\n`);
      expect(stdout).toContain(`\nsocket ${socket}\n`);
      expect(stdout).toContain(`\nrelay 127.0.0.1 ${portOf(1)}\ntcp 127.0.0.1 ${portOf(1)}\n`);
      const head = await run(["sh", "-c", `"$GANGWAY" key authorize --kit ${JOB} key.pub`], { cwd, env: { GANGWAY } });
      expect(head.stdout).not.toContain("\nrelay ");
    });
    expect(await gangway(["ssh", `${JOB}.node2`, "true"], { user: OTHER })).toMatchObject({ code: 68 });
  });
});

describe("a host that shares the home, and is none of the job's", () => {
  it("says where the job is, in place of ssh's words", async () => {
    const kit = join(directory, "kit/id_ed25519");
    expect(existsSync(kit)).toBe(true);
    await withEntry(
      (conf) => conf.replaceAll(kit, `${directory}/kit/not-here`),
      async (conf) => {
        for (const host of [`${JOB}.job`, `node2.${JOB}.job`]) {
          const { code, stdout, stderr } = await plainSsh(conf, host);
          expect({ code, stdout }).toEqual({ code: 255, stdout: "" });
          expect(stderr).toMatch(/^gangway: this host has no key for the job \(it runs on \S+\); use gangway ssh, or /);
          expect(stderr).not.toContain("Permission denied");
        }
      },
    );
  });
});
