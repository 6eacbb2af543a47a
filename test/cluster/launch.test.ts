import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { eventually, IMAGES, OTHER, type TestUser, USER } from "../job/harness.ts";
import { complaintsOfMpirun } from "../job/mpirun.ts";
import { onTerminal } from "../job/terminal.ts";
import { allocated, batch, COMPUTE, loadEverywhere, loadRootless, remains } from "./batch.ts";
import { asRoot, homeOf, runOn } from "./cluster.ts";

/*
 * The same launch across machines: three hosts with an engine each, Slurm gives the nodes and starts what has to run there.
 */

const CLUSTER = process.env.GANGWAY_CLUSTER ?? "";
/** Which rig, where it is not the usual one. */
const RIG: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(process.env).flatMap(([name, value = ""]) => (name.startsWith("GANGWAY_RIG") ? [[name, value]] : [])),
);
const ROOT: TestUser = { name: "root", uid: 0, gid: 0, home: "/root", runtime: "/run" };
const RUN = `gangway run --image ${IMAGES.debian}`;

beforeAll(() => {
  loadEverywhere("debian", "bare", "mpich");
  for (const host of COMPUTE) loadRootless(host, USER.name, "debian");
  for (const host of ["n1", "n2"] as const) loadRootless(host, OTHER.name, "debian");
});
afterEach(async () => {
  await eventually("nothing is left on the hosts", 20, () => remains() === "");
});

const ONE_WORLD = "world 6 token 15 sum 15 hosts n1 n1 n2 n2 n3 n3\n";

/** What stands before a command whose engine is the user's own Podman of each host. */
const PODMAN = `env DOCKER_HOST=unix:///run/user/${USER.uid}/podman/podman.sock `;

describe.each([
  ["Docker", ""],
  ["the user's rootless Podman", PODMAN],
])("sbatch, with %s on every host", (_name, prefix) => {
  test("one MPI world over three engines, a rank for each task", async () => {
    const { stdout, stderr, code } = await batch(["-N3", "--ntasks-per-node=2"], `${prefix}${RUN} -- mpirun ring`);
    expect({ stdout, stderr: complaintsOfMpirun(stderr), code }).toEqual({ stdout: ONE_WORLD, stderr: "", code: 0 });
  });

  test("every node reaches every other at the first instant, in the job's containers", async () => {
    const hops = `for a in n1 n2 n3; do for b in n1 n2 n3; do
      echo "$a $b $(ssh $a ssh $b 'hostname; test -e /opt/udiImage && echo in')"; done; done`;
    const { stdout, stderr } = await batch(["-N3"], `${prefix}${RUN} -- bash -c '${hops.replaceAll("'", "'\\''")}'`);
    const pairs = ["n1", "n2", "n3"].flatMap((a) => ["n1", "n2", "n3"].map((b) => `${a} ${b} ${b}\nin`));
    expect({ stdout, stderr }).toEqual({ stdout: `${pairs.join("\n")}\n`, stderr: "" });
  });
});

describe("sbatch", () => {
  test("one world of MPICH's, too", async () => {
    const { stdout, code } = await batch(
      ["-N3", "--ntasks-per-node=2"],
      "gangway run --image gangway-test/mpich -- mpirun ring",
    );
    expect({ stdout, code }).toEqual({ stdout: ONE_WORLD, code: 0 });
  });

  test("the script's own srun runs beside it, and two launches have two ids", async () => {
    const script = `${RUN} -- sh -c 'cat gate-'$SLURM_JOB_ID'; echo first $GANGWAY_JOB_ID' &
      until gangway hosts $SLURM_JOB_ID >/dev/null 2>&1; do sleep 0.1; done
      srun -N3 -n3 --ntasks-per-node=1 --overlap hostname | sort
      ${RUN} -- sh -c 'echo second $GANGWAY_JOB_ID'
      echo >gate-$SLURM_JOB_ID; wait; rm gate-$SLURM_JOB_ID; echo $SLURM_JOB_ID`;
    const { stdout } = await batch(["-N3"], `mkfifo gate-$SLURM_JOB_ID\n${script}`);
    const id = stdout.trim().split("\n").at(-1) ?? "";
    expect(stdout).toBe(`n1\nn2\nn3\nsecond ${id}-2\n\nfirst ${id}\n${id}\n`);
  });

  test("the exit code is the command's, and its output is whole", async () => {
    const { bytes, code } = await batch(["-N2"], `${RUN} -- sh -c 'head -c 20000000 /dev/zero; exit 7'`);
    expect({ length: bytes.length, code }).toEqual({ length: 20_000_000, code: 7 });
  });

  test("an array of four on shared nodes: each its own job", async () => {
    const said = `echo $GANGWAY_JOB_ID $GANGWAY_NODELIST $(ssh $(tail -n1 /var/hostsfile) printenv GANGWAY_JOB_ID)`;
    const script = `${RUN} -- sh -c '${said}' >said-$SLURM_ARRAY_TASK_ID; mv said-$SLURM_ARRAY_TASK_ID array-$SLURM_ARRAY_TASK_ID`;
    const words = ["--parsable", "-N2", "-n2", "--mem=200", "--array=0-3", "-o", "/dev/null"];
    const { stdout: id } = await runOn("ctl", ["sbatch", ...words], { input: `#!/bin/bash\n${script}\n` });
    const files = [0, 1, 2, 3].map((task) => join(homeOf(USER.name), `array-${task}`));
    await eventually("all tasks have said what they are", 120, () => files.every(existsSync));
    for (const [task, file] of files.entries()) {
      const [job, nodes = "", reached] = readFileSync(file, "utf8").trim().split(" ");
      rmSync(file);
      expect({ job, reached }).toEqual({ job: `${id.trim()}_${task}`, reached: `${id.trim()}_${task}` });
      expect(nodes.split(",")).toHaveLength(2);
    }
  });
});

test("a heterogeneous job: one launch over its components", async () => {
  const argv = ["-Q", "-N1", "-n1", "--mem=200", ":", "-N1", "-n2", "--mem=200", "--", ...RUN.split(" "), "--"];
  const script = "echo $GANGWAY_JOB_ID; uniq -c /var/hostsfile | tr -s ' '; ssh $(tail -n1 /var/hostsfile) hostname";
  const { stdout, stderr, code } = await runOn("ctl", ["salloc", ...argv, "sh", "-c", script]);
  const [id, one = "", two = "", reached] = stdout.trim().split("\n");
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  expect(id).toMatch(/^\d+$/);
  expect([one.trim().split(" ")[0], two.trim().split(" ")[0]]).toEqual(["1", "2"]);
  expect(two.trim().split(" ")[1]).toBe(reached);
});

describe("salloc: the launcher is outside the allocation", () => {
  test("interactive, on a terminal: size, ^C, exit code", async () => {
    const argv = [CLUSTER, "as", USER.name, "ctl", "salloc", "-Q", "-N2", ...RUN.split(" "), "--", "bash", "--norc"];
    const { code, output } = await onTerminal(
      argv,
      [
        { expect: "\\$ " },
        { send: "PS1=in\\>; hostname; stty size\r" },
        { expect: "30 90" },
        { resize: [40, 100] },
        { send: "sleep 60\r" },
        { pause: 0.5 },
        { send: "\x03" },
        { send: "echo $?; stty size; ssh n2 hostname\r" },
        { expect: "40 100" },
        // Not before: what is typed while ssh runs is ssh's.
        { expect: "n2\n.*in>" },
        { send: "exit 5\r" },
      ],
      { user: ROOT, env: RIG },
    );
    expect(output).toContain("130");
    expect(code).toBe(5);
  });

  test("--everywhere: the command on every node, lines labelled by node, the worst exit code", async () => {
    const script = "echo to $GANGWAY_NODEID; echo err >&2; exit $((GANGWAY_NODEID * 3))";
    const words = ["--everywhere", "--", "sh", "-c", script];
    const { stdout, stderr, code } = await allocated(["-N3"], [...RUN.split(" "), ...words]);
    expect(stdout.split("\n").sort().join("\n").trim()).toBe("n1: to 0\nn2: to 1\nn3: to 2");
    expect(stderr.split("\n").sort().join("\n").trim()).toBe("n1: err\nn2: err\nn3: err");
    expect(code).toBe(6);
  });

  test("standard input reaches the command to its last byte", async () => {
    const input = "0123456789abcde\n".repeat(100_000);
    const { stdout } = await allocated(["-N2"], [...RUN.split(" "), "--", "sh", "-c", "wc -c"], input);
    expect(stdout.trim()).toBe("1600000");
  });
});

describe("--hosts: no workload manager", () => {
  test("nodes are reached by the user's own ssh", async () => {
    const place = process.env.GANGWAY_CLUSTER_PLACE ?? "";
    asRoot("n1", [
      "sh",
      "-c",
      `rm -f /tmp/hosts-key*; setpriv --reuid ${USER.uid} --regid ${USER.gid} --clear-groups ssh-keygen -q -t ed25519 -N '' -f /tmp/hosts-key; cat /tmp/hosts-key.pub > ${place}/ssh/keys/${USER.name}`,
    ]);
    const env = ["env", "GANGWAY_START_COMMAND=ssh -i /tmp/hosts-key -o BatchMode=yes %h"];
    const words = ["--hosts", "n[1-3]", "--", "sh", "-c", "sort -u /var/hostsfile; ssh n3 hostname"];
    const { stdout, stderr, code } = await runOn("n1", [...env, ...RUN.split(" "), ...words]);
    expect({ stdout, stderr, code }).toEqual({ stdout: "n1\nn2\nn3\nn3\n", stderr: "", code: 0 });
  });
});

describe("jobs of two users on the same nodes at once, on the hosts' network", () => {
  /** Starts a job that stays, on n1 and n2. */
  async function start(user: string): Promise<string> {
    const words = ["--mem=100", "-N2", "-n2", "-wn1,n2", "--parsable", "-o", "/dev/null"];
    // Who may not use the root engine has a Podman of their own.
    const own = user === USER.name ? [] : ["env", `DOCKER_HOST=unix:///run/user/${OTHER.uid}/podman/podman.sock`];
    const input = `#!/bin/bash\n${[...own, RUN].join(" ")} -- sleep 600\n`;
    const { stdout } = await runOn("ctl", ["sbatch", ...words], { input, user });
    const id = stdout.trim();
    await eventually(`job ${id} is up`, 30, async () => {
      const { stdout: name } = await runOn("n1", ["gangway", "ssh", `${id}.n2`, "hostname"], { user });
      return name === "n2\n";
    });
    return id;
  }

  test("neither's files, keys, ports or containers give the other anything; each reaches its own", async () => {
    const [own, foreign] = await Promise.all([start(USER.name), start(OTHER.name)]);
    try {
      const nodes = async (id: string, user: string) => {
        const { stdout } = await runOn("n1", ["gangway", "hosts", "--json", id], { user });
        return JSON.parse(stdout) as { name: string; port: number; addresses: string[] }[];
      };
      const mine = await nodes(own, USER.name);
      const theirs = await nodes(foreign, OTHER.name);
      // The same port on all nodes of a job, and another for each job.
      expect(new Set(mine.map(({ port }) => port)).size).toBe(1);
      expect(mine[0]?.port).not.toBe(theirs[0]?.port);

      const files = await runOn("n1", ["find", `/run/user/${USER.uid}`], { user: OTHER.name });
      expect(files).toMatchObject({ stdout: `/run/user/${USER.uid}\n` });
      expect(files.stderr).toContain("Permission denied");

      const kit = `/run/user/${OTHER.uid}/gangway/${foreign}/kit`;
      for (const { port, addresses } of mine) {
        const target = [`-p${port}`, "-i", `${kit}/id_ed25519`, "-o", `CertificateFile=${kit}/id_ed25519-cert.pub`];
        const trusting = [
          "-F/dev/null",
          "-oBatchMode=yes",
          "-oUserKnownHostsFile=/dev/null",
          "-oStrictHostKeyChecking=accept-new",
        ];
        for (const name of [USER.name, OTHER.name]) {
          const argv = ["ssh", ...trusting, ...target, `${name}@${addresses[0]}`, "id"];
          expect(await runOn("n1", argv, { user: OTHER.name })).toMatchObject({ code: 255, stdout: "" });
        }
      }
      for (const command of ["ssh", "shell", "stop", "hosts"]) {
        const { code, stdout } = await runOn("n1", ["gangway", command, own], { user: OTHER.name });
        expect({ command, refused: code !== 0, stdout }).toEqual({ command, refused: true, stdout: "" });
      }
    } finally {
      await Promise.all([
        runOn("n1", ["gangway", "stop", own]),
        runOn("n1", ["gangway", "stop", foreign], { user: OTHER.name }),
      ]);
    }
  });
});
