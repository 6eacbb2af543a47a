import { type Allocation, sameHost } from "../allocation/allocation.ts";
import { UsageError } from "../config/errors.ts";

/**
 * Whether a launch needs processes on other hosts: it has several, or one that is not this.
 *
 * @param own this machine's name
 */
export function needsOthers({ manager, nodes, here = "" }: Allocation, own: string): boolean {
  if (manager === "virtual") return false;
  const [head] = nodes;
  return nodes.length > 1 || (head !== undefined && !sameHost(head.name, here === "" ? own : here));
}

/**
 * Refuses a launch that a manager's launcher has started several times over: each call starts all nodes by itself.
 *
 * @param env the environment of the launcher
 * @throws UsageError that says what to call instead
 */
export function refuseTasks({ manager }: Allocation, env: Readonly<Record<string, string | undefined>>): void {
  const tasks = Number(env.SLURM_STEP_NUM_TASKS ?? 1);
  if (manager !== "slurm" || env.SLURM_STEP_ID === undefined || !(tasks > 1)) return;
  throw new UsageError(`srun starts gangway run ${tasks} times, and each of them would start all nodes`, {
    hint: "call gangway run once, without srun; for the command on every node: --everywhere",
  });
}
