import { fault } from "../config/where.ts";
import { type Allocation, MANAGERS, type Manager, type ManagerName, type Surroundings } from "./allocation.ts";
import { flux } from "./flux.ts";
import { htcondor } from "./htcondor.ts";
import { lsf } from "./lsf.ts";
import { oar } from "./oar.ts";
import { pbs } from "./pbs.ts";
import { optional, variable, WITHOUT_MANAGER } from "./read.ts";
import { sge } from "./sge.ts";
import { slurm } from "./slurm.ts";

const managers: Readonly<Record<ManagerName, Manager>> = { flux, slurm, htcondor, pbs, lsf, oar, sge };

/** Which workload manager's word counts: the first whose marks are there, a named one, or nobody's. */
export type WhichManager = "auto" | "none" | ManagerName;

/**
 * The workload manager whose job this process runs in. Where the marks of several are there, the first of
 * {@link MANAGERS} counts: one manager's job may have been started from within another's.
 *
 * @returns undefined where no manager is to be asked, or none is there
 * @throws GangwayError when the one that was named is not there
 */
export function detectManager(which: WhichManager, surroundings: Surroundings): Manager | undefined {
  if (which === "none") return undefined;
  const missing = ({ marks }: Manager) => marks.find((mark) => optional(surroundings, mark) === undefined);
  if (which === "auto") return MANAGERS.map((name) => managers[name]).find((manager) => missing(manager) === undefined);
  const manager = managers[which];
  const mark = missing(manager);
  if (mark === undefined) return manager;
  throw fault(variable(mark), `is not set, so this is no job of ${manager.title}`, WITHOUT_MANAGER);
}

/** All that a manager says of the job whose environment this is. */
export function allocationOf(manager: Manager, surroundings: Surroundings): Allocation {
  const here = manager.here?.(surroundings);
  return {
    manager: manager.name,
    job: manager.job(surroundings),
    ...(here === undefined ? {} : { here }),
    nodes: manager.nodes(surroundings),
  };
}
