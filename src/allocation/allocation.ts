import { UsageError } from "../config/errors.ts";

/** A member of the allocation. */
export interface AllocatedNode {
  /** Position in the allocation; 0 is the head. */
  readonly index: number;
  readonly name: string;
  readonly slots: number;
}

/** The ordered nodes a job may use, and who gave them. */
export interface Allocation {
  readonly manager: "virtual";
  readonly nodes: readonly AllocatedNode[];
}

/** More virtual nodes than this on one engine are taken for a slip of the finger. */
const MOST_VIRTUAL_NODES = 256;

/**
 * Nodes that are no machines: so many containers on the local engine, named node1, node2, …
 *
 * @param count how many
 * @param slots of each
 * @throws UsageError for a count that is not 1 to 256
 */
export function virtualNodes(count: number, slots: number): Allocation {
  if (!Number.isInteger(count) || count < 1 || count > MOST_VIRTUAL_NODES) {
    throw new UsageError(`--nodes ${count}: one engine takes 1 to ${MOST_VIRTUAL_NODES} virtual nodes`, {
      hint: "name a number between",
    });
  }
  const nodes = Array.from({ length: count }, (_, index) => ({ index, name: `node${index + 1}`, slots }));
  return { manager: "virtual", nodes };
}
