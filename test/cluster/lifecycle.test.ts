import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually, IMAGES } from "../job/harness.ts";
import { inPart } from "../whole.ts";
import { asRoot, runOn } from "./cluster.ts";
import {
  COMPUTE,
  type ComputeHost,
  containersOn,
  ended,
  fieldOf,
  HOST_DOCKER,
  HOST_PODMAN,
  type HostEngine,
  installExamples,
  loadInto,
  nothingLeftOn,
  outputOf,
  sbatch,
  scontrol,
} from "./slurm.ts";

// What a workload manager does to a job, and what is left of it afterwards: nothing. The scripts of examples/slurm are in place: with
// proctrack/linuxproc SIGKILL reaches launcher and watchdog alike, and what they leave is the epilog's.

const CLUSTER_PLACE = process.env.GANGWAY_CLUSTER_PLACE ?? "";

/** The command says its job's name, and how often Slurm has begun it; then it waits. */
const COMMAND = `gangway run -i ${IMAGES.debian} -- sh -c 'echo running $GANGWAY_JOB_ID; exec sleep 600'`;

async function runs(engine: HostEngine, job: string, host: ComputeHost, name = job): Promise<void> {
  await eventually(`the command of ${name} on ${host}`, 60, () => outputOf(job, host).includes(`running ${name}\n`));
  expect(containersOn(engine, host)).toEqual([expect.stringContaining(job)]);
}

/** The host that a job runs on now. */
function hostOf(job: string): ComputeHost {
  const host = COMPUTE.find((name) => name === fieldOf(job, "NodeList"));
  if (host === undefined) throw new Error(`job ${job} is on ${fieldOf(job, "NodeList")}`);
  return host;
}

describe.each([HOST_DOCKER, HOST_PODMAN])("a job with $name", (engine) => {
  let uninstall = async (): Promise<void> => undefined;
  /** What the manager does is the same whichever the engine, and takes long. */
  const slowly = <T>(rows: readonly T[]) => inPart(rows, () => engine === HOST_DOCKER);
  const limits = slowly(["time limit"]);
  let limited = "";
  afterAll(async () => await uninstall());
  beforeAll(async () => {
    uninstall = await installExamples(engine);
    for (const host of COMPUTE) loadInto(engine, host, "debian");
    // Slurm's least limit is a minute: it passes on a host of its own, beside the other tests.
    if (limits.length > 0) limited = await sbatch(COMMAND, { host: "n3", engine, words: ["--time=1"] });
  });

  test("scancel: the command is told by TERM, and nothing is left", async () => {
    const told = `gangway run -i ${IMAGES.debian} -- sh -c 'trap "echo told; exit 0" TERM; echo running $GANGWAY_JOB_ID; sleep 600 & wait'`;
    const job = await sbatch(told, { host: "n1", engine });
    await runs(engine, job, "n1");
    scontrolCancel(job);
    expect((await ended(job)).state).toBe("CANCELLED");
    await nothingLeftOn(engine, "n1");
    expect(outputOf(job, "n1")).toContain("told\n");
  });

  test.each(slowly(["scancel of a job of two nodes"]))(
    "%s: the command is told once, though all hosts and the launcher are",
    async () => {
      const told = `trap "n=1; echo told" TERM; n=0; echo running $GANGWAY_JOB_ID; while [ $n = 0 ]; do sleep 600 & wait; done`;
      const after = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1 & wait; done";
      const words = ["--nodelist=n1,n2", "--nodes=2"];
      const job = await sbatch(`exec gangway run -i ${IMAGES.debian} -- sh -c '${told}; ${after}'`, {
        host: "n1",
        engine,
        words,
      });
      await runs(engine, job, "n1");
      scontrolCancel(job);
      expect((await ended(job)).state).toBe("CANCELLED");
      await Promise.all([nothingLeftOn(engine, "n1"), nothingLeftOn(engine, "n2")]);
      expect(outputOf(job, "n1").match(/^told$/gm)).toHaveLength(1);
    },
  );

  test.each(slowly(["scancel of one that does not listen to TERM"]))(
    "%s: KILL follows, and nothing is left",
    async () => {
      const deaf = `trap '' TERM; gangway run -i ${IMAGES.debian} -- sh -c 'trap "" TERM; echo running $GANGWAY_JOB_ID; sleep 600; sleep 600'`;
      const job = await sbatch(deaf, { host: "n1", engine });
      await runs(engine, job, "n1");
      scontrolCancel(job);
      expect((await ended(job)).state).toBe("CANCELLED");
      await nothingLeftOn(engine, "n1");
    },
  );

  test("scancel --signal=KILL: nothing is left", async () => {
    const job = await sbatch(COMMAND, { host: "n1", engine });
    await runs(engine, job, "n1");
    scontrolCancel("--signal=KILL", "--full", job);
    await ended(job);
    await nothingLeftOn(engine, "n1");
  });

  test.each(slowly(["requeue"]))(
    "%s: the job that Slurm begins anew under the same id has a name of its own",
    async () => {
      const job = await sbatch(COMMAND, { host: "n1", engine, words: ["--requeue"] });
      await runs(engine, job, "n1");
      scontrol("requeue", job);
      await eventually("the end of its first run", 60, () => fieldOf(job, "JobState") === "PENDING");
      beginSoon(job);
      await eventually(
        "its next run",
        150,
        () => fieldOf(job, "Restarts") === "1" && fieldOf(job, "JobState") === "RUNNING",
      );
      await runs(engine, job, "n1", `${job}-r1`);
      // Slurm has one name for both, and so have those who enter.
      for (const host of ["ctl", "n1"] as const) {
        const entered = await runOn(host, ["gangway", "ssh", job, "echo $GANGWAY_JOB_ID; exit 3"]);
        expect(entered, host).toMatchObject({ code: 3, stdout: `${job}-r1\n`, stderr: "" });
      }
      scontrolCancel(job);
      await ended(job);
      await nothingLeftOn(engine, "n1");
    },
  );

  test.each(slowly(["node failure"]))(
    "%s: the job goes on elsewhere, and the dead node is clean when it comes back",
    async () => {
      const job = await sbatch(COMMAND, { engine, words: ["--requeue", "--nodelist=n1"] });
      await runs(engine, job, "n1");
      killSlurmd("n1");
      // n3 is the other job's.
      scontrol("update", "nodename=n1", "state=down", "reason=test");
      scontrol("update", `jobid=${job}`, "reqnodelist=n2");
      beginSoon(job);
      await eventually("its next run", 150, () => fieldOf(job, "JobState") === "RUNNING" && hostOf(job) !== "n1");
      expect(hostOf(job)).toBe("n2");
      await runs(engine, job, "n2", `${job}-r1`);
      // Nobody has told n1's: the two live side by side.
      expect(containersOn(engine, "n1")).toHaveLength(1);
      startSlurmd("n1");
      await eventually("n1 is back", 60, () => nodeState("n1") === "IDLE");
      await nothingLeftOn(engine, "n1", 60);
      expect(containersOn(engine, "n2")).toHaveLength(1);
      scontrolCancel(job);
      await ended(job);
      await nothingLeftOn(engine, "n2");
    },
  );

  test.each(limits)("%s: nothing is left", async () => {
    expect((await ended(limited, 180)).state).toBe("TIMEOUT");
    await nothingLeftOn(engine, "n3");
    expect(outputOf(limited, "n3")).toContain(`running ${limited}\n`);
    expect(outputOf(limited, "n3")).toContain("DUE TO TIME LIMIT");
  });
});

describe("a job of two hosts", () => {
  let uninstall = async (): Promise<void> => undefined;
  afterAll(async () => await uninstall());
  beforeAll(async () => {
    uninstall = await installExamples(HOST_DOCKER);
    for (const host of ["n1", "n2"] as const) loadInto(HOST_DOCKER, host, "debian");
  });

  const everywhere = `gangway run --everywhere -i ${IMAGES.debian} -- sh -c 'echo running $(hostname); exec sleep 600'`;
  const words = ["--nodes=2", "--nodelist=n[1-2]"];

  async function begin(): Promise<string> {
    const job = await sbatch(everywhere, { words });
    await eventually(
      "the commands",
      60,
      () => /running n1\n/.test(outputOf(job, "n1")) && /running n2\n/.test(outputOf(job, "n1")),
    );
    return job;
  }

  test("scancel: nothing is left on either", async () => {
    const job = await begin();
    scontrolCancel(job);
    expect((await ended(job)).state).toBe("CANCELLED");
    for (const host of ["n1", "n2"] as const) await nothingLeftOn(HOST_DOCKER, host);
  });

  test("all its processes killed at once, on both: nothing is left on either", async () => {
    const job = await begin();
    scontrolCancel("--signal=KILL", "--full", job);
    await ended(job);
    for (const host of ["n1", "n2"] as const) await nothingLeftOn(HOST_DOCKER, host, 60);
  });

  test("a directive's containers are on both, and entered from the batch script and its steps", async () => {
    // Also as Shifter's users have it: each task of a step in the instance of its host.
    const tasks =
      "srun -N2 -n2 gangway shifter sh -c 'echo $GANGWAY_JOB_ID $GANGWAY_NODE' | sed s/$GANGWAY_JOB_ID/in/ | sort";
    const script = `for node in n1 n2; do gangway ssh $GANGWAY_JOB_ID.$node hostname; done; ${tasks}`;
    const job = await sbatch(script, { words: [...words, `--comment=gangway: image=${IMAGES.debian}`] });
    const end = await ended(job);
    expect({ ...end, output: outputOf(job, "n1") }).toEqual({
      state: "COMPLETED",
      exit: "0:0",
      output: "n1\nn2\nin n1\nin n2\n",
    });
    for (const host of ["n1", "n2"] as const) await nothingLeftOn(HOST_DOCKER, host);
  });
});

afterAll(() => {
  startSlurmd("n1");
});

/** Slurm lets a job that it begins anew wait for two minutes. */
function beginSoon(job: string): void {
  scontrol("update", `jobid=${job}`, "starttime=now");
}

function nodeState(host: ComputeHost): string {
  return /\bState=([A-Z]+)(?=[ \n])/.exec(scontrol("show", "node", host))?.[1] ?? "";
}

function scontrolCancel(...words: string[]): void {
  asRoot("ctl", ["scancel", ...words]);
}

/** As a crash of the daemon: its steps go on. */
function killSlurmd(host: ComputeHost): void {
  process.kill(Number(asRoot(host, ["cat", "/run/slurmd.pid"])), "SIGKILL");
  // A dead process that nobody has waited for yet would be taken for one that runs.
  asRoot(host, ["rm", "-f", "/run/slurmd.pid"]);
}

/** By the rig, which starts what is not running. */
function startSlurmd(host: ComputeHost): void {
  asRoot(host, [
    "sh",
    "-c",
    `pgrep -F /run/slurmd.pid >/dev/null 2>&1 || setsid --fork slurmd -D -N ${host} >>${join(CLUSTER_PLACE, "log", `slurmd-${host}.log`)} 2>&1 </dev/null`,
  ]);
}
