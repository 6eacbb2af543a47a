import { systemReasonOf } from "../config/errors.ts";
import { isNodeName } from "../config/host-name.ts";
import { fault, quote, type Where } from "../config/where.ts";
import type { Share, Surroundings } from "./allocation.ts";
import { MOST_NAMES } from "./hostlist.ts";

// What the readers of all managers share. Every message names the variable and quotes what is wrong in it.

/** How to go on when a manager's word cannot be understood. */
export const WITHOUT_MANAGER = "to go on without the workload manager: --wlm none";

/** The place of a variable of a manager's. */
export function variable(name: string): Where {
  return { kind: "variable", name };
}

/** A variable's value; an empty one is none. */
export function optional({ env }: Surroundings, name: string): string | undefined {
  const value = env[name];
  return value === "" ? undefined : value;
}

/** @throws ConfigError where it is not set */
export function required(surroundings: Surroundings, name: string): string {
  const value = optional(surroundings, name);
  if (value === undefined) throw fault(variable(name), "is not set", WITHOUT_MANAGER);
  return value;
}

/** A job's number: decimal digits, kept as text, without leading zeros. */
export function number(surroundings: Surroundings, name: string): string {
  return checkNumber(required(surroundings, name), variable(name));
}

/** As {@link number}, of a variable that may be missing or say `none`. */
export function optionalNumber(surroundings: Surroundings, name: string, none?: string): string | undefined {
  const value = optional(surroundings, name);
  return value === undefined || value === none ? undefined : checkNumber(value, variable(name));
}

function checkNumber(text: string, where: Where): string {
  if (/^(?:0|[1-9][0-9]{0,19})$/.test(text)) return text;
  throw fault(where, `${quote(text)} is not a number`, WITHOUT_MANAGER);
}

/** How many slots a node may say to have: more is a slip, or an attack on our memory. */
export const MOST_SLOTS = 65_535;

/** A whole number of slots, from 1. */
export function parseSlots(text: string, where: Where): number {
  const slots = /^[0-9]{1,5}$/.test(text) ? Number(text) : 0;
  if (slots >= 1 && slots <= MOST_SLOTS) return slots;
  throw fault(where, `${quote(text)} is not a number of slots`, `slots are a number from 1 to ${MOST_SLOTS}`);
}

/** The name of a node as it stands by itself. */
export function parseNode(text: string, where: Where): string {
  if (isNodeName(text)) return text;
  throw fault(
    where,
    `${quote(text)} cannot be the name of a node`,
    "node names are made of letters, digits, '-', '_' and '.'",
  );
}

/** This machine as a node, where the manager names none. */
export function thisNode({ hostname }: Surroundings): string {
  return parseNode(hostname, variable("this machine's name"));
}

/** A line of a file that a variable names, to be read by `parse`. */
type ParseLine = (line: string, where: Where) => Share;

/**
 * The shares in the file that a variable names, a line each. Empty lines and what stands behind a `#` count for nothing.
 *
 * @param parse reads one line, blanks around it taken off
 */
export function sharesInFile(surroundings: Surroundings, name: string, parse: ParseLine): Share[] {
  const path = required(surroundings, name);
  return sharesInLines(readFile(surroundings, variable(name), path), { where: variable(name), path }, parse);
}

/** As {@link sharesInFile}, of a text that has been read. */
export function sharesInLines(
  text: string,
  file: { readonly where: Where; readonly path: string },
  parse: ParseLine,
): Share[] {
  const shares: Share[] = [];
  for (const [index, raw] of text.split("\n").entries()) {
    const line = raw.replace(/#.*/, "").trim();
    if (line === "") continue;
    const where = lineOf(file.where, file.path, index + 1);
    if (shares.length === MOST_LINES) throw fault(where, `more than ${MOST_LINES} lines`, WITHOUT_MANAGER);
    shares.push(parse(line, where));
  }
  const names = new Set(shares.map(([node]) => node)).size;
  if (names > MOST_NAMES) throw fault(file.where, `${quote(file.path)} names more than ${MOST_NAMES} nodes`);
  return shares;
}

/** A line a slot: more than any allocation has. */
const MOST_LINES = 4_000_000;

/** A file's line as the variable that names the file, for messages: `PBS_NODEFILE "/spool/7": line 3`. */
function lineOf(where: Where, path: string, line: number): Where {
  return where.kind === "file" ? where : { ...where, name: `${where.name} ${quote(path)}: line ${line}` };
}

/** @throws GangwayError naming the variable and why its file cannot be read */
export function readFile(surroundings: Surroundings, where: Where, path: string): string {
  if (!path.startsWith("/") && where.kind !== "flag") {
    throw fault(where, `${quote(path)} is not an absolute path`, WITHOUT_MANAGER);
  }
  try {
    return surroundings.readFile(path);
  } catch (error) {
    const hint = where.kind === "flag" ? "name a file that you can read" : WITHOUT_MANAGER;
    throw fault(where, `${quote(path)} cannot be read: ${systemReasonOf(error)}`, hint);
  }
}

/** A line that is a host's name alone, as in the node files that have a line a slot. */
export function hostLine(line: string, where: Where): Share {
  return [parseNode(line, where), 1];
}
