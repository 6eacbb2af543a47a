import { type Manager, nodesOf } from "./allocation.ts";
import { hostLine, number, sharesInFile, variable } from "./read.ts";

/** A job of OAR: a file with a line a resource (most often a core); a job of an array has an id of its own. */
export const oar: Manager = {
  name: "oar",
  title: "OAR",
  marks: ["OAR_JOB_ID", "OAR_NODEFILE"],
  job: (surroundings) => ({ id: number(surroundings, "OAR_JOB_ID"), restarts: 0 }),
  nodes: (surroundings) => nodesOf(sharesInFile(surroundings, "OAR_NODEFILE", hostLine), variable("OAR_NODEFILE")),
};
