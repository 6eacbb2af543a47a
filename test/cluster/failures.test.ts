import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { unfoldHostlist } from "../../src/allocation/hostlist.ts";
import { IMAGES, USER } from "../job/harness.ts";
import { inPart } from "../whole.ts";
import { asRoot, loadImages, PLACE, rigUp, rootOf, startOn } from "./cluster.ts";
import {
  Allocation,
  COMPUTE,
  docker,
  Launched as Launch,
  type Launched,
  type LaunchWords,
  launchInto,
  nothingLeft,
  type Phase,
  SHARED,
  sharedFile,
  type Victim,
} from "./launched.ts";

/*
 * The barrier under failure: whatever happens to one node (n2) in whatever phase, the launch ends within its time limit,
 * names that node and the reason, and no host keeps anything of it. All of it on three hosts of one Slurm allocation,
 * which goes on meanwhile: nothing is cleared by the manager's end of a job.
 */

/** Seconds until a launch has ended, from the failure on. */
const SOON = 10;
/** Where silence is what tells: SILENCE, and the rest. */
const AFTER_SILENCE = 20;
const LAUNCHER_FAILED = 125;

let allocation: Allocation;

beforeAll(async () => {
  for (const host of COMPUTE) loadImages(host, "debian");
  for (const host of ["n1", "n3"] as const) {
    for (const name of ["partial", "odd"]) docker(host, "tag", IMAGES.debian, `gangway-test/${name}`);
  }
  execFileSync("sh", [
    "-c",
    `printf '' | tar c -T - | docker -H unix://${rootOf("n2")}/run/docker.sock import - gangway-test/odd`,
  ]);
  await nothingLeft();
  allocation = await Allocation.take();
});

afterAll(async () => {
  await allocation.release();
  rmSync(SHARED, { recursive: true, force: true });
  for (const host of ["n1", "n3"] as const) docker(host, "rmi", "gangway-test/partial", "gangway-test/odd");
  docker("n2", "rmi", "gangway-test/odd");
});

afterEach(async () => {
  for (const gate of Object.values(allocation.gates)) gate.release();
  await nothingLeft();
});

/** One reason a line, all of them for a person: the lost nodes by their names, and nobody else's. */
function blames({ stderr }: Launched, nodes: readonly string[], says: RegExp): void {
  expect(stderr).toMatch(says);
  expect(stderr).toMatch(/\n {2}\S/);
  expect(stderr).not.toMatch(/\n\s+at |mistake of gangway's own|undefined|\[object/);
  const named = [...stderr.matchAll(/^(?:gangway: )?(n\S+): /gm)].flatMap(([, list = ""]) =>
    unfoldHostlist(list, { kind: "variable", name: "stderr" }),
  );
  expect([...new Set(named)].sort()).toEqual(nodes);
  for (const host of COMPUTE.filter((each) => !nodes.includes(each)))
    expect(stderr).not.toMatch(new RegExp(`\\b${host}\\b`));
}

interface AtStart extends LaunchWords {
  readonly what: string;
  /** Makes n2 a host where a launch fails. @returns what heals it */
  readonly prepare?: () => Promise<() => unknown> | (() => unknown);
  readonly says: RegExp;
  readonly limit?: number;
}

const START_LIMIT = "5s";

/** Only n2 is different. */
const onlyN2 = (name: string, there: string, elsewhere: string) =>
  sharedFile(name, `#!/bin/sh\n[ "$(hostname)" = n2 ] && { ${there}; }\n${elsewhere}\n`);

const FROM_THE_START: readonly AtStart[] = [
  {
    what: "its engine is down",
    prepare: async () => {
      await allocation.gates.n2.close();
      return async () => await allocation.gates.n2.open();
    },
    says: /n2: no container engine: the socket \/run\/gate\.sock .* does not exist/,
  },
  {
    what: "the image is missing",
    image: "gangway-test/partial",
    says: /n2: the engine has no image "gangway-test\/partial"/,
  },
  { what: "its image is another", image: "gangway-test/odd", says: /is another than on the other nodes/ },
  {
    what: "the run directory's disk is full",
    prepare: () => {
      const base = `/run/user/${USER.uid}/gangway`;
      asRoot("n2", ["install", "-d", "-m", "700", "-o", USER.name, "-g", `${USER.gid}`, base]);
      const options = `size=8k,mode=700,uid=${USER.uid},gid=${USER.gid}`;
      asRoot("n2", ["mount", "-t", "tmpfs", "-o", options, "full", base]);
      return () => asRoot("n2", ["umount", "-l", base]);
    },
    says: /no space left on device/i,
  },
  {
    what: "the engine's disk is full",
    prepare: () => {
      const containers = `${PLACE}/n2/docker/containers`;
      asRoot("n2", ["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=1", "full", containers]);
      return () => asRoot("n2", ["umount", "-l", containers]);
    },
    says: /no space left on device/i,
  },
  {
    what: "the port is taken",
    words: ["--port", "25001"],
    prepare: () => {
      const listener = startOn("n2", [
        "node",
        "-e",
        "require('net').createServer().listen(25001,()=>console.log('there'));process.stdin.on('end',()=>process.exit()).resume()",
      ]);
      return new Promise((resolve) => {
        listener.stdout.once("data", () => resolve(() => listener.stdin.end()));
      });
    },
    says: /listen 25001: Address already in use/,
  },
  {
    what: "its process is never run by what should start it",
    words: ["--prepare-timeout", START_LIMIT],
    variables: [`GANGWAY_START_COMMAND=${SHARED}/never %h`],
    prepare: () => {
      sharedFile(
        "never",
        '#!/bin/sh\nhost=$1; shift\n[ "$host" = n2 ] && { sleep 600; exit; }\nexec srun --overlap -N1 -n1 -w "$host" --input=none "$@"\n',
      );
      return () => undefined;
    },
    says: /n2: its process did not come within 5 s/,
    limit: AFTER_SILENCE,
  },
  {
    what: "its process is started, and never says a word",
    words: ["--prepare-timeout", START_LIMIT],
    variables: [`GANGWAY_NODE_PROGRAM=${SHARED}/stopped`],
    prepare: () => {
      onlyN2("stopped", "kill -STOP $$", 'exec gangway "$@"');
      return () => undefined;
    },
    says: /n2: its process did not come within 5 s/,
    limit: AFTER_SILENCE,
  },
  {
    what: "slurmd cannot start anything in the job",
    prepare: () => {
      // Control groups that belong to no step and may use more than the job may: what a container's start leaves, where the
      // job's own group has gone with its last step.
      const group = `/run/cgroup/cpuset/slurm_n2/uid_${USER.uid}/job_${allocation.id}`;
      asRoot("n2", [
        "sh",
        "-c",
        `cd ${group} && cat ../cpuset.cpus >cpuset.cpus && mkdir stale && cat cpuset.cpus >stale/cpuset.cpus`,
      ]);
      return () => asRoot("n2", ["rmdir", `${group}/stale`]);
    },
    says: /n2: its process ended \(launch failed: Slurmd could not execve job; slurmd's log on that host tells why\)/,
  },
  {
    what: "Gangway is not installed",
    variables: [`GANGWAY_NODE_PROGRAM=${SHARED}/missing`],
    prepare: () => {
      onlyN2("missing", "exec /nonexistent/gangway", 'exec gangway "$@"');
      return () => undefined;
    },
    says: /n2: its process ended \(Exited with exit code 127\): .*\/nonexistent\/gangway/,
  },
];

describe("a host where, from the start,", () => {
  test.each(FROM_THE_START)("$what", async ({ prepare, says, limit = SOON, ...words }) => {
    const heal = await prepare?.();
    try {
      const job = new Launch(allocation, words);
      expect(await job.end(limit + 5)).toBe(LAUNCHER_FAILED);
      blames(job, ["n2"], says);
      expect(job.stdout).toBe("");
    } finally {
      await heal?.();
    }
  });
});

const PHASES: readonly Phase[] = ["prepare", "up", "membership", "running"];
/** What it had not read yet when it was killed makes its system reset the connection instead of closing it (RFC 2525, 2.17). */
const NODE_KILLED = /n2: its process on that host is lost: the connection was closed/;
const STEP_KILLED = /n2: .*(?:the process that started it there is gone|its process on that host is lost)/;
const SRUN_KILLED = /srun was killed by signal 9/;

const KILLS = PHASES.flatMap((phase) =>
  (
    [
      ["node", ["n2"], NODE_KILLED],
      ["slurmstepd", ["n2"], STEP_KILLED],
      ["srun", COMPUTE, SRUN_KILLED],
    ] as const
  ).map(([victim, nodes, says]) => ({ phase, victim, nodes, says })),
);

describe("SIGKILL", () => {
  const kills = inPart(KILLS, ({ phase, victim }) => victim === "node" || phase === "up" || phase === "running");

  test.each(kills)("on $victim, in phase $phase", async ({ phase, victim, nodes, says }) => {
    const { job, go } = await launchInto(phase, allocation);
    try {
      job.kill(victim, "SIGKILL");
    } finally {
      go();
    }
    expect(await job.end(SOON)).toBe(LAUNCHER_FAILED);
    blames(job, nodes, says);
  });

  test.each(PHASES)("on the launcher, in phase %s", async (phase) => {
    const { job, go } = await launchInto(phase, allocation);
    try {
      job.kill("launcher" satisfies Victim, "SIGKILL");
    } finally {
      go();
    }
    expect(await job.end(SOON)).toBe(128 + 9);
  });
});

describe("what cannot be heard of any more", () => {
  /** One of each, where all take as long as silence does. */
  const running = (phase: Phase) => phase === "running";

  test.each(inPart(["prepare", "running"] as const, running))(
    "a host whose link is cut, in phase %s",
    async (phase) => {
      const { job, go } = await launchInto(phase, allocation);
      const gateway = asRoot("n2", ["ip", "route", "show", "default"]).trim().split(" ");
      asRoot("n2", ["ip", "link", "set", "eth0", "down"]);
      try {
        go();
        expect(await job.end(AFTER_SILENCE)).toBe(LAUNCHER_FAILED);
        blames(job, ["n2"], /n2: its process on that host is lost: nothing was heard for 3 s/);
      } finally {
        asRoot("n2", ["ip", "link", "set", "eth0", "up"]);
        asRoot("n2", ["ip", "route", "replace", ...gateway]);
      }
    },
  );

  test.each(inPart(["up", "running"] as const, running))(
    "a node process that is stopped and reads nothing, in phase %s",
    async (phase) => {
      const { job, go } = await launchInto(phase, allocation);
      job.kill("node", "SIGSTOP");
      go();
      expect(await job.end(AFTER_SILENCE)).toBe(LAUNCHER_FAILED);
      blames(job, ["n2"], /n2: its process on that host is lost: nothing was heard for 3 s/);
    },
  );

  test.each([
    ["prepare", ["--prepare-timeout", "4s"]],
    ["up", ["--up-timeout", "4s"]],
    ["membership", ["--up-timeout", "4s"]],
  ] as const)("a host that is not done with phase %s in its time", async (phase, words) => {
    const { job, go } = await launchInto(phase, allocation, { words });
    try {
      // An engine that does not answer holds up the clearing, too.
      if (phase === "prepare") setTimeout(go, 6000);
      expect(await job.end(SOON + 5)).toBe(LAUNCHER_FAILED);
      blames(
        job,
        ["n2"],
        new RegExp(`n2: not done with phase "${words[0] === "--up-timeout" ? "up" : "prepare"}" within 4 s`),
      );
    } finally {
      go();
    }
  });
});

describe("an engine", () => {
  test("that is killed while it has the command's streams", async () => {
    const { job } = await launchInto("running", allocation);
    process.kill(Number(asRoot("n1", ["cat", "/run/docker.pid"])), "SIGKILL");
    try {
      expect(await job.end(AFTER_SILENCE)).toBe(LAUNCHER_FAILED);
      blames(job, ["n1"], /n1: the engine broke off the command's input and output/);
    } finally {
      rigUp();
    }
  });
});

describe("no failure", () => {
  test("a host whose clock is five minutes off", async () => {
    const clock = sharedFile(
      "clock.cjs",
      `if (require("node:os").hostname() === "n2") {
        const now = Date.now, OFF = 300_000;
        Date.now = () => now() + OFF;
        globalThis.Date = class extends Date { constructor(...words) { super(...(words.length === 0 ? [now() + OFF] : words)); } };
        require("node:fs").writeFileSync("/tmp/clock", new Date().toISOString());
      }`,
    );
    const job = new Launch(allocation, {
      variables: [`NODE_OPTIONS=--require=${clock}`],
      command: ["sh", "-c", "ssh n2 hostname; ssh n3 ssh n2 hostname"],
    });
    expect({ code: await job.end(30), stderr: job.stderr, stdout: job.stdout }).toEqual({
      code: 0,
      stderr: "",
      stdout: "n2\nn2\n",
    });
    const there = Date.parse(asRoot("n2", ["cat", "/tmp/clock"]));
    expect(there - Date.now()).toBeGreaterThan(200_000);
  });
});

describe("--min-nodes", () => {
  test("goes on without a node that fails, and says so", async () => {
    const job = new Launch(allocation, {
      image: "gangway-test/partial",
      words: ["--min-nodes", "2"],
      command: ["sh", "-c", "cat /var/hostsfile; ssh n3 hostname"],
    });
    expect(await job.end(30)).toBe(0);
    expect(job.stdout).toBe("n1\nn3\nn3\n");
    expect(job.stderr).toContain("going on with 2 of 3 nodes (--min-nodes 2)");
    expect(job.stderr).toMatch(/n2: .*gangway-test\/partial/);
  });

  test("ends where too few are left", async () => {
    const job = new Launch(allocation, { image: "gangway-test/partial", words: ["--min-nodes", "3"] });
    expect(await job.end(SOON + 5)).toBe(LAUNCHER_FAILED);
    blames(job, ["n2"], /gangway-test\/partial/);
  });
});
