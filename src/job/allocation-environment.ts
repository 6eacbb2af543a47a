import type { Allocation, Surroundings } from "../allocation/allocation.ts";
import { detectManager, type WhichManager } from "../allocation/detect.ts";
import { type AllocationEnvironment, allocationEnvironment, onNode } from "../allocation/environment.ts";
import { HOSTSFILE } from "../udi/environment.ts";
import type { JobSpec } from "./spec.ts";

/**
 * What of the launcher's environment is the allocation's. Hosts named by hand are no manager's, virtual nodes are on the
 * machine that the manager gave.
 *
 * @param which the manager to ask, as for the allocation itself
 */
export function environmentGiven(
  { job }: Allocation,
  which: WhichManager,
  surroundings: Surroundings,
): AllocationEnvironment {
  const manager = job === undefined ? undefined : detectManager(which, surroundings)?.name;
  return allocationEnvironment(manager, surroundings.env, HOSTSFILE);
}

/**
 * A specification as it is for a node of another host: the node's own part of the allocation's environment is what the
 * manager told the process there.
 *
 * @param env of that process
 */
export function specOnHost(spec: JobSpec, env: Readonly<Record<string, string | undefined>>): JobSpec {
  const { environment } = spec;
  return { ...spec, environment: { ...environment, allocation: onNode(environment.allocation, env, HOSTSFILE) } };
}
