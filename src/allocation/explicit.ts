import { fault, quote, type Where } from "../config/where.ts";
import { type Allocation, nodesOf, type Share, type Surroundings } from "./allocation.ts";
import { unfoldHostlist } from "./hostlist.ts";
import { parseNode, parseSlots, readFile, sharesInLines } from "./read.ts";

/**
 * The nodes of a hostlist that the user wrote; a name that stands there twice has two slots.
 *
 * @throws GangwayError that says what is wrong at which character
 */
export function listedHosts(text: string, where: Where): Allocation {
  const shares = unfoldHostlist(text, where).map((name): Share => [name, 1]);
  return { manager: "hosts", nodes: nodesOf(shares, where) };
}

/**
 * The nodes in a file that the user wrote: a line each of `host`, `host slots=4` (as Open MPI has it) or `host:4` (as
 * MPICH has it); `#` begins a remark. What stands on two lines has the slots of both.
 *
 * @throws GangwayError naming file, line and what is wrong there
 */
export function hostsInFile(surroundings: Surroundings, path: string, where: Where): Allocation {
  const text = readFile(surroundings, where, path);
  return { manager: "hosts", nodes: nodesOf(sharesInLines(text, { where, path }, hostWithSlots), where) };
}

function hostWithSlots(line: string, where: Where): Share {
  const match = /^([^\s:=]+)(?:\s*:\s*(\S+)|\s+slots\s*=\s*(\S+))?$/.exec(line);
  if (match === null) {
    throw fault(where, `${quote(line)} is no host with its slots`, "write HOST, HOST slots=4 or HOST:4, a line each");
  }
  const [, host = "", colon, equals] = match;
  const slots = colon ?? equals;
  return [parseNode(host, where), slots === undefined ? 1 : parseSlots(slots, where)];
}
