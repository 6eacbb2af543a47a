import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseCounts } from "../../src/allocation/counts.ts";
import { allocationIn, complaint, nodesOf } from "./allocation-surroundings.ts";

const job = { SLURM_JOB_ID: "1234", SLURM_JOB_NODELIST: "n[1-3]", SLURM_TASKS_PER_NODE: "2(x2),1" };

describe("a Slurm job", () => {
  it("has the nodes of its list, a slot a task", () => {
    const allocation = allocationIn("slurm", { ...job, SLURMD_NODENAME: "n1", SLURM_JOB_CPUS_PER_NODE: "8(x3)" });
    expect(allocation).toMatchObject({ manager: "slurm", job: { id: "1234", restarts: 0 }, here: "n1" });
    expect(nodesOf(allocation)).toEqual(["n1/2", "n2/2", "n3/1"]);
    expect(allocation.nodes.map(({ index }) => index)).toEqual([0, 1, 2]);
  });

  it("has a slot a cpu where nothing is said of tasks, and one where nothing is said at all", () => {
    const env = { SLURM_JOB_ID: "1234", SLURM_JOB_NODELIST: "n[1-3]" };
    expect(nodesOf(allocationIn("slurm", { ...env, SLURM_JOB_CPUS_PER_NODE: "8,4(x2)" }))).toEqual([
      "n1/8",
      "n2/4",
      "n3/4",
    ]);
    expect(nodesOf(allocationIn("slurm", env))).toEqual(["n1/1", "n2/1", "n3/1"]);
  });

  it("does not take a step's tasks for the job's", () => {
    const step = { ...job, SLURM_STEP_ID: "0", SLURM_TASKS_PER_NODE: "1", SLURM_JOB_CPUS_PER_NODE: "4(x3)" };
    expect(nodesOf(allocationIn("slurm", step))).toEqual(["n1/4", "n2/4", "n3/4"]);
  });

  it("is asked by the older names, too", () => {
    expect(nodesOf(allocationIn("slurm", { SLURM_JOB_ID: "1", SLURM_NODELIST: "n7" }))).toEqual(["n7/1"]);
  });

  it("of an array is called by the array's id and the task's", () => {
    const array = { ...job, SLURM_JOB_ID: "1240", SLURM_ARRAY_JOB_ID: "1234", SLURM_ARRAY_TASK_ID: "7" };
    expect(allocationIn("slurm", array).job?.id).toBe("1234_7");
  });

  it("that was requeued says how often", () => {
    expect(allocationIn("slurm", { ...job, SLURM_RESTART_COUNT: "2" }).job).toEqual({ id: "1234", restarts: 2 });
  });

  const het = {
    SLURM_HET_SIZE: "2",
    SLURM_JOB_ID_HET_GROUP_0: "1234",
    SLURM_JOB_ID_HET_GROUP_1: "1235",
    SLURM_JOB_NODELIST_HET_GROUP_0: "n1",
    SLURM_JOB_NODELIST_HET_GROUP_1: "big[1-2],n1",
    SLURM_TASKS_PER_NODE_HET_GROUP_0: "1",
    SLURM_TASKS_PER_NODE_HET_GROUP_1: "4(x2),3",
  };

  it("of several components has the nodes of all, in the script of the first", () => {
    const allocation = allocationIn("slurm", { ...het, SLURM_JOB_ID: "1234", SLURM_JOB_NODELIST: "n1" });
    expect(allocation.job?.id).toBe("1234");
    expect(nodesOf(allocation)).toEqual(["n1/4", "big1/4", "big2/4"]);
  });

  it("that is a component is called by the leader's id and its place", () => {
    const own = { SLURM_JOB_ID: "1235", SLURM_JOB_NODELIST: "big[1-2]" };
    for (const env of [
      { ...het, ...own },
      { ...own, SLURM_HET_JOB_ID: "1234", SLURM_HET_JOB_OFFSET: "1" },
      { ...het, ...own, SLURM_HET_JOB_ID: "1234" },
    ]) {
      expect(allocationIn("slurm", env).job?.id).toBe("1234+1");
      expect(nodesOf(allocationIn("slurm", env))).toEqual(["big1/1", "big2/1"]);
    }
  });

  it.each([
    [{ SLURM_JOB_NODELIST: "n[1-" }, 'SLURM_JOB_NODELIST: "n[1-": a [ without its ], at character 2'],
    [{ SLURM_JOB_NODELIST: "n1;id" }, 'SLURM_JOB_NODELIST: "n1;id"'],
    [{ SLURM_JOB_NODELIST: "" }, "SLURM_JOB_NODELIST: is not set"],
    [{ SLURM_JOB_ID: "12/../34" }, 'SLURM_JOB_ID: "12/../34" is not a number'],
    [{ SLURM_ARRAY_TASK_ID: "7" }, "SLURM_ARRAY_JOB_ID: is not set"],
    [{ SLURM_RESTART_COUNT: "-1" }, 'SLURM_RESTART_COUNT: "-1" is not a number'],
    [{ SLURM_TASKS_PER_NODE: "2(x2)" }, 'SLURM_TASKS_PER_NODE: "2(x2)" counts 2 of nodes, where the job has 3'],
    [{ SLURM_TASKS_PER_NODE: "2(x2),x" }, '"x" is neither a number nor one with its repeats, at character 7'],
    [{ SLURMD_NODENAME: "a b" }, 'SLURMD_NODENAME: "a b" cannot be the name of a node'],
    [{ SLURM_HET_SIZE: "1000000" }, "SLURM_HET_SIZE: 1000000 is more than 128 components"],
    [{ ...het, SLURM_JOB_ID: "9" }, "SLURM_JOB_ID: 9 is none of the heterogeneous job's components"],
  ])("is not guessed at: %j", (env, message) => {
    expect(complaint(() => allocationIn("slurm", { ...job, ...env }))).toContain(message);
  });
});

describe("parseCounts", () => {
  const where = { kind: "variable", name: "SLURM_TASKS_PER_NODE" } as const;

  it("undoes Slurm's short form, for any counts", () => {
    const runs = fc.array(fc.tuple(fc.integer({ min: 1, max: 999 }), fc.integer({ min: 1, max: 9 })), { minLength: 1 });
    fc.assert(
      fc.property(runs, (all) => {
        const text = all.map(([count, times]) => (times === 1 ? `${count}` : `${count}(x${times})`)).join(",");
        expect(parseCounts(text, where)).toEqual(all.flatMap(([count, times]) => Array<number>(times).fill(count)));
      }),
    );
  });

  it.each(["", "2,", "0", "2(x0)", "2(3)", "2(x3", "-1", "2 (x3)", "1(x999999)", "1(x60000),1(x60000)", "70000"])(
    "refuses %j",
    (text) => {
      expect(complaint(() => parseCounts(text, where))).toContain("SLURM_TASKS_PER_NODE: ");
    },
  );
});
