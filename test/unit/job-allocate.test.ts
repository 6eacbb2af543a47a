import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MANAGERS, sameHost } from "../../src/allocation/allocation.ts";
import { detectManager } from "../../src/allocation/detect.ts";
import { GangwayError, JobTakenError, UsageError } from "../../src/config/errors.ts";
import { callerIdentity } from "../../src/config/identity.ts";
import { allocate, surroundingsOf } from "../../src/job/allocate.ts";
import { underFreeId } from "../../src/job/free-id.ts";
import { launchIds } from "../../src/job/id.ts";
import { needsOthers, refuseTasks } from "../../src/job/spread.ts";
import { isJobId } from "../../src/udi/names.ts";
import { nodesOf, surroundings } from "./allocation-surroundings.ts";

const slurm = { SLURM_JOB_ID: "1234", SLURM_JOB_NODELIST: "n1", SLURM_TASKS_PER_NODE: "4" };
const auto = { wlm: "auto", slots: 2 } as const;

/** What is thrown, with its hint, as one text. */
function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (!(error instanceof GangwayError)) throw error;
    return `${error.message}; ${error.hint}`;
  }
  throw new Error("it was not refused");
}

describe("the workload manager", () => {
  const marks = {
    flux: { FLUX_JOB_ID: "f1" },
    slurm: { SLURM_JOB_ID: "1" },
    htcondor: { _CONDOR_JOB_AD: "/x" },
    pbs: { PBS_JOBID: "1" },
    lsf: { LSB_JOBID: "1" },
    oar: { OAR_JOB_ID: "1", OAR_NODEFILE: "/x" },
    sge: { JOB_ID: "1", SGE_TASK_ID: "undefined" },
  };

  it("is known by its variables, the earlier in the list before the later", () => {
    for (const [place, name] of MANAGERS.entries()) {
      const all = Object.assign({}, ...MANAGERS.slice(place).map((later) => marks[later])) as Record<string, string>;
      expect(detectManager("auto", surroundings(marks[name]))?.name).toBe(name);
      expect(detectManager("auto", surroundings(all))?.name).toBe(name);
    }
  });

  it("is nobody in a plain shell, where a variable is empty, and where only half of the marks are there", () => {
    expect(detectManager("auto", surroundings({ PATH: "/bin" }))).toBeUndefined();
    expect(detectManager("auto", surroundings({ SLURM_JOB_ID: "" }))).toBeUndefined();
    expect(detectManager("auto", surroundings({ JOB_ID: "7" }))).toBeUndefined();
    expect(detectManager("none", surroundings(slurm))).toBeUndefined();
  });

  it("that is named is asked before all others, and has to be there", () => {
    expect(detectManager("pbs", surroundings({ ...slurm, PBS_JOBID: "1" }))?.name).toBe("pbs");
    const named = refusal(() => detectManager("pbs", surroundings(slurm)));
    expect(named).toMatch(/PBS_JOBID: is not set, so this is no job of PBS.*--wlm none/);
  });
});

describe("sameHost", () => {
  it.each([
    ["n1", "n1", true],
    ["n1", "N1.example.org", true],
    ["n1.example.org", "n1", true],
    ["n1.example.org", "n1.example.net", false],
    ["n1", "n10", false],
    ["n1", "n1-x.example.org", false],
  ])("%s and %s: %s", (one, other, same) => {
    expect(sameHost(one, other)).toBe(same);
  });
});

describe("a launch's nodes", () => {
  it("are one virtual node where nobody says anything", () => {
    expect(allocate(auto, surroundings({}))).toEqual({
      manager: "virtual",
      nodes: [{ index: 0, name: "node1", slots: 2 }],
    });
  });

  it("are the manager's, where that is this machine alone, with the manager's id", () => {
    const allocation = allocate(auto, surroundings(slurm));
    expect(allocation).toMatchObject({ manager: "slurm", job: { id: "1234" } });
    expect(nodesOf(allocation)).toEqual(["n1/4"]);
  });

  it("are known by the manager's name for this machine, where it says one", () => {
    const renamed = { ...slurm, SLURM_JOB_NODELIST: "alias7", SLURMD_NODENAME: "alias7" };
    expect(nodesOf(allocate(auto, surroundings(renamed)))).toEqual(["alias7/4"]);
  });

  it("are virtual ones of the manager's job, where a number was said, whatever nodes that has", () => {
    const allocation = allocate({ ...auto, virtual: 2 }, surroundings({ ...slurm, SLURM_JOB_NODELIST: "n[1-9]" }));
    expect(allocation).toMatchObject({ manager: "virtual", job: { id: "1234" } });
    expect(nodesOf(allocation)).toEqual(["node1/2", "node2/2"]);
  });

  it("have nothing of a manager's with --wlm none", () => {
    expect(allocate({ ...auto, wlm: "none" }, surroundings({ SLURM_JOB_ID: "]", SLURM_JOB_NODELIST: "[" }))).toEqual({
      manager: "virtual",
      nodes: [{ index: 0, name: "node1", slots: 2 }],
    });
  });

  it("are all of a manager's; only where that is this machine alone is no process on another needed", () => {
    const own = surroundings({}).hostname;
    const needs = (env: Record<string, string>) => needsOthers(allocate(auto, surroundings(env)), own);
    expect(needs(slurm)).toBe(false);
    expect(needs({ ...slurm, SLURM_JOB_NODELIST: "alias7", SLURMD_NODENAME: "alias7" })).toBe(false);
    expect(needs({})).toBe(false);
    expect(needs({ ...slurm, SLURM_JOB_NODELIST: "n7" })).toBe(true);
    expect(needs({ SLURM_JOB_ID: "1234", SLURM_JOB_NODELIST: "n[0001-9999]" })).toBe(true);
  });

  it("are started once: srun in front of gangway run is refused", () => {
    const allocation = allocate(auto, surroundings({ SLURM_JOB_ID: "1234", SLURM_JOB_NODELIST: "n[1-2]" }));
    const step = { SLURM_STEP_ID: "0", SLURM_STEP_NUM_TASKS: "2" };
    expect(() => refuseTasks(allocation, step)).toThrow("srun starts gangway run 2 times");
    expect(() => refuseTasks(allocation, { ...step, SLURM_STEP_NUM_TASKS: "1" })).not.toThrow();
    expect(() => refuseTasks(allocation, {})).not.toThrow();
  });

  it("are those of a list or a file", () => {
    expect(nodesOf(allocate({ ...auto, hosts: "n1,n1" }, surroundings({})))).toEqual(["n1/2"]);
    const files = { "hosts.txt": "# ours\nn1 slots=3 # many\n\nn1:2\nn1\n" };
    expect(nodesOf(allocate({ ...auto, hostfile: "hosts.txt" }, surroundings({}, files)))).toEqual(["n1/6"]);
    expect(nodesOf(allocate({ ...auto, hosts: "n[1-3]" }, surroundings({})))).toEqual(["n1/1", "n2/1", "n3/1"]);
  });

  it.each(["n1 n2", "n1 slots=", "n1 slots=0", "n1 4", "n1:x", "n1:2 slots=2", "=4", "n1;x"])(
    "are not guessed at from a line %j",
    (line) => {
      const read = () => allocate({ ...auto, hostfile: "h" }, surroundings({}, { h: `n1\n${line}\n` }));
      expect(read).toThrow(UsageError);
      expect(read).toThrow('--hostfile "h": line 2: ');
    },
  );

  it.each([
    [{ hosts: "" }, "--hosts: names no node; name at least one, such as n[01-04],big7"],
    [
      { hostfile: "/nonexistent/hosts" },
      '--hostfile: "/nonexistent/hosts" cannot be read: no such file or directory; name a file that you can read',
    ],
  ])("are asked for where %j names none", (named, complaint) => {
    const read = () => allocate({ ...auto, ...named }, surroundingsOf(callerIdentity()));
    expect(read).toThrow(UsageError);
    expect(refusal(read)).toContain(complaint);
  });

  it("are named in one way", () => {
    expect(() => allocate({ ...auto, hosts: "n1", virtual: 1 }, surroundings({}))).toThrow(UsageError);
    expect(() => allocate({ ...auto, hosts: "n1", hostfile: "h" }, surroundings({}))).toThrow(UsageError);
  });
});

describe("the ids of a manager's job", () => {
  const first = (count: number, job: { id: string; restarts: number }): string[] => {
    const ids = launchIds(job);
    return Array.from({ length: count }, () => ids.next().value);
  };

  it("are its own, then numbered; what was begun anew is another job", () => {
    expect(first(3, { id: "1234_7", restarts: 0 })).toEqual(["1234_7", "1234_7-2", "1234_7-3"]);
    expect(first(2, { id: "1234", restarts: 2 })).toEqual(["1234-r2", "1234-r2-2"]);
    expect(first(2, { id: "32.0", restarts: 0 })).toEqual(["32.0", "32.0-2"]);
  });

  it("are ids of jobs, whatever the manager's is", () => {
    for (const id of ["1234", "1234_7", "1234+1", "f2oQiNwKXqGR"]) {
      for (const restarts of [0, 1, 12])
        for (const launch of first(12, { id, restarts })) expect(isJobId(launch)).toBe(true);
    }
    for (const launch of first(12, { id: "32.0", restarts: 0 })) expect(isJobId(launch)).toBe(true);
  });

  let base: string;
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), "gangway-unit-"));
  });
  afterEach(() => rmSync(base, { recursive: true }));

  it("are given out to launches that run at once, each its own, also at the same instant", async () => {
    const identity = callerIdentity();
    mkdirSync(join(base, "1234"));
    const launch = () =>
      underFreeId(launchIds({ id: "1234", restarts: 0 }), [base], identity, async (id) => {
        await Promise.resolve();
        try {
          mkdirSync(join(base, id));
        } catch (error) {
          throw new JobTakenError(`there is a job "${id}" already`, { cause: error });
        }
        return id;
      });
    const ids = await Promise.all([launch(), launch(), launch(), launch()]);
    expect(ids.toSorted()).toEqual(["1234-2", "1234-3", "1234-4", "1234-5"]);
  });

  it("do not stand in for one that the user chose", async () => {
    mkdirSync(join(base, "mine"));
    const launch = underFreeId(["mine"], [base], callerIdentity(), (id) => Promise.resolve(id));
    await expect(launch).rejects.toThrow(JobTakenError);
  });
});
