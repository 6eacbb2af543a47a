import { lstatSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { JobError, reasonOf, STATUS, UsageError } from "../config/errors.ts";
import { didYouMean } from "../config/suggest.ts";
import type { LocalNode } from "../job/local-jobs.ts";

/** How the bytes get to a node's sshd (docs/internals.md, section 10), the best first. */
export const WAYS = ["socket", "tcp", "ssh", "srun", "condor"] as const;
export type Way = (typeof WAYS)[number];
/** Those on which a workload manager carries the bytes. */
export type ManagerWay = Extract<Way, "srun" | "condor">;

export function isManagerWay(way: Way | undefined): way is ManagerWay {
  return way === "srun" || way === "condor";
}

/** @throws UsageError (exit status 64) */
export function parseWay(text: string | undefined): Way | undefined {
  if (text === undefined) return undefined;
  const way = WAYS.find((known) => known === text);
  if (way !== undefined) return way;
  const hint = didYouMean(text, WAYS) ?? `the ways are ${WAYS.join(", ")}`;
  throw new UsageError(`--connect ${text}: there is no such way`, { hint, exitCode: STATUS.usage });
}

/** Where a TCP connection goes. */
export interface TcpPlace {
  readonly address: string;
  readonly port: number;
}

/**
 * What ssh needs to take this way in place of the one that the kit's configuration has: settings for its command line,
 * since there they come first.
 */
export function tcpSettings({ address, port }: TcpPlace): string[] {
  return [
    `HostName=${address}`,
    `Port=${port}`,
    "ProxyCommand=none",
    "ProxyUseFdpass=no",
    // All that ssh has by default, whatever its version: the kit leaves out what withstands quantum computers, which is
    // good for a socket of this host and for no network. No method has a name like this, so nothing is taken away.
    "KexAlgorithms=-gangway-none",
  ];
}

/** An sshd says who it is at once (RFC 4253, section 4.2); a busy node may take this long. */
export const BANNER_MS = 5000;

/** Whether the node's socket is there, as init made it; it is not where the node is on another host. */
export function hasSocket({ socket }: Pick<LocalNode, "socket">): boolean {
  return socket !== undefined && lstatSync(socket, { throwIfNoEntry: false })?.isSocket() === true;
}

/**
 * The path of the node's socket, for who will have no other way.
 *
 * @throws JobError (exit status 76) where the node is on another host
 */
export function socketOf({ name, socket }: Pick<LocalNode, "name" | "socket">): string {
  if (socket !== undefined) return socket;
  throw new JobError(`${name} is on another host: its socket is no way from here`, {
    hint: "leave --connect out, or use --connect tcp",
    exitCode: STATUS.unreachable,
  });
}

/**
 * Waits for an sshd's banner, and goes again.
 *
 * @param place a unix socket's path, or an address
 * @returns the banner's line; throws an Error that says in words what came instead
 */
export async function readBanner(place: string | TcpPlace, patienceMs: number = BANNER_MS): Promise<string> {
  const socket: Socket =
    typeof place === "string"
      ? createConnection({ path: place })
      : createConnection({ host: place.address, port: place.port });
  const timer = setTimeout(() => socket.destroy(new Error(`no answer within ${patienceMs / 1000} s`)), patienceMs);
  let text = "";
  try {
    for await (const chunk of socket.setEncoding("latin1")) {
      text += String(chunk);
      const end = text.indexOf("\n");
      if (end === -1 && text.length < 1024) continue;
      const line = text.slice(0, end === -1 ? 80 : end).trim();
      if (line.startsWith("SSH-2.0-")) return line;
      throw new Error(`what answers is no ssh server: ${JSON.stringify(line)}`);
    }
    throw new Error("it was closed at once, without a word");
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

/** Why a node has no TCP port, for behind its name. A node without a network has no address, one with --no-listen has. */
export function whyNoTcp({ addresses }: Pick<LocalNode, "addresses">): string {
  return addresses.length === 0 ? "has no network" : "does not listen on TCP (--no-listen)";
}

function goThrough(host: string): string {
  return `where you can log in to its host: gangway ssh --via ${host} …`;
}

/**
 * The first of a node's addresses on which its sshd answers.
 *
 * @param elsewhere the node is on another host, which usually has its name: that may be gone through
 * @throws JobError (exit status 76) naming all
 */
export async function findTcp(
  node: Pick<LocalNode, "name" | "addresses" | "port">,
  { elsewhere = false }: { readonly elsewhere?: boolean } = {},
): Promise<TcpPlace> {
  if (node.port === 0) {
    throw new JobError(`${node.name} ${whyNoTcp(node)}`, {
      hint: elsewhere ? goThrough(node.name) : "--connect socket is the way",
      exitCode: STATUS.unreachable,
    });
  }
  const tried: string[] = [];
  for (const address of node.addresses) {
    const place = { address, port: node.port };
    try {
      await readBanner(place);
      return place;
    } catch (error) {
      tried.push(`${address} port ${node.port}: ${reasonOf(error)}`);
    }
  }
  throw new JobError(`${node.name} cannot be reached by TCP (${tried.join("; ")})`, {
    hint: elsewhere ? goThrough(node.name) : "`gangway doctor JOB` says which way would work",
    exitCode: STATUS.unreachable,
  });
}
