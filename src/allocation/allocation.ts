import { UsageError } from "../config/errors.ts";
import { fault, type Where } from "../config/where.ts";

/** A member of the allocation. */
export interface AllocatedNode {
  /** Position in the allocation; 0 is the head. */
  readonly index: number;
  readonly name: string;
  readonly slots: number;
}

/** The workload managers whose word is understood, in the order in which they are looked for. */
export const MANAGERS = ["flux", "slurm", "htcondor", "pbs", "lsf", "oar", "sge"] as const;
export type ManagerName = (typeof MANAGERS)[number];

/** What a manager calls the job that an allocation was made for. */
export interface ManagerJob {
  /** As its users write it: `1234`, `1234_7` (of an array), `1234+1` (of a heterogeneous job), `32.0` (HTCondor). */
  readonly id: string;
  /** How often the manager has begun it anew under the same id; 0 for most. */
  readonly restarts: number;
}

/** The ordered nodes a job may use, and who gave them. */
export interface Allocation {
  readonly manager: ManagerName | "hosts" | "virtual";
  /** Of a workload manager's. */
  readonly job?: ManagerJob;
  /** The manager's name for the machine that asks, where it says one. */
  readonly here?: string;
  readonly nodes: readonly AllocatedNode[];
}

/** What the managers are asked by. All of it is text that others wrote: parsed, never trusted. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** This machine's own name. */
  readonly hostname: string;
  /** The text of a file that a manager names; throws what says why not. */
  readonly readFile: (path: string) => string;
}

/** A workload manager, as far as it tells a job about its nodes. */
export interface Manager {
  readonly name: ManagerName;
  /** As its makers write it. */
  readonly title: string;
  /** The variable (or variables, all needed) by which it is known. */
  readonly marks: readonly string[];
  // Each of these throws a GangwayError naming the variable, its value and the place in it that cannot be understood.

  /** What it calls the job whose environment this is. */
  job(surroundings: Surroundings): ManagerJob;
  /** The nodes it gave that job. */
  nodes(surroundings: Surroundings): readonly AllocatedNode[];
  /** Its name for this machine, where it says one. */
  here?(surroundings: Surroundings): string | undefined;
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

/** A name, and how many slots it brings. */
export type Share = readonly [name: string, slots: number];

/**
 * Puts the shares of one node together: most managers write a line a slot. A node stands where it was named first.
 *
 * @param where what the shares were read from, for the message
 * @throws GangwayError when there are none
 */
export function nodesOf(shares: Iterable<Share>, where: Where): AllocatedNode[] {
  const slots = new Map<string, number>();
  for (const [name, count] of shares) slots.set(name, (slots.get(name) ?? 0) + count);
  if (slots.size === 0) throw fault(where, "names no node", where.kind === "flag" ? BY_HAND : undefined);
  return [...slots].map(([name, count], index) => ({ index, name, slots: count }));
}

const BY_HAND =
  "name at least one, such as n[01-04],big7; without --hosts and --hostfile the workload manager names them";

/**
 * Whether two names can be one machine's: the same, whatever the case of letters, or one of them the other's first
 * label. Two full names with different domains are two machines.
 */
export function sameHost(one: string, other: string): boolean {
  const [a, b] = [one.toLowerCase(), other.toLowerCase()];
  return a === b || (!a.includes(".") && b.startsWith(`${a}.`)) || (!b.includes(".") && a.startsWith(`${b}.`));
}
