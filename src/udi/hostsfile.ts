import { GangwayError } from "../config/errors.ts";
import { checkNodeName } from "./names.ts";

export interface Slots {
  readonly name: string;
  /** How many processes the allocation lets run there; at least 1. */
  readonly slots: number;
}

/**
 * `/var/hostsfile` in Shifter's form: the name of each node once per slot, one a line. Open MPI, PRRTE, MPICH's Hydra and
 * Intel MPI all count the lines.
 *
 * @throws GangwayError if a name is none or a number of slots is not a whole number from 1
 */
export function renderHostsfile(nodes: readonly Slots[]): string {
  return nodes
    .map(({ name, slots }) => {
      if (!Number.isSafeInteger(slots) || slots < 1)
        throw new GangwayError(`${name} cannot have ${slots} slots: it must be a whole number from 1`);
      return `${checkNodeName(name)}\n`.repeat(slots);
    })
    .join("");
}
