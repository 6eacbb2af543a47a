import { GangwayError } from "../config/errors.ts";
import { NodesLostError } from "./nodes-lost.ts";
import type { Reporter } from "./reporter.ts";
import type { JobSpec } from "./spec.ts";

/**
 * Launches a job, and, where nodes fail before its command was started, once more without these, as long as enough are
 * left. All is begun anew, so that what is left agrees on who is there.
 *
 * @param least so many nodes are enough
 * @throws GangwayError of the launch; NodesLostError when too few nodes are left
 */
export async function onEnoughNodes(
  spec: JobSpec,
  least: number,
  reporter: Reporter,
  launch: (spec: JobSpec) => Promise<number>,
): Promise<number> {
  const all = spec.allocation.nodes.length;
  if (least < 1) throw new GangwayError("--min-nodes 0: a job has a node at least", { hint: "write 1 or more" });
  if (least > all) {
    throw new GangwayError(`--min-nodes ${least}: the allocation has ${all} node${all === 1 ? "" : "s"}`, {
      hint: "ask for no more than it has",
    });
  }
  for (let current = spec; ; ) {
    try {
      return await launch(current);
    } catch (error) {
      if (!(error instanceof NodesLostError)) throw error;
      const left = current.allocation.nodes.filter(({ name }) => !error.nodes.includes(name));
      if (left.length < Math.max(least, 1) || left.length === current.allocation.nodes.length) throw error;
      reporter.note(`${error.message}\n  going on with ${left.length} of ${all} nodes (--min-nodes ${least})`);
      const nodes = left.map((node, index) => ({ ...node, index }));
      current = { ...current, allocation: { ...current.allocation, nodes } };
    }
  }
}
