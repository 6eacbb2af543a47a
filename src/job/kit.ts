import { join } from "node:path";
import { jobHost, parseJobHost } from "../udi/names.ts";
import { renderKitConfig } from "../udi/ssh-config.ts";

/** A job as the access kit's ssh_config needs to know it. */
export interface KitJob {
  readonly id: string;
  /** Name of the job's user. */
  readonly user: string;
  /** The job's private directory. */
  readonly directory: string;
  readonly udiImage: string;
  /** In order, with the TCP port that each sshd listens on, 0 for none. */
  readonly nodes: readonly { readonly name: string; readonly port: number }[];
  /** See renderKitConfig. */
  readonly escapeCommandline?: boolean;
}

/** Where the program lies that connects ssh to a unix socket. */
export function connectorOf(udiImage: string): string {
  return join(udiImage, "libexec/connector");
}

/** The host names of a node; by its number, too, where that has one reading: `1.7.job` is a job of HTCondor's. */
function namesOf(job: string, nodes: KitJob["nodes"], index: number): string[] {
  const principal = jobHost({ job, node: nodes[index]?.name ?? "" });
  const numbered = jobHost({ job, node: String(index) });
  const isFree = !nodes.some(({ name }) => name === String(index));
  const isClear = parseJobHost(numbered)?.job === job;
  return [principal, ...(index === 0 ? [jobHost({ job })] : []), ...(isFree && isClear ? [numbered] : [])];
}

/** The unix socket of a node's sshd, on the host. */
export function sshSocketOf(directory: string, index: number): string {
  return join(directory, String(index), "ssh");
}

/**
 * The blocks by which plain OpenSSH reaches the nodes of a job of this host.
 *
 * @param knownHosts absolute path of the file with the line for the job's authority
 * @throws GangwayError if a name or path cannot stand in the file
 */
export function kitConfig(job: KitJob, knownHosts: string): string {
  const { id, user, directory, udiImage, nodes, escapeCommandline = false } = job;
  return renderKitConfig({
    escapeCommandline,
    user,
    identity: join(directory, "kit/id_ed25519"),
    certificate: join(directory, "kit/id_ed25519-cert.pub"),
    knownHosts,
    connector: connectorOf(udiImage),
    nodes: nodes.map(({ name, port }, index) => {
      const principal = jobHost({ job: id, node: name });
      return {
        names: namesOf(id, nodes, index),
        principal,
        socket: sshSocketOf(directory, index),
        port,
      };
    }),
  });
}
