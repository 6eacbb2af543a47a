import { fault, quote } from "../config/where.ts";
import { type AllocatedNode, type Manager, nodesOf, type Share, type Surroundings } from "./allocation.ts";
import { parseCounts } from "./counts.ts";
import { unfoldHostlist } from "./hostlist.ts";
import { number, optional, optionalNumber, parseNode, required, variable, WITHOUT_MANAGER } from "./read.ts";

/** A Slurm job's word on itself: the environment that sbatch(1), salloc(1) and srun(1) document as their output. */
export const slurm: Manager = {
  name: "slurm",
  title: "Slurm",
  marks: ["SLURM_JOB_ID"],
  job(surroundings) {
    const restarts = Number(optionalNumber(surroundings, "SLURM_RESTART_COUNT") ?? 0);
    return { id: jobId(surroundings), restarts };
  },
  nodes(surroundings) {
    const het = heterogeneous(surroundings);
    return het.kind === "whole" ? allComponents(surroundings, het.size) : nodesBehind(surroundings, "");
  },
  here(surroundings) {
    const name = optional(surroundings, "SLURMD_NODENAME");
    return name === undefined ? undefined : parseNode(name, variable("SLURMD_NODENAME"));
  },
};

/** Where a launch stands in a heterogeneous job: nowhere, over all components, or in one of them. */
type Heterogeneous =
  | { readonly kind: "none" }
  | { readonly kind: "whole"; readonly leader: string; readonly size: number }
  | { readonly kind: "component"; readonly leader: string; readonly offset: string };

/** More than Slurm has in one job (its MAX_HET_JOB_COMPONENTS is 128). */
const MOST_COMPONENTS = 128;

/**
 * The script of a heterogeneous job runs in its first component and is told all of them, with `_HET_GROUP_n` behind the
 * names; a component that is not the first is known by its own job id.
 */
function heterogeneous(surroundings: Surroundings): Heterogeneous {
  const own = number(surroundings, "SLURM_JOB_ID");
  const leader = optionalNumber(surroundings, "SLURM_HET_JOB_ID") ?? optional(surroundings, "SLURM_JOB_ID_HET_GROUP_0");
  const size = Number(optionalNumber(surroundings, "SLURM_HET_SIZE") ?? 0);
  if (size > MOST_COMPONENTS) {
    throw fault(variable("SLURM_HET_SIZE"), `${size} is more than ${MOST_COMPONENTS} components`, WITHOUT_MANAGER);
  }
  if (leader !== undefined && leader !== own) {
    return { kind: "component", leader, offset: offsetOf(surroundings, own, size) };
  }
  return size > 1 ? { kind: "whole", leader: own, size } : { kind: "none" };
}

function offsetOf(surroundings: Surroundings, own: string, size: number): string {
  const told = optionalNumber(surroundings, "SLURM_HET_JOB_OFFSET");
  if (told !== undefined) return told;
  for (let group = 1; group < size; group++) {
    if (optional(surroundings, `SLURM_JOB_ID_HET_GROUP_${group}`) === own) return String(group);
  }
  throw fault(variable("SLURM_JOB_ID"), `${own} is none of the heterogeneous job's components`, WITHOUT_MANAGER);
}

function jobId(surroundings: Surroundings): string {
  const het = heterogeneous(surroundings);
  if (het.kind === "component") return `${het.leader}+${het.offset}`;
  const task = optionalNumber(surroundings, "SLURM_ARRAY_TASK_ID");
  if (task === undefined) return number(surroundings, "SLURM_JOB_ID");
  return `${number(surroundings, "SLURM_ARRAY_JOB_ID")}_${task}`;
}

function allComponents(surroundings: Surroundings, size: number): AllocatedNode[] {
  const shares: Share[] = [];
  for (let group = 0; group < size; group++) {
    for (const { name, slots } of nodesBehind(surroundings, `_HET_GROUP_${group}`)) shares.push([name, slots]);
  }
  return nodesOf(shares, variable("SLURM_JOB_NODELIST_HET_GROUP_0"));
}

/** The nodes in the variables with this suffix. Older versions know the list by the shorter name alone. */
function nodesBehind(surroundings: Surroundings, suffix: string): AllocatedNode[] {
  const older = `SLURM_NODELIST${suffix}`;
  const usual = `SLURM_JOB_NODELIST${suffix}`;
  const useOlder = optional(surroundings, usual) === undefined && optional(surroundings, older) !== undefined;
  const name = useOlder ? older : usual;
  const names = unfoldHostlist(required(surroundings, name), variable(name));
  const slots = slotsOf(surroundings, suffix, names.length);
  return nodesOf(
    names.map((node, index) => [node, slots[index] ?? 1]),
    variable(name),
  );
}

/**
 * A slot a task, as Slurm's own MPI plugins have it; without tasks, a slot a cpu. Inside a step the tasks are the step's,
 * which may have fewer nodes than the job: then they say nothing of the job's.
 */
function slotsOf(surroundings: Surroundings, suffix: string, count: number): readonly number[] {
  const inStep = optional(surroundings, "SLURM_STEP_ID") !== undefined;
  for (const name of [`SLURM_TASKS_PER_NODE${suffix}`, `SLURM_JOB_CPUS_PER_NODE${suffix}`]) {
    const text = optional(surroundings, name);
    if (text === undefined) continue;
    const slots = parseCounts(text, variable(name));
    if (slots.length === count) return slots;
    if (inStep && name.startsWith("SLURM_TASKS")) continue;
    throw fault(
      variable(name),
      `${quote(text)} counts ${slots.length} of nodes, where the job has ${count}`,
      WITHOUT_MANAGER,
    );
  }
  return [];
}
