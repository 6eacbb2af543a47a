// A job whose nodes are on three hosts, each with its engine: every way in leads to the node that was named.
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually, IMAGES, USER } from "../job/harness.ts";
import { asRoot, eventuallyGiven, type Host, homeOf, loadImages, runOn } from "./cluster.ts";

const PLACE = process.env.GANGWAY_CLUSTER_PLACE ?? "";
const JOB = "spread";
const KEY = "/tmp/laptop-key";
const NODES = ["n1", "n2", "n3"] as const satisfies readonly Host[];

async function ssh(from: Host, target: string, command: string) {
  return await runOn(from, ["ssh", target, command]);
}

/** With the laptop's key in an agent. */
function agent(command: string): string[] {
  return ["ssh-agent", "sh", "-c", `ssh-add -q ${KEY} && { ${command}; s=$?; ssh-agent -k >/dev/null; exit $s; }`];
}

let batch = "";

beforeAll(async () => {
  loadImages("n1", "debian");
  loadImages("n2", "debian");
  loadImages("n3", "debian");
  await runOn("laptop", [
    "sh",
    "-c",
    `rm -rf ${KEY} ${KEY}.pub .gangway .ssh; ssh-keygen -q -t ed25519 -N '' -f ${KEY}`,
  ]);
  writeFileSync(join(PLACE, "ssh/keys", USER.name), (await runOn("laptop", ["cat", `${KEY}.pub`])).stdout);
  const { stdout: key } = await runOn("laptop", ["cat", KEY]);
  await runOn("ctl", ["sh", "-c", `umask 077; cat > ${KEY}`], { input: key });
  expect(await runOn("n1", ["gangway", "ssh-config", "--install"])).toMatchObject({ code: 0 });
  const launch = `gangway run --name ${JOB} --image ${IMAGES.debian} -- sleep 600`;
  const submitted = await runOn("n1", ["sbatch", "--parsable", "-N", "3", "-o", "/tmp/spread.out", "--wrap", launch]);
  expect(submitted).toMatchObject({ code: 0, stderr: "" });
  batch = submitted.stdout.trim();
  await eventuallyGiven("the job runs", 60, async () => (await ssh("n1", `n3.${JOB}.job`, "true")).code === 0);
});

afterAll(async () => {
  await runOn("n1", ["scancel", batch]);
  await eventually("the job is over", 60, async () => (await runOn("n1", ["squeue", "-h"])).stdout === "");
  await runOn("n1", ["gangway", "ssh-config", "--uninstall"]);
  // Nothing is in these: no key of a session's is left.
  for (const host of ["laptop", "ctl"] as const) asRoot(host, ["rmdir", `/run/user/${USER.uid}/gangway`]);
  asRoot("ctl", ["rm", "-f", KEY]);
  await runOn("laptop", ["rm", "-rf", ".ssh", ".gangway", KEY, `${KEY}.pub`]);
});

describe("between the job's hosts", () => {
  test.each(NODES)("plain ssh from %s lands in the node that was named; at home by its socket", async (from) => {
    for (const node of NODES) {
      const { code, stdout, stderr } = await ssh(from, `${node}.${JOB}.job`, "hostname; echo $SSH_CONNECTION; exit 3");
      expect({ code, stderr }).toEqual({ code: 3, stderr: "" });
      const [name, connection = ""] = stdout.trim().split("\n");
      expect(name).toBe(node);
      expect(connection.startsWith("UNKNOWN ")).toBe(from === node);
    }
    expect(await ssh(from, `${JOB}.job`, "hostname")).toMatchObject({ code: 0, stdout: "n1\n" });
  });

  test.each(NODES)("gangway ssh and gangway shell from %s do, too", async (from) => {
    for (const node of NODES) {
      expect(await runOn(from, ["gangway", "ssh", `${JOB}.${node}`, "hostname"])).toMatchObject({
        stdout: `${node}\n`,
      });
    }
    expect(await runOn(from, ["gangway", "shell", `${JOB}.2`, "--", "hostname"])).toMatchObject({ stdout: "n3\n" });
    expect(await runOn(from, ["gangway", "shell", "--", "hostname"])).toMatchObject({ stdout: "n1\n" });
    const none = await runOn(from, ["gangway", "shell", `${JOB}.n4`, "--", "true"]);
    expect(none).toMatchObject({ code: 68, stderr: `gangway: job ${JOB} has no node "n4"\n  it has n1, n2, n3\n` });
  });

  test("a file goes from one host into the node on another", async () => {
    const data = randomBytes(4 * 1024 * 1024);
    await runOn("n2", ["sh", "-c", "cat > /tmp/spread.data"], { input: data });
    for (const program of ["scp -q", "rsync"]) {
      const copied = await runOn("n2", ["sh", "-c", `${program} /tmp/spread.data n3.${JOB}.job:/tmp/data`]);
      expect(copied).toMatchObject({ code: 0, stderr: "" });
      const { bytes } = await ssh("n3", `n3.${JOB}.job`, "cat /tmp/data; rm /tmp/data");
      expect(bytes.equals(data)).toBe(true);
    }
    await runOn("n2", ["rm", "/tmp/spread.data"]);
  });

  test("gangway doctor says which way leads to a node on another host", async () => {
    const { code, stdout } = await runOn("n2", ["gangway", "doctor", `${JOB}.n3`]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^limit +way socket +n3 is on another host$/m);
    expect(stdout).toMatch(/^ok +way tcp +\S+ port \d+ answers .*, and a session works$/m);
    expect(stdout).toMatch(new RegExp(`^ok +plain ssh +ssh ${JOB}\\.job finds it$`, "m"));
  });

  test("the index has one entry, that of the launcher, whoever asks for it again", async () => {
    const path = join(homeOf(USER.name), ".gangway/ssh/jobs", `${JOB}.conf`);
    const before = readFileSync(path, "utf8");
    expect(before).toContain('"host":"n1"');
    expect(await runOn("n3", ["gangway", "ssh-config", "--install"])).toMatchObject({ code: 0 });
    expect(readFileSync(path, "utf8")).toBe(before);
    const { stderr } = await runOn("n3", ["gangway", "gc"]);
    expect(stderr).toContain(`note: kept job ${JOB} in ~/.gangway/ssh: whether it runs is known on n1`);
  });
});

describe("from elsewhere", () => {
  test("a host of the same home that is none of the job's says where it is", async () => {
    const { code, stdout, stderr } = await ssh("ctl", `n2.${JOB}.job`, "true");
    expect({ code, stdout }).toEqual({ code: 255, stdout: "" });
    expect(stderr).toMatch(
      /^gangway: this host has no key for the job \(it runs on n1\); use gangway ssh, or log in to one of its hosts\n/,
    );
  });

  test("gangway ssh there goes by ssh to the launcher's host, and on to the node", async () => {
    for (const node of NODES) {
      const entered = await runOn("ctl", agent(`gangway ssh ${JOB}.${node} 'hostname; exit 7'`));
      expect(entered).toMatchObject({ code: 7, stdout: `${node}\n`, stderr: "" });
    }
  });

  test.each(NODES)("a laptop that can log in to one host reaches every node through it: n1, to %s", async (node) => {
    const via = (host: Host) => agent(`gangway ssh --via ${host} ${JOB}.${node} 'hostname; exit 5'`);
    expect(await runOn("laptop", via("n1"))).toMatchObject({ code: 5, stdout: `${node}\n`, stderr: "" });
    expect(await runOn("laptop", via("n2"))).toMatchObject({ code: 5, stdout: `${node}\n`, stderr: "" });
  });

  test("a laptop without gangway does so by the fragment", async () => {
    const fragment = await runOn("n2", ["gangway", "ssh-config", "--via", "n2", "--cluster", "hpc", "--identity", KEY]);
    const config = `${fragment.stdout}IdentityFile ${KEY}\n`;
    await runOn("laptop", ["sh", "-c", "mkdir -p -m 700 .ssh; cat > .ssh/config"], { input: config });
    for (const node of NODES) {
      expect(await ssh("laptop", `${node}.${JOB}.job.hpc`, "hostname; exit 6")).toMatchObject({
        code: 6,
        stdout: `${node}\n`,
        stderr: "",
      });
    }
  });
});
