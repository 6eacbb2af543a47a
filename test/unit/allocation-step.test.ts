import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatCpuList, parseCpuList } from "../../src/allocation/cpu-list.ts";
import { shareOf } from "../../src/allocation/share.ts";
import {
  directoryOf,
  isBelow,
  parseCgroupMounts,
  parseCgroups,
  stepCgroupOf,
  stepGroupOf,
} from "../../src/allocation/step-cgroup.ts";
import { complaint, surroundings } from "./allocation-surroundings.ts";

const SLURM_V1 = `9:name=systemd:/
6:freezer:/slurm_n1/uid_1001/job_7/step_0
5:devices:/slurm_n1/uid_1001/job_7/step_0/task_0
4:memory:/slurm_n1/uid_1001/job_7/step_0/task_0
3:cpuset:/slurm_n1/uid_1001/job_7/step_0
2:cpu,cpuacct:/
0::/
`;

describe("lists of cpus", () => {
  test("are what the kernel writes", () => {
    expect(parseCpuList("0-3,8\n")).toEqual([0, 1, 2, 3, 8]);
    expect(formatCpuList([0, 1, 2, 3, 8])).toBe("0-3,8");
  });

  test.each(["", "a", "1-", "3-1", "0-99999", "1,,2", "-1"])("%j is none", (text) => {
    expect(parseCpuList(text)).toBeUndefined();
  });

  test("are read as they were written", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(2000), { minLength: 1 }), (cpus) => {
        const ascending = [...cpus].sort((one, other) => one - other);
        expect(parseCpuList(formatCpuList(ascending))).toEqual(ascending);
      }),
    );
  });
});

describe("/proc/self/cgroup", () => {
  test("tells the paths by controller; a named hierarchy has none", () => {
    const entries = parseCgroups("12:cpu,cpuacct:/a\n1:name=systemd:/b:c\n0::/d\nnonsense\n");
    expect(entries).toEqual([
      { controllers: ["cpu", "cpuacct"], version: 1, path: "/a" },
      { controllers: [], version: 1, path: "/b:c" },
      { controllers: [], version: 2, path: "/d" },
    ]);
  });
});

describe("a manager's cgroup", () => {
  test.each([
    ["/slurm/uid_1/job_2/step_batch/task_0", "/slurm/uid_1/job_2/step_batch"],
    ["/slurm_n1/uid_1/job_2/step_extern", "/slurm_n1/uid_1/job_2/step_extern"],
    ["/x/slurm_n1/uid_1/job_2", "/x/slurm_n1/uid_1/job_2"],
    ["/system.slice/slurmstepd.scope/job_5/step_0/user/task_0", "/system.slice/slurmstepd.scope/job_5/step_0/user"],
    [
      "/system.slice/n1_slurmstepd.scope/job_5/step_0/user/task_special",
      "/system.slice/n1_slurmstepd.scope/job_5/step_0/user",
    ],
    ["/htcondor/condor_var_lib_condor_execute_slot1_1@n1", "/htcondor/condor_var_lib_condor_execute_slot1_1@n1"],
    ["/pbs_jobs.service/jobid/12.server/child", "/pbs_jobs.service/jobid/12.server"],
    ["/lsf/cluster1/job.12.3.4", "/lsf/cluster1/job.12.3.4"],
    ["/oar/anna_12", "/oar/anna_12"],
  ])("of a process in %s is %s", (path, group) => {
    expect(stepGroupOf(path)).toBe(group);
  });

  test.each([
    "/",
    "/user.slice/user-1000.slice/session-2.scope",
    "/slurm",
    "/docker/0123",
    "/uid_1/job_2/step_0",
    "/system.slice/slurmd.service",
  ])("is not %s", (path) => {
    expect(stepGroupOf(path)).toBeUndefined();
  });
});

describe("a step's cgroups", () => {
  test("are its controllers' groups, and the parent is the one that is below all", () => {
    const step = stepCgroupOf(parseCgroups(SLURM_V1));
    expect(step?.parent).toBe("/slurm_n1/uid_1001/job_7/step_0");
    expect([...(step?.groups.keys() ?? [])].sort()).toEqual(["cpuset", "devices", "freezer", "memory"]);
    expect(step?.groups.get("memory")).toBe("/slurm_n1/uid_1001/job_7/step_0");
  });

  test("where one has the job's group alone, the parent is still below it", () => {
    const step = stepCgroupOf(parseCgroups("3:cpuset:/slurm/uid_1/job_7\n4:memory:/slurm/uid_1/job_7/step_0/task_0\n"));
    expect(step?.parent).toBe("/slurm/uid_1/job_7/step_0");
  });

  test("have no parent where no path is below all of them", () => {
    const step = stepCgroupOf(parseCgroups("3:cpuset:/slurm/uid_1/job_7/step_1\n4:memory:/slurm/uid_1/job_7/step_0\n"));
    expect(step).toMatchObject({ version: 1 });
    expect(step?.parent).toBeUndefined();
  });

  test("of version 2 have one where the processes are in a leaf below", () => {
    expect(stepCgroupOf(parseCgroups("0::/system.slice/slurmstepd.scope/job_5/step_0/user/task_0\n"))).toEqual({
      version: 2,
      groups: new Map([["unified", "/system.slice/slurmstepd.scope/job_5/step_0/user"]]),
      parent: "/system.slice/slurmstepd.scope/job_5/step_0/user",
    });
    const leaf = stepCgroupOf(parseCgroups("0::/system.slice/condor.service/condor_x_slot1@n1\n"));
    expect(leaf?.version).toBe(2);
    expect(leaf?.parent).toBeUndefined();
  });

  test("are none for what no manager started", () => {
    expect(stepCgroupOf(parseCgroups("4:memory:/user.slice\n0::/user.slice\n"))).toBeUndefined();
  });
});

test("a cgroup is below itself and what is above it, not below what its name begins with", () => {
  expect(isBelow("/a/b", "/a/b")).toBe(true);
  expect(isBelow("/a/b", "/a")).toBe(true);
  expect(isBelow("/a/b", "/")).toBe(true);
  expect(isBelow("/a/bc", "/a/b")).toBe(false);
});

test("a cgroup's directory is found where its hierarchy is mounted, as a whole or from some group on", () => {
  const mounts = parseCgroupMounts(
    [
      "30 20 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw",
      "31 30 0:27 /other /run/c\\040d/memory rw - cgroup cgroup rw,memory",
      "32 30 0:27 / /sys/fs/cgroup/memory rw shared:3 - cgroup cgroup rw,memory",
      "33 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
    ].join("\n"),
  );
  expect(directoryOf(mounts, "memory", "/slurm/job_1")).toBe("/sys/fs/cgroup/memory/slurm/job_1");
  expect(directoryOf(mounts, "memory", "/other/x")).toBe("/run/c d/memory/x");
  expect(directoryOf(mounts, "unified", "/a")).toBe("/sys/fs/cgroup/unified/a");
  expect(directoryOf(mounts, "cpuset", "/a")).toBeUndefined();
});

describe("a manager's word on a job's share", () => {
  const slurm = { SLURM_JOB_ID: "7", SLURMD_NODENAME: "n1" };

  test("of Slurm's: cpus, and memory of the node or of each cpu", () => {
    expect(shareOf(surroundings({ ...slurm, SLURM_CPUS_ON_NODE: "2", SLURM_MEM_PER_CPU: "300" }))).toEqual({
      title: "Slurm",
      cpus: 2,
      memoryBytes: 600 * 1_048_576,
    });
    expect(shareOf(surroundings({ ...slurm, SLURM_MEM_PER_NODE: "100" }))).toEqual({
      title: "Slurm",
      memoryBytes: 100 * 1_048_576,
    });
    expect(shareOf(surroundings({ ...slurm, SLURM_MEM_PER_NODE: "0" }))).toEqual({ title: "Slurm" });
  });

  test("is none in the shell of salloc, which is on no node", () => {
    expect(shareOf(surroundings({ SLURM_JOB_ID: "7", SLURM_CPUS_ON_NODE: "2" }))).toBeUndefined();
    expect(shareOf(surroundings({}))).toBeUndefined();
  });

  test("that is no number is named", () => {
    expect(complaint(() => shareOf(surroundings({ ...slurm, SLURM_CPUS_ON_NODE: "many" })))).toContain(
      "SLURM_CPUS_ON_NODE",
    );
  });

  test("of HTCondor's: the slot's, from its ad", () => {
    const env = { _CONDOR_JOB_AD: "/s/.job.ad", _CONDOR_MACHINE_AD: "/s/.machine.ad" };
    const files = { "/s/.job.ad": "ClusterId = 1\n", "/s/.machine.ad": 'Cpus = 2\nMemory = 128\nMachine = "n1"\n' };
    expect(shareOf(surroundings(env, files))).toEqual({ title: "HTCondor", cpus: 2, memoryBytes: 128 * 1_048_576 });
  });
});
