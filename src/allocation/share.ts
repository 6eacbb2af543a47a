import type { Surroundings } from "./allocation.ts";
import { detectManager } from "./detect.ts";
import { machineShare } from "./htcondor.ts";
import { optional } from "./read.ts";
import { slurmShare } from "./slurm-share.ts";

/** What a manager says a job may use of this machine; what it does not say is not here. */
export interface ManagerShare {
  /** As its makers write it. */
  readonly title: string;
  readonly cpus?: number;
  readonly memoryBytes?: number;
}

/**
 * What the manager whose job this process is in gave it of this machine.
 *
 * @returns undefined outside of any manager's job, and in a shell that only holds an allocation (salloc on a login node)
 * @throws GangwayError naming a variable or file that cannot be understood
 */
export function shareOf(surroundings: Surroundings): ManagerShare | undefined {
  const manager = detectManager("auto", surroundings);
  if (manager === undefined) return undefined;
  const { title } = manager;
  switch (manager.name) {
    case "slurm":
      // Set by slurmd for what runs on a node; what salloc starts beside the allocation has all the rest.
      return optional(surroundings, "SLURMD_NODENAME") === undefined
        ? undefined
        : { title, ...slurmShare(surroundings) };
    case "htcondor":
      return { title, ...machineShare(surroundings) };
    default:
      return { title };
  }
}
