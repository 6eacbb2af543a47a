import { readFileSync } from "node:fs";
import type { AddressInfo, Server } from "node:net";
import { GangwayError, reasonOf } from "../config/errors.ts";

/** The first and the last of the ports that may be listened on. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** Descriptors that the launcher needs for other things. */
const OTHER_DESCRIPTORS = 192;

/**
 * Sees to it that this process may have a connection for each node, and so many more.
 *
 * @throws GangwayError that says how many it needs
 */
// Node has raised the soft limit to the hard one at its start: what is too low can only be raised outside.
export function checkDescriptors(nodes: number, spare: number): void {
  const limit = /^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "latin1"))?.[1];
  const needed = nodes + spare + OTHER_DESCRIPTORS;
  if (limit !== undefined && Number(limit) < needed) {
    throw new GangwayError(`${nodes} nodes need ${needed} open files, and this process may have ${limit}`, {
      hint: `raise the limit where the launcher starts (ulimit -n ${needed}; the hard limit is root's to raise)`,
    });
  }
}

/**
 * Listens on every address, IPv6 and IPv4.
 *
 * @returns the port: one of those allowed, in their order, or any
 * @throws GangwayError when none can be had
 */
export async function listen(server: Server, ports: PortRange | undefined): Promise<number> {
  if (ports === undefined) return await listenOn(server, 0);
  for (let port = ports.first; port <= ports.last; port++) {
    try {
      return await listenOn(server, port);
    } catch (error) {
      if (!isTaken(error)) throw refused(`port ${port}`, error);
    }
  }
  throw new GangwayError(`the ports ${ports.first} to ${ports.last} for the nodes' connections are all in use`, {
    hint: "the setting rendezvousPorts needs a port for each launch that runs on this host at a time",
  });
}

/**
 * On :: for both families; on 0.0.0.0 where there is no IPv6. Of any port Node does that by itself, and 5 ms sooner than when
 * it is told an address: these it looks at with long regular expressions. Of a certain one that is taken, too, it would go on.
 */
async function listenOn(server: Server, port: number): Promise<number> {
  for (const host of port === 0 ? [undefined] : ["::", "0.0.0.0"]) {
    try {
      return await new Promise<number>((resolve, reject) => {
        server.once("error", reject);
        server.listen({ ...(host === undefined ? {} : { host }), port, backlog: 4096 }, () => {
          server.off("error", reject);
          resolve((server.address() as AddressInfo).port);
        });
      });
    } catch (error) {
      const withoutIpv6 = host === "::" && (codeOf(error) === "EAFNOSUPPORT" || codeOf(error) === "EADDRNOTAVAIL");
      if (!withoutIpv6) throw port === 0 ? refused("a port", error) : error;
    }
  }
  throw refused("a port", new Error("this host has neither IPv6 nor IPv4"));
}

function refused(what: string, error: unknown): GangwayError {
  return new GangwayError(`${what} for the nodes' connections cannot be listened on: ${reasonOf(error)}`, {
    cause: error,
  });
}

function isTaken(error: unknown): boolean {
  return codeOf(error) === "EADDRINUSE" || codeOf(error) === "EACCES";
}

function codeOf(error: unknown): unknown {
  return typeof error === "object" && error !== null && "code" in error ? error.code : undefined;
}
