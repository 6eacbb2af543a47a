import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MANAGERS } from "../../src/allocation/allocation.ts";
import { allocationEnvironment, onNode } from "../../src/allocation/environment.ts";
import { nodeListOf } from "../../src/job/node-environment.ts";

const HOSTSFILE = "/var/hostsfile";

/** What of these variables is handed on: the names, and those that differ from node to node. */
function handedOn(manager: (typeof MANAGERS)[number], env: Readonly<Record<string, string>>) {
  const { shared, node, scratch } = allocationEnvironment(manager, env, HOSTSFILE);
  return { shared: Object.fromEntries(shared), node: Object.fromEntries(node), scratch };
}

const kept = (manager: (typeof MANAGERS)[number], names: readonly string[]) => {
  const { shared, node } = handedOn(manager, Object.fromEntries(names.map((name) => [name, "x"])));
  return Object.keys({ ...shared, ...node });
};

describe("the allocation's environment", () => {
  it("is what Slurm says of job and node, and no more", () => {
    const job = { SLURM_JOB_ID: "77", SLURM_JOB_NODELIST: "n[1-2]", SLURM_TASKS_PER_NODE: "2(x2)" };
    const node = { SLURMD_NODENAME: "n1", SLURM_NODEID: "0", SLURM_JOB_GPUS: "2", CUDA_VISIBLE_DEVICES: "0" };
    const others = { HOME: "/home/alice", LD_LIBRARY_PATH: "/x", SBATCH_ACCOUNT: "a", PBS_JOBID: "1", TMPDIR: "/tmp" };
    expect(handedOn("slurm", { ...job, ...node, ...others })).toEqual({ shared: job, node, scratch: undefined });
  });

  it("has nothing by which a program would think that srun has started it", () => {
    const signs = [
      ...["PMI_RANK", "PMI_FD", "PMIX_RANK", "PMIX_NAMESPACE", "PMI2_x", "OMPI_COMM_WORLD_RANK", "I_MPI_PMI_LIBRARY"],
      ...["SLURM_STEP_ID", "SLURM_STEPID", "SLURM_STEP_NODELIST", "SLURM_STEP_RESV_PORTS", "SLURM_SRUN_COMM_PORT"],
      ...["SLURM_SRUN_COMM_HOST", "SLURM_MPI_TYPE", "SLURM_PMI_FD", "SLURM_PMIX_MAPPING_SERV", "SLURM_PMIXP_ABORT"],
      ...["SLURM_LAUNCH_NODE_IPADDR", "SLURM_TASK_PID", "SLURM_GTIDS", "SLURM_CPU_BIND", "SLURM_CPU_BIND_LIST"],
    ];
    expect(kept("slurm", [...signs, "SLURM_PROCID"])).toEqual(["SLURM_PROCID"]);
  });

  it("leaves FLUX_JOB_ID out, by which Open MPI 4 crashes", () => {
    const flux = ["FLUX_JOB_ID", "FLUX_JOB_SIZE", "FLUX_JOB_NNODES", "FLUX_TASK_RANK", "FLUX_URI"];
    expect(kept("flux", [...flux, "FLUX_PMI_LIBRARY_PATH"])).toEqual([
      "FLUX_JOB_SIZE",
      "FLUX_JOB_NNODES",
      "FLUX_TASK_RANK",
    ]);
  });

  it("has nothing secret, nor sockets and programs of the host", () => {
    expect(kept("slurm", ["SLURM_JWT", "SLURM_SPANK_AUTH", "SLURM_API_TOKEN", "SLURM_X_PASSWORD"])).toEqual([]);
    expect(kept("pbs", ["PBS_JOBCOOKIE", "PBS_MOMPORT", "PBS_EXEC", "PBS_QUEUE"])).toEqual(["PBS_QUEUE"]);
    expect(kept("oar", ["OAR_JOB_KEY_FILE", "OAR_PROJECT_NAME"])).toEqual(["OAR_PROJECT_NAME"]);
    expect(kept("htcondor", ["_CONDOR_CREDS", "_CONDOR_SEC_DEFAULT", "X509_USER_PROXY", "_CONDOR_SLOT"])).toEqual([
      "_CONDOR_SLOT",
    ]);
  });

  it("names the file with a line a slot where it lies in the container", () => {
    const file = "/var/spool/nodes/77";
    expect(handedOn("pbs", { PBS_NODEFILE: file }).shared).toEqual({ PBS_NODEFILE: HOSTSFILE });
    expect(handedOn("oar", { OAR_NODEFILE: file, OAR_NODE_FILE: file }).shared).toEqual({
      OAR_NODEFILE: HOSTSFILE,
      OAR_NODE_FILE: HOSTSFILE,
    });
    expect(handedOn("lsf", { LSB_DJOB_HOSTFILE: file }).shared).toEqual({ LSB_DJOB_HOSTFILE: HOSTSFILE });
    expect(kept("sge", ["PE_HOSTFILE", "NSLOTS"])).toEqual(["NSLOTS"]);
  });

  it("knows the job's own directory, but not the one that everybody has", () => {
    expect(handedOn("htcondor", { _CONDOR_SCRATCH_DIR: "/scratch/dir_7", TMPDIR: "/else" }).scratch).toBe(
      "/scratch/dir_7",
    );
    expect(handedOn("slurm", { TMPDIR: "/local/77" }).scratch).toBe("/local/77");
    for (const common of ["/tmp", "/tmp/", "/var/tmp", "/dev/shm", "/", "relative", ""])
      expect(handedOn("slurm", { TMPDIR: common }).scratch).toBeUndefined();
  });

  it("keeps every value exactly", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (value) => {
        expect(handedOn("slurm", { SLURM_JOB_COMMENT: value }).shared).toEqual({ SLURM_JOB_COMMENT: value });
      }),
    );
  });

  it("takes a node's own from the process on that node, and the job's from the launcher", () => {
    const launcher = { SLURM_NTASKS: "6", SLURM_NODEID: "0", SLURMD_NODENAME: "n1", TMPDIR: "/local/a" };
    const other = { SLURM_NTASKS: "3", SLURM_NODEID: "2", SLURMD_NODENAME: "n3", TMPDIR: "/local/b" };
    const given = onNode(allocationEnvironment("slurm", launcher, HOSTSFILE), other, HOSTSFILE);
    expect(given).toEqual({
      manager: "slurm",
      shared: [["SLURM_NTASKS", "6"]],
      node: [
        ["SLURM_NODEID", "2"],
        ["SLURMD_NODENAME", "n3"],
      ],
      scratch: "/local/b",
    });
  });

  it("is nothing where no manager gave the nodes", () => {
    const env = { SLURM_JOB_ID: "77", PBS_JOBID: "1", CUDA_VISIBLE_DEVICES: "0", TMPDIR: "/local/a" };
    expect(allocationEnvironment(undefined, env, HOSTSFILE)).toEqual({ manager: undefined, shared: [], node: [] });
  });

  it.each(MANAGERS)("never has a variable of the user's own (%s)", (manager) => {
    const own = [
      "HOME",
      "PATH",
      "USER",
      "SHELL",
      "LD_PRELOAD",
      "SSH_AUTH_SOCK",
      "DISPLAY",
      "HTTP_PROXY",
      "AWS_SECRET_KEY",
    ];
    expect(kept(manager, own)).toEqual([]);
  });
});

describe("GANGWAY_NODELIST", () => {
  const nodes = (names: readonly string[]) => names.map((name, index) => ({ index, name, slots: 1 }));
  const numbered = (count: number) => Array.from({ length: count }, (_, index) => `n${index + 1}`);

  it("has every name up to a hundred, and Slurm's short form of more", () => {
    expect(nodeListOf(nodes(["n1", "n2", "big"]))).toBe("n1,n2,big");
    expect(nodeListOf(nodes(numbered(100)))).toBe(numbered(100).join(","));
    expect(nodeListOf(nodes(numbered(10_000)))).toBe("n[1-10000]");
  });

  it("is not there where it would be more than a program can be started with", () => {
    const odd = Array.from({ length: 10_000 }, (_, index) => `${(index * 7919).toString(36)}x${"y".repeat(12)}`);
    expect(nodeListOf(nodes(odd))).toBeUndefined();
  });
});
