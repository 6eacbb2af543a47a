import { fault, quote } from "../config/where.ts";
import { type AllocatedNode, type Manager, nodesOf, type Share, type Surroundings } from "./allocation.ts";
import {
  hostLine,
  number,
  optional,
  optionalNumber,
  parseNode,
  parseSlots,
  required,
  sharesInFile,
  variable,
} from "./read.ts";

const HOSTFILE = "LSB_DJOB_HOSTFILE";
const HOSTS = "LSB_MCPU_HOSTS";

/** A job of LSF: a file with a line a slot, else `HOST SLOTS HOST SLOTS …`; the index of a job that is no array's is 0. */
export const lsf: Manager = {
  name: "lsf",
  title: "LSF",
  marks: ["LSB_JOBID"],
  job(surroundings) {
    const job = number(surroundings, "LSB_JOBID");
    const index = optionalNumber(surroundings, "LSB_JOBINDEX", "0");
    return { id: index === undefined ? job : `${job}_${index}`, restarts: 0 };
  },
  nodes: (surroundings) =>
    optional(surroundings, HOSTFILE) === undefined
      ? pairs(surroundings)
      : nodesOf(sharesInFile(surroundings, HOSTFILE, hostLine), variable(HOSTFILE)),
};

function pairs(surroundings: Surroundings): AllocatedNode[] {
  const text = required(surroundings, HOSTS);
  const words = [...text.matchAll(/\S+/g)];
  const shares: Share[] = [];
  for (let word = 0; word < words.length; word += 2) {
    const [host, slots] = [words[word], words[word + 1]];
    if (host === undefined || slots === undefined) {
      throw fault(
        variable(HOSTS),
        `${quote(text)}: no number of slots behind ${quote(host?.[0] ?? "")}, at character ${(host?.index ?? 0) + 1}`,
        "it is written HOST SLOTS HOST SLOTS",
      );
    }
    shares.push([
      parseNode(host[0], variable(`${HOSTS}: at character ${host.index + 1}`)),
      parseSlots(slots[0], variable(`${HOSTS}: at character ${slots.index + 1}`)),
    ]);
  }
  return nodesOf(shares, variable(HOSTS));
}
