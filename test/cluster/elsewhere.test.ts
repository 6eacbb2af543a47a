import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually, IMAGES, USER } from "../job/harness.ts";
import { cancel, launch, nothingLeft, runs } from "./carried.ts";
import { asRoot, loadImages, runOn, startOn } from "./cluster.ts";

const PLACE = process.env.GANGWAY_CLUSTER_PLACE ?? "";
const JOB = "1234";
const KEY = "/tmp/laptop-key";
const MIB = 2 ** 20;

/** How often n1's sshd was logged in to: every carrier is one. */
function logins(): number {
  return readFileSync(join(PLACE, "log/sshd-n1.log"), "utf8").split("Accepted publickey").length - 1;
}

/** Whatever of ours is left in a host's private places. */
function leftOn(host: "laptop"): string {
  const places = ["/tmp", "/dev/shm", `/run/user/${USER.uid}`];
  return asRoot(host, ["find", ...places, "-mindepth", "1", "-not", "-path", KEY, "-not", "-path", `${KEY}.pub`]);
}

async function home(host: "laptop", script: string) {
  return await runOn(host, ["sh", "-c", script]);
}

beforeAll(async () => {
  loadImages("n1", "debian");
  // The laptop's owner may log in to the cluster's nodes, as everybody who has a key there.
  await runOn("laptop", ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", KEY]);
  writeFileSync(join(PLACE, "ssh/keys", USER.name), (await runOn("laptop", ["cat", `${KEY}.pub`])).stdout);
  // Answers of an earlier run are good for ten minutes.
  await home("laptop", `rm -rf .gangway; mkdir -p -m 700 .ssh; printf 'IdentityFile ${KEY}\\n' > .ssh/config`);
  await start();
});

afterAll(async () => {
  await runOn("n1", ["gangway", "stop", JOB]);
  await runOn("n1", ["gangway", "ssh-config", "--uninstall"]);
});

async function start(): Promise<void> {
  const words = [
    "run",
    "-d",
    "--name",
    JOB,
    "-N",
    "2",
    "-o",
    "/dev/shm/out",
    "-i",
    IMAGES.debian,
    "--",
    "sleep",
    "600",
  ];
  expect(await runOn("n1", ["gangway", ...words])).toMatchObject({ code: 0, stderr: "" });
}

describe("from a laptop that has OpenSSH and nothing of ours", () => {
  beforeAll(async () => {
    const words = ["ssh", "n1", "gangway", "ssh-config", "--via", "n1", "--cluster", "hpc", "--identity", KEY];
    const fragment = await runOn("laptop", words);
    expect(fragment.code).toBe(0);
    const { code } = await runOn("laptop", ["sh", "-c", "cat - .ssh/config > .ssh/new && mv .ssh/new .ssh/config"], {
      input: fragment.stdout,
    });
    expect(code).toBe(0);
  });

  test("the job's nodes are reached by their names, and exit codes come back", async () => {
    expect(await runOn("laptop", ["ssh", "1234.job.hpc", "hostname; pwd"])).toMatchObject({
      code: 0,
      stdout: `node1\n${USER.home}\n`,
      stderr: "",
    });
    expect(await runOn("laptop", ["ssh", "node2.1234.job.hpc", "hostname; exit 7"])).toMatchObject({
      code: 7,
      stdout: "node2\n",
    });
    // Two numbers are an HTCondor id, and there is no such job.
    expect((await runOn("laptop", ["ssh", "1.1234.job.hpc", "hostname"])).stderr).toContain('no job "1.1234"');
  });

  test("the second session asks nobody for a certificate: one login on the node for each", async () => {
    await runOn("laptop", ["ssh", "1234.job.hpc", "true"]);
    const before = logins();
    for (let i = 0; i < 3; i++) await runOn("laptop", ["ssh", "1234.job.hpc", "true"]);
    expect(logins() - before).toBe(3);
  });

  test("files go both ways", async () => {
    const data = randomBytes(8 * 1024 * 1024);
    await runOn("laptop", ["sh", "-c", "cat > /tmp/laptop-key.data"], { input: data });
    const there = "/tmp/data";
    for (const words of [
      ["scp", "-q", "/tmp/laptop-key.data", `1234.job.hpc:${there}`],
      ["rsync", "/tmp/laptop-key.data", `1234.job.hpc:${there}`],
    ]) {
      expect(await runOn("laptop", words)).toMatchObject({ code: 0, stderr: "" });
      expect((await runOn("laptop", ["ssh", "1234.job.hpc", `cat ${there}; rm ${there}`])).bytes.equals(data)).toBe(
        true,
      );
    }
    await runOn("laptop", ["rm", "/tmp/laptop-key.data"]);
  });

  test("no private key of ours is on its disk, and nothing else is left", async () => {
    const files = (await home("laptop", "find .gangway -type f")).stdout.trim().split("\n");
    expect(files.length).toBeGreaterThan(2);
    for (const file of files) expect((await home("laptop", `cat ${file}`)).stdout).not.toContain("PRIVATE KEY");
    expect(leftOn("laptop")).toBe("");
  });

  test("a job that is not there is said to be missing, and nothing is made for it", async () => {
    const { code, stderr } = await runOn("laptop", ["ssh", "999.job.hpc", "true"]);
    expect(code).toBe(255);
    expect(stderr).toContain('no job "999"');
    expect((await home("laptop", "find .gangway -name '999*'")).stdout).toBe("");
  });

  test("an id that is used again is another job: its authority is asked for anew", async () => {
    await runOn("n1", ["gangway", "stop", JOB]);
    await eventually("the job's end", 20, async () => !(await runOn("n1", ["gangway", "ps"])).stdout.includes(JOB));
    await start();
    const first = await runOn("laptop", ["ssh", "1234.job.hpc", "hostname"]);
    const second = first.code === 0 ? first : await runOn("laptop", ["ssh", "1234.job.hpc", "hostname"]);
    expect(second).toMatchObject({ code: 0, stdout: "node1\n" });
  });
});

describe("from a login node with the same homes, and gangway, but no engine", () => {
  const place = `/run/user/${USER.uid}`;
  const agent = (command: string) => [
    "ssh-agent",
    "sh",
    "-c",
    `ssh-add -q ${KEY} && { ${command}; s=$?; ssh-agent -k >/dev/null; exit $s; }`,
  ];

  beforeAll(async () => {
    const { stdout } = await runOn("laptop", ["cat", KEY]);
    await runOn("ctl", ["sh", "-c", `umask 077; cat > ${KEY}`], { input: stdout });
  });

  test("--via names the node: the key is born here, and gone afterwards", async () => {
    const { code, stdout, stderr } = await runOn("ctl", agent(`gangway ssh --via n1 ${JOB}.node2 'hostname; exit 7'`));
    expect({ code, stdout, stderr }).toEqual({ code: 7, stdout: "node2\n", stderr: "" });
    expect(asRoot("ctl", ["find", place, "/dev/shm", "-name", "id_*"])).toBe("");
  });

  test("the index in the home names the node", async () => {
    await runOn("n1", ["gangway", "ssh-config", "--install"]);
    expect(await runOn("ctl", agent(`gangway ssh ${JOB} hostname`))).toMatchObject({
      code: 0,
      stdout: "node1\n",
      stderr: "",
    });
  });

  test("a laptop that reaches only the login node: by its agent, on to the job's host", async () => {
    await runOn("n1", ["gangway", "ssh-config", "--install"]);
    const words = ["ssh", "ctl", "gangway", "ssh-config", "--via", "ctl", "--identity", KEY];
    const fragment = await runOn("laptop", words);
    expect(fragment).toMatchObject({ code: 0 });
    const config = `${fragment.stdout}IdentityFile ${KEY}\nForwardAgent yes\n`;
    await runOn("laptop", ["sh", "-c", "cat > .ssh/config"], { input: config });
    const enter = await runOn("laptop", agent(`ssh node2.${JOB}.job.ctl 'hostname; exit 6'`));
    expect(enter).toMatchObject({ code: 6, stdout: "node2\n", stderr: "" });
    const own = await runOn("laptop", agent(`gangway ssh --via ctl ${JOB} 'hostname; exit 5'`));
    expect(own).toMatchObject({ code: 5, stdout: "node1\n", stderr: "" });
  });

  test("without ssh from the login node to the job's host the message says what to do", async () => {
    const { code, stderr } = await runOn("laptop", ["gangway", "ssh", "--via", "ctl", JOB, "true"]);
    expect(stderr).toContain("Permission denied");
    expect(stderr).toMatch(/job 1234 runs on n1, where ctl asked in vain/);
    expect(stderr).toMatch(/from ctl, `ssh n1 gangway ps` must work/);
    expect(code).toBe(76);
    // Nothing is in it: no key.
    asRoot("laptop", ["rmdir", `${place}/gangway`]);
  });

  test("a laptop, where the login node gets to the job's hosts by Slurm alone: gangway, plain ssh, scp; nothing stays", async () => {
    const job = await launch();
    await runs(job);
    // The fragment of the test before last is there; no agent: the login node has no key for the job's hosts.
    const own = await runOn("laptop", ["gangway", "ssh", "--via", "ctl", `${job}.n2`, "hostname; exit 5"]);
    expect(own, own.stderr).toMatchObject({ code: 5, stdout: "n2\n" });
    const plain = await runOn("laptop", ["ssh", `n2.${job}.job.ctl`, "hostname; exit 6"]);
    expect(plain).toMatchObject({ code: 6, stdout: "n2\n" });
    const data = randomBytes(2 * MIB);
    await runOn("laptop", ["sh", "-c", "cat >/tmp/data"], { input: data });
    const copied = await runOn("laptop", [
      "sh",
      "-c",
      `scp -q /tmp/data ${job}.job.ctl:/tmp/; s=$?; rm /tmp/data; exit $s`,
    ]);
    expect(copied).toMatchObject({ code: 0 });
    const there = await runOn("laptop", ["gangway", "ssh", "--via", "ctl", job, "cat /tmp/data"]);
    expect(there.bytes.equals(data)).toBe(true);
    await nothingLeft();
    await cancel(job);
    const gone = await runOn("laptop", ["gangway", "ssh", "--via", "ctl", job, "true"]);
    expect(gone).toMatchObject({ code: 69 });
    asRoot("laptop", ["rmdir", `${place}/gangway`]);
  });

  test("what is typed with a slip, or too much, is said so", async () => {
    const enter = async (...words: string[]) => await runOn("n1", ["gangway", "ssh", ...words]);
    expect(await enter(`${USER.name}@${JOB}`, "hostname")).toMatchObject({ code: 0, stdout: "node1\n" });
    const cases = [
      [64, /"root" cannot enter the job: only its own user, gangway-test, may/, `root@${JOB}`, "true"],
      [68, /did you mean 1234\?/, "1243", "true"],
      [68, /no cluster foo is known here/, `${JOB}.job.foo`, "true"],
      [255, /Can't open user config file \/nofile/, "-F", "/nofile", JOB, "true"],
      [64, /yours: 1234/],
    ] as const;
    for (const [code, said, ...words] of cases) {
      const result = await enter(...words);
      expect(result.stderr).toMatch(said);
      expect(result.code).toBe(code);
    }
  });

  test("what is undone on one host keeps the entries of other hosts' jobs; a job that is not in the index is said to be so", async () => {
    const jobs = `${USER.home}/.gangway/ssh/jobs`;
    expect((await runOn("ctl", ["gangway", "ssh-config", "--uninstall"])).code).toBe(0);
    expect((await runOn("ctl", ["ls", jobs])).stdout).toContain(`${JOB}.conf\n${JOB}.hosts\n`);
    await runOn("ctl", ["gangway", "ssh-config", "--install"]);
    expect(await runOn("n1", ["ssh", `${JOB}.job`, "hostname"])).toMatchObject({ code: 0, stdout: "node1\n" });
    await runOn("n1", ["rm", `${jobs}/${JOB}.conf`]);
    const { code, stderr } = await runOn("n1", ["ssh", `${JOB}.job`, "hostname"]);
    expect(code).toBe(255);
    expect(stderr).toContain("job 1234 runs here, but is not in the index of plain ssh");
    expect(stderr).not.toContain("host key");
    await runOn("n1", ["gangway", "ssh-config", "--install"]);
  });

  test("that a key of the fragment is not here is a note", async () => {
    const lines = await runOn("n1", ["gangway", "ssh-config", "--via", "n1", "--identity", "~/nokey"]);
    expect(lines.code).toBe(0);
    expect(lines.stderr).toContain("there is no ~/nokey.pub on this machine");
  });

  test("an interrupted session leaves no key", async () => {
    const child = startOn("ctl", agent(`gangway ssh --via n1 ${JOB} 'sleep 100'`));
    const keys = () => asRoot("ctl", ["find", place, "/dev/shm", "-name", "id_*"]);
    await eventually("a key", 20, () => keys() !== "");
    await eventually("a session", 20, async () =>
      (await runOn("n1", ["gangway", "ps", "--sessions"])).stdout.includes("sleep 100"),
    );
    asRoot("ctl", ["pkill", "-TERM", "-u", USER.name, "-f", `gangway ssh --via n1 ${JOB}`]);
    await new Promise((resolve) => child.once("close", resolve));
    await eventually("no key", 10, () => keys() === "");
  });

  test("without a way in the reason is ssh's own, and the status says that the node is out of reach", async () => {
    const { code, stderr } = await runOn("ctl", ["gangway", "ssh", "--via", "n1", JOB, "true"]);
    expect(stderr).toContain("Permission denied");
    expect(code).toBe(76);
    expect(asRoot("ctl", ["find", place, "/dev/shm", "-name", "id_*"])).toBe("");
  });
});
