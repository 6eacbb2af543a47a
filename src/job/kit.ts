import { join } from "node:path";
import { jobHost, parseJobHost } from "../udi/names.ts";
import { kitConfigPieces } from "../udi/ssh-config.ts";

/** A job as the access kit's ssh_config needs to know it. */
export interface KitJob {
  readonly id: string;
  /** Name of the job's user. */
  readonly user: string;
  /** The job's private directory. */
  readonly directory: string;
  readonly udiImage: string;
  /** In order. */
  readonly nodes: readonly KitJobNode[];
  /** See kitConfigPieces. */
  readonly escapeCommandline?: boolean;
}

export interface KitJobNode {
  readonly name: string;
  /** Of TCP; 0: its sshd does not listen there. */
  readonly port: number;
  /** In a job of several hosts: where the others reach it, IPv4 or IPv6. */
  readonly address?: string | undefined;
}

/** Where the program lies that connects ssh to a unix socket. */
export function connectorOf(udiImage: string): string {
  return join(udiImage, "libexec/connector");
}

/**
 * The host names of a node; by its number, too, where that has one reading: `1.7.job` is a job of HTCondor's.
 *
 * @param taken names of all nodes
 */
function namesOf(job: string, { name }: KitJobNode, index: number, taken: ReadonlySet<string>): string[] {
  const principal = jobHost({ job, node: name });
  const numbered = jobHost({ job, node: String(index) });
  const isFree = !taken.has(String(index));
  const isClear = parseJobHost(numbered)?.job === job;
  return [principal, ...(index === 0 ? [jobHost({ job })] : []), ...(isFree && isClear ? [numbered] : [])];
}

/** The unix socket of a node's sshd, on the host. */
export function sshSocketOf(directory: string, index: number): string {
  return join(directory, String(index), "ssh");
}

/**
 * The blocks by which plain OpenSSH reaches the nodes of a job from a host that has its access kit.
 *
 * @param knownHosts absolute path of the file with the line for the job's authority
 * @param runsOn the job's host, where the file is read on other hosts, too: there it is said
 * @returns the text, piece by piece
 * @throws GangwayError, while the pieces are taken, if a name or path cannot stand in the file
 */
export function kitConfig(job: KitJob, knownHosts: string, runsOn?: string): Iterable<string> {
  const { id, user, directory, udiImage, nodes, escapeCommandline = false } = job;
  const taken = new Set(nodes.map(({ name }) => name));
  return kitConfigPieces({
    escapeCommandline,
    user,
    identity: join(directory, "kit/id_ed25519"),
    certificate: join(directory, "kit/id_ed25519-cert.pub"),
    knownHosts,
    connector: connectorOf(udiImage),
    ...(runsOn === undefined ? {} : { runsOn }),
    nodes: nodes.map((node, index) => {
      const { name, port, address } = node;
      const principal = jobHost({ job: id, node: name });
      return {
        names: namesOf(id, node, index, taken),
        principal,
        socket: sshSocketOf(directory, index),
        port,
        ...(address === undefined || port === 0 ? {} : { address }),
      };
    }),
  });
}
