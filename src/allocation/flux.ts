import { fault, quote } from "../config/where.ts";
import type { Manager, Surroundings } from "./allocation.ts";
import { optional, optionalNumber, parseSlots, required, thisNode, variable, WITHOUT_MANAGER } from "./read.ts";

const NODES = "FLUX_JOB_NNODES";

/**
 * A job of Flux. Its environment (flux-environment(7)) says how many nodes there are and not which: these a program of
 * Flux's tells (`flux hostlist local`), and `--hosts` takes what it prints. A job of one node is on this one.
 */
export const flux: Manager = {
  name: "flux",
  title: "Flux",
  marks: ["FLUX_JOB_ID"],
  job: (surroundings) => ({ id: jobId(surroundings), restarts: 0 }),
  nodes(surroundings) {
    const count = optionalNumber(surroundings, NODES);
    if (count !== "1") {
      const reason =
        count === undefined ? "is not set" : `${count} nodes, whose names Flux does not put into the environment`;
      throw fault(variable(NODES), reason, 'name them: --hosts "$(flux hostlist local)"');
    }
    const slots = parseSlots(optional(surroundings, "FLUX_JOB_SIZE") ?? "1", variable("FLUX_JOB_SIZE"));
    return [{ index: 0, name: thisNode(surroundings), slots }];
  },
};

/**
 * RFC 19 of Flux: base 58 behind `f`, for which Flux writes U+0192 where the locale has it; or decimal.
 *
 * @returns the id in ASCII, which Flux's own programs take as well
 */
function jobId(surroundings: Surroundings): string {
  const text = required(surroundings, "FLUX_JOB_ID");
  const match = /^(?:[f\u0192]([1-9A-HJ-NP-Za-km-z]{1,12})|([0-9]{1,20}))$/.exec(text);
  if (match === null) {
    throw fault(variable("FLUX_JOB_ID"), `${quote(text)} is not the id of a job such as f1Aes8Ug`, WITHOUT_MANAGER);
  }
  return match[1] === undefined ? text : `f${match[1]}`;
}
