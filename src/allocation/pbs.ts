import { fault, quote } from "../config/where.ts";
import { type Manager, nodesOf, type Surroundings } from "./allocation.ts";
import { hostLine, required, sharesInFile, variable, WITHOUT_MANAGER } from "./read.ts";

/** A job of OpenPBS, PBS Professional or Torque: a file with a line a slot, and `123[4].server` for an array's fourth. */
export const pbs: Manager = {
  name: "pbs",
  title: "PBS",
  marks: ["PBS_JOBID"],
  job: (surroundings) => ({ id: jobId(surroundings), restarts: 0 }),
  nodes: (surroundings) => nodesOf(sharesInFile(surroundings, "PBS_NODEFILE", hostLine), variable("PBS_NODEFILE")),
};

/** Without the server's name, an array's task as `123_4`. Old Torque writes `123-4` for it. */
function jobId(surroundings: Surroundings): string {
  const text = required(surroundings, "PBS_JOBID");
  const match = /^([0-9]{1,20})(?:\[([0-9]{1,10})\]|-([0-9]{1,10}))?(?:\.[A-Za-z0-9._-]{1,253})?$/.exec(text);
  if (match === null) {
    throw fault(variable("PBS_JOBID"), `${quote(text)} is not the id of a job such as 123.server`, WITHOUT_MANAGER);
  }
  const [, job = "", task = match[3]] = match;
  return task === undefined ? job : `${job}_${task}`;
}
