import { GangwayError } from "../config/errors.ts";
import { checkHost, isAddress } from "./names.ts";

export interface HostsNode {
  /** Best first. */
  readonly addresses: readonly string[];
  readonly name: string;
  /** Further names, such as `NODE.JOB.job`. */
  readonly aliases: readonly string[];
}

const LOCALHOST = [
  "127.0.0.1 localhost localhost.localdomain",
  "::1 localhost ip6-localhost ip6-loopback",
  "ff02::1 ip6-allnodes",
  "ff02::2 ip6-allrouters",
];
const LOCAL_NAMES = new Set(LOCALHOST.flatMap((line) => line.split(" ").slice(1)));

/**
 * The container's `/etc/hosts` as it is before the nodes' addresses are known: localhost, then what the given files have
 * beyond that. The first line with a name wins in a look-up, so the names of the job's own nodes, which are appended
 * later, and of localhost are taken out of these files.
 *
 * @param files contents of the image's file (and of others, best first); undefined entries are skipped
 * @param own names and aliases of the job's nodes
 */
export function mergeHosts(files: readonly (string | undefined)[], own: readonly string[]): string {
  const reserved = new Set([...LOCAL_NAMES, ...own.map((name) => name.toLowerCase())]);
  const lines = new Set(LOCALHOST);
  for (const file of files) {
    for (const line of (file ?? "").split("\n")) {
      const [address = "", ...names] = line.replace(/#.*/s, "").trim().split(/\s+/);
      const kept = names.filter((name) => isHost(name) && !reserved.has(name.toLowerCase()));
      if (isAddress(address) && kept.length > 0) lines.add([address, ...kept].join(" "));
    }
  }
  return `${[...lines].join("\n")}\n`;
}

/**
 * What is appended to `/etc/hosts` once the addresses are known: a line `ADDRESS NAME ALIAS…` for each address.
 *
 * @throws GangwayError if an address or a name is none
 */
export function hostsAppendix(nodes: readonly HostsNode[]): string {
  return nodes
    .flatMap(({ addresses, name, aliases }) => {
      const names = [...new Set([name, ...aliases])].map(checkHost);
      return addresses.map((address) => {
        if (!isAddress(address)) throw new GangwayError(`${JSON.stringify(address)} is not an address of ${name}`);
        return `${address} ${names.join(" ")}\n`;
      });
    })
    .join("");
}

/** Looser than `checkHost`: image files may have names we would not give. Control characters stay out. */
function isHost(name: string): boolean {
  return /^[\x21-\x7e\u00a0-\uffff]{1,255}$/.test(name);
}
