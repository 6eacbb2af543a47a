import type { Where } from "../config/where.ts";
import { type Manager, nodesOf, type Share } from "./allocation.ts";
import { number, optional, optionalNumber, parseNode, parseSlots, sharesInFile, thisNode, variable } from "./read.ts";

/**
 * A job of Grid Engine: in a parallel environment a file with a line a host, `HOST SLOTS QUEUE PROCESSORS`; without one,
 * this host. JOB_ID alone would be too common a name to know it by.
 */
export const sge: Manager = {
  name: "sge",
  title: "Grid Engine",
  marks: ["JOB_ID", "SGE_TASK_ID"],
  job(surroundings) {
    const job = number(surroundings, "JOB_ID");
    const task = optionalNumber(surroundings, "SGE_TASK_ID", "undefined");
    return { id: task === undefined ? job : `${job}_${task}`, restarts: 0 };
  },
  nodes(surroundings) {
    if (optional(surroundings, "PE_HOSTFILE") !== undefined) {
      return nodesOf(sharesInFile(surroundings, "PE_HOSTFILE", hostAndSlots), variable("PE_HOSTFILE"));
    }
    const slots = parseSlots(optional(surroundings, "NSLOTS") ?? "1", variable("NSLOTS"));
    return [{ index: 0, name: thisNode(surroundings), slots }];
  },
};

function hostAndSlots(line: string, where: Where): Share {
  const [host = "", slots = ""] = line.split(/\s+/);
  return [parseNode(host, where), parseSlots(slots, where)];
}
