import { foldHostlist } from "../allocation/hostlist.ts";
import { type ErrorDetails, LaunchError } from "../config/errors.ts";

/** Nodes without which a launch could go on, had it been asked to. */
export class NodesLostError extends LaunchError {
  readonly nodes: readonly string[];

  constructor(nodes: readonly string[], message: string, details: ErrorDetails = {}) {
    super(shortened(foldHostlist(nodes)), message, details);
    this.nodes = nodes;
  }
}

const LONGEST_NAMES = 200;
/** Different reasons that a message has room for. */
const MOST_REASONS = 3;

/** A list of many nodes within a message. */
export function shortened(list: string): string {
  return list.length > LONGEST_NAMES ? `${list.slice(0, LONGEST_NAMES - 3)}...` : list;
}

/** A node, and why it is lost. */
export interface LostNode {
  readonly name: string;
  readonly error: LaunchError | undefined;
}

/** One error for all of them; those with the same reason are named together. */
export function lostNodes(lost: readonly LostNode[]): NodesLostError {
  const { names, message, details } = summaryOf(lost);
  return Object.assign(new NodesLostError(names, message, details), { nodes: lost.map(({ name }) => name) });
}

/** The same for nodes whose job was running: no launch goes on without them. */
export function lossOf(lost: readonly LostNode[]): LaunchError {
  const { names, message, details } = summaryOf(lost);
  return new LaunchError(shortened(foldHostlist(names)), message, details);
}

/** The names are those of the first reason; the message names the others. */
function summaryOf(lost: readonly LostNode[]): { names: string[]; message: string; details: ErrorDetails } {
  const byReason = new Map<string, LostNode[]>();
  for (const node of lost) {
    const reason = node.error?.message.replace(`${node.name}: `, "") ?? "it is lost";
    const same = byReason.get(reason) ?? [];
    same.push(node);
    byReason.set(reason, same);
  }
  const [[reason, first] = ["it is lost", []], ...others] = byReason;
  const named = others.slice(0, MOST_REASONS - 1).map(([why, nodes]) => `\n${foldNames(nodes)}: ${why}`);
  const untold = others.length - named.length;
  const rest = untold > 0 ? `\nand ${untold} more reason${untold === 1 ? "" : "s"}` : "";
  const cause = first[0]?.error;
  const details = {
    cause,
    ...(cause?.hint === undefined ? {} : { hint: cause.hint }),
    ...(cause === undefined ? {} : { exitCode: cause.exitCode }),
  };
  return { names: first.map(({ name }) => name), message: `${reason}${named.join("")}${rest}`, details };
}

function foldNames(nodes: readonly LostNode[]): string {
  return shortened(foldHostlist(nodes.map(({ name }) => name)));
}
