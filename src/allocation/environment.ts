import type { ManagerName } from "./allocation.ts";

/** A variable of the allocation's environment. */
export type Variable = readonly [name: string, value: string];

/** What of a manager's environment the job's command and sessions get. */
export interface AllocationEnvironment {
  /** Whose it is; undefined: no manager's, and there is nothing to hand on. */
  readonly manager: ManagerName | undefined;
  /** The same on every node: as the launcher has it. */
  readonly shared: readonly Variable[];
  /** Of one node: as a process that the manager started there has it. */
  readonly node: readonly Variable[];
  /** The directory that the manager made for the job on this node, where it names one. */
  readonly scratch?: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Which of a manager's variables are handed on. */
interface Family {
  /** What the manager documents as a job's environment. */
  readonly kept: RegExp;
  /** Of these, what must not be handed on. */
  readonly withheld?: RegExp;
  /** Of these, what differs from node to node. */
  readonly node?: RegExp;
  /** Of these, the paths of files with a line a slot: `/var/hostsfile` is such a file, theirs is not in the container. */
  readonly hostsfile?: RegExp;
  /** The variable with the job's own directory, before TMPDIR. */
  readonly scratch?: string;
}

/** The numbers of threads that HTCondor sets (its setting STARTER_NUM_THREADS_ENV_VARS). */
const THREADS =
  "CUBACORES|GOMAXPROCS|JULIA_NUM_THREADS|MKL_NUM_THREADS|NUMEXPR_NUM_THREADS|OMP_NUM_THREADS|OMP_THREAD_LIMIT|OPENBLAS_NUM_THREADS|PYTHON_CPU_COUNT|ROOT_MAX_THREADS|TF_LOOP_PARALLEL_ITERATIONS|TF_NUM_THREADS";

/**
 * By the managers' manuals: sbatch(1) and srun(1), "OUTPUT ENVIRONMENT VARIABLES"; flux-environment(7); HTCondor, "Services
 * for Running Jobs"; qsub(1B) of PBS; LSF, "Environment variables"; oarsub(1); qsub(1) of Grid Engine.
 *
 * What a library takes as the sign that it was started by the manager's own launcher is withheld: it would look for a PMI
 * server that is not there. So are variables of the launcher's own step, which is not the job, and paths of programs and
 * sockets of the host.
 */
const FAMILIES: Readonly<Record<ManagerName, Family>> = {
  slurm: {
    kept: /^(SLURM_.*|SLURMD_NODENAME)$/,
    withheld:
      /^SLURM_(STEP(_.*|ID|MGR)|SRUN_.*|PMI.*|MPI_.*|LAUNCH_NODE_IPADDR|TASK_PID|GTIDS|CPU_BIND.*|MEM_BIND.*|PRIO_PROCESS|UMASK|RLIMIT_.*|SPANK_.*)$/,
    node: /^(SLURMD_NODENAME|SLURM_(NODEID|PROCID|LOCALID|CPUS_ON_NODE|GPUS_ON_NODE|SHARDS_ON_NODE|JOB_GPUS|TOPOLOGY_ADDR(_PATTERN)?))$/,
  },
  // Without FLUX_JOB_ID: by it Open MPI 4 thinks itself started by Flux, and its mpirun crashes.
  flux: {
    kept: /^FLUX_(JOB_(SIZE|NNODES|CC|TMPDIR)|TASK_(RANK|LOCAL_ID))$/,
    node: /^FLUX_(JOB_TMPDIR|TASK_.*)$/,
    scratch: "FLUX_JOB_TMPDIR",
  },
  // Every other `_CONDOR_NAME` would be a setting of HTCondor's programs.
  htcondor: {
    kept: new RegExp(
      `^(_CONDOR_(SCRATCH_DIR|SLOT|JOB_AD|MACHINE_AD|JOB_IWD|AssignedGPUs)|BATCH_SYSTEM|CondorVersion|${THREADS})$`,
    ),
    node: /./,
    scratch: "_CONDOR_SCRATCH_DIR",
  },
  pbs: {
    kept: /^(PBS_.*|NCPUS|OMP_NUM_THREADS)$/,
    withheld: /^PBS_(MOMPORT|EXEC|HOME|CONF_FILE|.*_SOCK.*)$/,
    node: /^(PBS_(NODENUM|TASKNUM|VNODENUM)|NCPUS|OMP_NUM_THREADS)$/,
    hostsfile: /^PBS_NODEFILE$/,
    scratch: "PBS_JOBDIR",
  },
  lsf: {
    kept: /^(LSB_.*|LS_SUBCWD)$/,
    withheld: /^LSB_(.*RANK.*FILE|AFFINITY_HOSTFILE|JOBFILENAME|EXEC_.*|EEXEC_.*|PJL_.*|TRAPSIGS|CHKFILENAME)$/,
    hostsfile: /^LSB_DJOB_HOSTFILE$/,
  },
  oar: {
    kept: /^OAR_.*$/,
    withheld: /^OAR_(JOB_KEY.*|.*_PROPERTIES_FILE)$/,
    hostsfile: /^OAR_(NODE_?FILE|FILE_NODES|RESOURCE_FILE)$/,
  },
  sge: {
    kept: /^(SGE_(TASK_.*|O_.*|CELL|CLUSTER_NAME|HGR_.*|SGR_.*)|JOB_(ID|NAME)|NSLOTS|NHOSTS|NQUEUES|QUEUE|PE|ARC|REQUEST|RESTARTED|ENVIRONMENT)$/,
    node: /^SGE_HGR_.*$/,
  },
};

/** Which accelerators are the job's, under any manager (CUDA, ROCm, HIP, OpenCL, oneAPI). */
const ACCELERATORS =
  /^(CUDA_VISIBLE_DEVICES|ROCR_VISIBLE_DEVICES|HIP_VISIBLE_DEVICES|GPU_DEVICE_ORDINAL|ZE_AFFINITY_MASK)$/;

/** Names by which a secret would go along; an engine keeps environments on disk, and shows them to whoever may ask it. */
const SECRET = /TOKEN|JWT|PASSW|SECRET|COOKIE|CREDENTIAL|(^|_)KEY(_|$)/i;

/** Directories that everybody has: none of them is the job's own by its name. */
const EVERYBODYS = /^\/+(tmp|var\/tmp|dev\/shm)?\/*$/;

/**
 * What of a process's environment is the allocation's, and is handed on to the job's command and sessions. Values are kept
 * exactly, line breaks and all.
 *
 * @param manager whose job it is; undefined: nobody's
 * @param env of the launcher, or of the node's own process
 * @param hostsfile where the container has its file with a line a slot
 */
export function allocationEnvironment(
  manager: ManagerName | undefined,
  env: Environment,
  hostsfile: string,
): AllocationEnvironment {
  if (manager === undefined) return { manager, shared: [], node: [] };
  const family = FAMILIES[manager];
  const shared: Variable[] = [];
  const node: Variable[] = [];
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined || !isKept(family, name)) continue;
    const ofTheNode = ACCELERATORS.test(name) || family.node?.test(name) === true;
    (ofTheNode ? node : shared).push([name, family.hostsfile?.test(name) === true ? hostsfile : value]);
  }
  const scratch = scratchOf(family, env);
  return { manager, shared, node, ...(scratch === undefined ? {} : { scratch }) };
}

/**
 * The same allocation's environment on another node.
 *
 * @param env of the process that the manager started there
 */
export function onNode(
  { manager, shared }: AllocationEnvironment,
  env: Environment,
  hostsfile: string,
): AllocationEnvironment {
  return { ...allocationEnvironment(manager, env, hostsfile), shared };
}

/** Whether a variable is never handed on to a job, whichever manager's it is. */
export function isWithheld(name: string): boolean {
  return SECRET.test(name) || Object.values(FAMILIES).some(({ withheld }) => withheld?.test(name) === true);
}

function isKept({ kept, withheld }: Family, name: string): boolean {
  if (ACCELERATORS.test(name)) return true;
  return kept.test(name) && withheld?.test(name) !== true && !SECRET.test(name);
}

function scratchOf(family: Family, env: Environment): string | undefined {
  const path = (family.scratch === undefined ? undefined : env[family.scratch]) ?? env.TMPDIR ?? "";
  return path.startsWith("/") && !EVERYBODYS.test(path) ? path : undefined;
}
