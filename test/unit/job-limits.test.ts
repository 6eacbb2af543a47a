import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseCpuList } from "../../src/allocation/cpu-list.ts";
import { stepCgroupOf } from "../../src/allocation/step-cgroup.ts";
import { UsageError } from "../../src/config/errors.ts";
import type { ContainerLimits } from "../../src/engine/types.ts";
import { type PlacingEngine, placeIn, wayOf } from "../../src/job/limits.ts";
import { type Step, stepOf } from "../../src/job/step.ts";
import { surroundings } from "./allocation-surroundings.ts";

const LIMITS = `Limit                     Soft Limit           Hard Limit           Units
Max stack size            8388608              unlimited            bytes
Max open files            1024                 4096                 files
Max locked memory         65536                65536                bytes
`;
const GROUP = "/slurm/uid_1/job_7/step_0";

/** What the kernel says in a step of one cpu and 300 MiB on a machine of four. */
function kernel(changes: Readonly<Record<string, string>> = {}) {
  const files: Readonly<Record<string, string>> = {
    "/proc/self/cgroup": "0::/\n",
    "/proc/self/status": "Cpus_allowed_list:\t2\n",
    "/sys/devices/system/cpu/online": "0-3\n",
    "/proc/self/limits": LIMITS,
    "/proc/sys/kernel/pid_max": "32768\n",
    "/proc/self/mountinfo":
      "1 0 0:1 / /c/memory rw - cgroup cgroup rw,memory\n2 0 0:2 / /c/unified rw - cgroup2 cgroup2 rw\n",
    [`/c/memory${GROUP}/memory.stat`]: "cache 0\nhierarchical_memory_limit 314572800\n",
    ...changes,
  };
  return (path: string) => files[path];
}
const ONE_CPU = { SLURM_JOB_ID: "7", SLURMD_NODENAME: "n1", SLURM_CPUS_ON_NODE: "1", SLURM_MEM_PER_NODE: "300" };
const CGROUPS = `4:memory:${GROUP}/task_0\n3:cpuset:${GROUP}\n0::/\n`;

function step(changes: Partial<Step> = {}): Step {
  const cgroup = stepCgroupOf([
    { version: 1, controllers: ["memory"], path: `${GROUP}/task_0` },
    { version: 1, controllers: ["cpuset"], path: GROUP },
  ]);
  return {
    manager: "Slurm",
    ...(cgroup === undefined ? {} : { cgroup }),
    cpuset: [2],
    cpus: 1,
    memoryBytes: 300 << 20,
    ulimits: [{ name: "nofile", soft: 1024, hard: 4096 }],
    shared: true,
    gpus: [],
    ...changes,
  };
}

const NOTHING: ContainerLimits = { ulimits: [] };
const DOCKER: PlacingEngine = { kind: "docker", rootless: false, cgroupVersion: 1, cgroupDriver: "cgroupfs" };
const COPIED = { rootless: false, containers: 1 };

describe("the step that a process is in", () => {
  test("is told by the manager's variables and by the cgroups", () => {
    expect(stepOf(surroundings(ONE_CPU), kernel({ "/proc/self/cgroup": CGROUPS }))).toMatchObject({
      manager: "Slurm",
      cgroup: { parent: GROUP },
      cpuset: [2],
      cpus: 1,
      memoryBytes: 300 << 20,
      ulimits: [
        { name: "memlock", soft: 65_536, hard: 65_536 },
        { name: "nofile", soft: 1024, hard: 4096 },
        { name: "stack", soft: 8_388_608, hard: -1 },
      ],
      shared: true,
    });
  });

  test("is one by the cgroups alone: a login that pam_slurm_adopt took in has no variables", () => {
    expect(stepOf(surroundings({}), kernel({ "/proc/self/cgroup": CGROUPS }))).toMatchObject({
      manager: "the workload manager",
      memoryBytes: 300 << 20,
    });
  });

  test("is one by the variables alone, where the manager makes no cgroups", () => {
    const found = stepOf(surroundings(ONE_CPU), kernel({ "/proc/self/status": "Cpus_allowed_list:\t0-3\n" }));
    expect(found).toMatchObject({ cpus: 1, memoryBytes: 300 << 20, shared: true });
    expect(found?.cpuset).toBeUndefined();
    expect(found?.cgroup).toBeUndefined();
  });

  test("has the soft limit of open files that its caller has, since Node.js has raised our own", () => {
    const files = (soft: string) => LIMITS.replace("1024  ", soft.padEnd(6));
    const changes = {
      "/proc/self/status": "PPid:\t9\nUid:\t1 1 1 1\nCpus_allowed_list:\t2\n",
      "/proc/self/limits": files("4096"),
      "/proc/9/limits": files("512"),
    };
    const found = (uid: string) =>
      stepOf(surroundings(ONE_CPU), kernel({ ...changes, "/proc/9/status": `Uid:\t${uid}\n` }))?.ulimits.find(
        ({ name }) => name === "nofile",
      );
    expect(found("1 1 1 1")).toEqual({ name: "nofile", soft: 512, hard: 4096 });
    // The manager's own process: nothing of the user's can be told by its limits.
    expect(found("0 0 0 0")).toEqual({ name: "nofile", soft: 4096, hard: 4096 });
  });

  test("is not shared where it has every cpu", () => {
    const all = { ...ONE_CPU, SLURM_CPUS_ON_NODE: "4" };
    const found = stepOf(surroundings(all), kernel({ "/proc/self/status": "Cpus_allowed_list:\t0-3\n" }));
    expect(found).toMatchObject({ shared: false });
    expect(found?.cpus).toBeUndefined();
  });

  test("has the least memory that any group of version 2 above it has", () => {
    const scope = "/s/slurmstepd.scope/job_5";
    const found = stepOf(
      surroundings({}),
      kernel({
        "/proc/self/cgroup": `0::${scope}/step_0/user/task_0\n`,
        [`/c/unified${scope}/step_0/user/memory.max`]: "max\n",
        [`/c/unified${scope}/memory.max`]: "1048576\n",
        [`/c/unified${scope}/step_0/memory.max`]: "2097152\n",
      }),
    );
    expect(found?.memoryBytes).toBe(1_048_576);
  });

  test("is none where no manager is", () => {
    expect(stepOf(surroundings({}), kernel())).toBeUndefined();
  });
});

describe("the way to keep a container in a step", () => {
  test("is a cgroup below the step's where root's engine makes cgroups where it is told to", () => {
    expect(wayOf(step(), NOTHING, DOCKER, "auto")).toBe("below");
    expect(wayOf(step(), { ...NOTHING, cgroupParent: `${GROUP}/mine` }, DOCKER, "auto")).toBe("below");
  });

  test("is a copy of the limits else", () => {
    expect(wayOf(step(), NOTHING, DOCKER, "copy")).toBe("copied");
    expect(wayOf(step(), NOTHING, { ...DOCKER, cgroupDriver: "systemd" }, "auto")).toBe("copied");
    expect(wayOf(step(), NOTHING, { ...DOCKER, cgroupVersion: 2 }, "auto")).toBe("copied");
    expect(wayOf(step(), { ...NOTHING, cgroupParent: "/elsewhere" }, DOCKER, "auto")).toBe("copied");
    const { cgroup: _, ...without } = step();
    expect(wayOf(without, NOTHING, DOCKER, "auto")).toBe("copied");
  });

  test("is an engine in the step where a rootless one cannot limit", () => {
    const podman = { ...DOCKER, kind: "podman", rootless: true } as const;
    expect(wayOf(step(), NOTHING, podman, "auto")).toBe("inside");
    expect(wayOf(step(), NOTHING, { ...podman, cgroupVersion: 2, cgroupDriver: "systemd" }, "auto")).toBe("copied");
  });
});

describe("a container's limits in a step", () => {
  test("are the cgroup's where it is below; only the ulimits are copied", () => {
    const { limits, held, notes } = placeIn(step(), NOTHING, "below", COPIED);
    expect(limits).toEqual({ cgroupParent: GROUP, ulimits: [{ name: "nofile", soft: 1024, hard: 4096 }] });
    expect([...held.keys()].sort()).toEqual(["cpuset", "memory"]);
    expect(notes).toEqual([]);
  });

  test("are copied for what no cgroup of the step's holds", () => {
    const cpusetAlone = stepCgroupOf([{ version: 1, controllers: ["cpuset"], path: GROUP }]);
    const { limits } = placeIn(step(cpusetAlone && { cgroup: cpusetAlone }), NOTHING, "below", COPIED);
    expect(limits).toMatchObject({ memoryBytes: 300 << 20, cgroupParent: GROUP });
    expect(limits.cpusetCpus).toBeUndefined();
  });

  test("are a copy of the step's where it is not below, in parts where containers share it", () => {
    expect(placeIn(step(), NOTHING, "copied", COPIED).limits).toEqual({
      cpusetCpus: "2",
      memoryBytes: 300 << 20,
      ulimits: [{ name: "nofile", soft: 1024, hard: 4096 }],
    });
    const { cpuset: _, ...counted } = step({ cpus: 2 });
    expect(placeIn(counted, NOTHING, "copied", { ...COPIED, containers: 4 }).limits).toMatchObject({
      nanoCpus: 5e8,
      memoryBytes: 75 << 20,
    });
  });

  test("are lowered by what the user asks for, and not raised; that is said", () => {
    const asked: ContainerLimits = {
      nanoCpus: 4e9,
      cpusetCpus: "1-2",
      memoryBytes: 1 << 30,
      ulimits: [{ name: "nofile", soft: 9000, hard: -1 }],
    };
    const { limits, notes } = placeIn(step(), asked, "below", COPIED);
    expect(limits).toEqual({
      nanoCpus: 1e9,
      cpusetCpus: "2",
      memoryBytes: 300 << 20,
      ulimits: [{ name: "nofile", soft: 4096, hard: 4096 }],
      cgroupParent: GROUP,
    });
    expect(notes).toHaveLength(4);
    expect(notes[2]).toBe("1024 MiB of memory were asked for, and Slurm gave the job 300 MiB: it gets no more");
    expect(placeIn(step(), { ...NOTHING, memoryBytes: 1 << 20 }, "copied", COPIED)).toMatchObject({
      limits: { memoryBytes: 1 << 20 },
      notes: [],
    });
  });

  test("cannot be cpus that are all another job's", () => {
    expect(() => placeIn(step(), { ...NOTHING, cpusetCpus: "0-1" }, "below", COPIED)).toThrow(UsageError);
  });

  test("never exceed the step's, whatever is asked for", () => {
    const some = <T>(values: fc.Arbitrary<T>) => fc.option(values, { nil: undefined });
    const limit = fc.oneof(fc.constant(-1), fc.nat(10_000));
    const own = { nofile: 4096, cpus: 1e9, memory: 300 << 20 };
    fc.assert(
      fc.property(
        some(fc.integer({ min: 1, max: 8e9 })),
        some(fc.integer({ min: 1, max: 2 ** 40 })),
        some(fc.constantFrom("2", "0-3", "2,3")),
        some(limit),
        fc.constantFrom("below" as const, "copied" as const),
        fc.integer({ min: 1, max: 9 }),
        (nanoCpus, memoryBytes, cpusetCpus, nofile, way, containers) => {
          const asked = {
            ...(nanoCpus === undefined ? {} : { nanoCpus }),
            ...(memoryBytes === undefined ? {} : { memoryBytes }),
            ...(cpusetCpus === undefined ? {} : { cpusetCpus }),
            ulimits: nofile === undefined ? [] : [{ name: "nofile", soft: nofile, hard: nofile }],
          };
          const { limits } = placeIn(step(), asked, way, { rootless: false, containers });
          expect(limits.nanoCpus ?? 0).toBeLessThanOrEqual(Math.min(own.cpus, nanoCpus ?? own.cpus));
          expect(limits.memoryBytes ?? 0).toBeLessThanOrEqual(Math.min(own.memory, memoryBytes ?? own.memory));
          if (way === "copied") expect(limits.cpusetCpus).toBe("2");
          if (way === "copied") expect(limits.memoryBytes).toBeGreaterThan(0);
          if (limits.cpusetCpus !== undefined) expect(parseCpuList(limits.cpusetCpus)).toEqual([2]);
          const [files] = limits.ulimits;
          expect(files?.hard).toBeGreaterThanOrEqual(0);
          expect(files?.hard).toBeLessThanOrEqual(own.nofile);
          expect(files?.soft).toBeLessThanOrEqual(files?.hard ?? 0);
        },
      ),
    );
  });
});
