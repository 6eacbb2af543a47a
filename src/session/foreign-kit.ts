import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { GangwayError, JobError, reasonOf, STATUS } from "../config/errors.ts";
import { asUser, callerIdentity, type Identity } from "../config/identity.ts";
import { readOwnFile } from "../config/own-file.ts";
import { connectorOf, sshSocketOf } from "../job/kit.ts";
import type { LocalNode, RunningLocalJob } from "../job/local-jobs.ts";
import { renderKnownHosts } from "../udi/known-hosts.ts";
import { jobHost } from "../udi/names.ts";
import { type Placeholder, renderKitConfig } from "../udi/ssh-config.ts";
import { withPrivateDirectory } from "./private-directory.ts";

/** Another user, whose job root enters. */
export interface Foreign {
  /** Of the account. */
  readonly name: string;
  readonly identity: Identity;
  /** Root's own tree: what the job's record says of programs is its user's word. */
  readonly udiImage: string;
}

/** The shell that the ProxyCommand's quotes are for: root's own may read them in another way, and the path is the user's. */
export const FOREIGN_SPAWN = { env: { ...process.env, SHELL: "/bin/sh" } };

/** In memory, and in a directory that root alone can write; elsewhere the usual places of a run base. */
const ROOT_BASE = "/run/gangway-0";
/** An ed25519 key, or its certificate with all the options that there are, takes a tenth. */
const LARGEST_BYTES = 8192;

/**
 * Runs work with an ssh_config by which root enters another user's job, in a private directory of root's.
 *
 * ssh runs as root there, and not as the job's user: a process of that user's on root's terminal could type into root's
 * shell (TIOCSTI), and could be traced by every other one. So nothing that this ssh reads or executes is the user's
 * word: the configuration is rendered from what the job's record says, parsed; the connector is of root's own tree; key
 * and certificate are copied, and are of the form that the launcher gave them.
 *
 * @param placeholders what stands for the node, besides its names
 * @param work gets the configuration's path, and that of the directory it lies in
 * @throws JobError when the job cannot be entered, GangwayError when root has no directory in memory
 */
export async function withForeignKit<T>(
  foreign: Foreign,
  { job, node }: { readonly job: RunningLocalJob; readonly node: LocalNode },
  placeholders: readonly Placeholder[],
  work: (config: string, directory: string) => Promise<T>,
): Promise<T> {
  const { authority } = job.record;
  if (authority === undefined || !job.record.sshd) throw unusable(job, "it was started without an sshd");
  const places = { user: callerIdentity(), home: "/", env: {} };
  return await withPrivateDirectory(places, ROOT_BASE, async (directory) => {
    const file = (name: string, content: string) => {
      const path = join(directory, name);
      writeFileSync(path, content, { flag: "wx", mode: 0o600 });
      chmodSync(path, 0o600);
      return path;
    };
    const config = renderKitConfig({
      user: foreign.name,
      owner: foreign.identity.uid,
      connector: connectorOf(foreign.udiImage),
      identity: file("id_ed25519", copyOf(foreign, job, "id_ed25519", checkPrivateKey)),
      certificate: file("id_ed25519-cert.pub", copyOf(foreign, job, "id_ed25519-cert.pub", checkCertificate)),
      knownHosts: file("known_hosts", renderKnownHosts(authority)),
      nodes: job.nodes.map(({ principal, port, addresses: [address], socket, index }) => ({
        names: index === 0 ? [principal, jobHost({ job: job.id })] : [principal],
        principal,
        ...(index === node.index ? { placeholders } : {}),
        socket: sshSocketOf(job.directory, index),
        port,
        ...(socket === undefined && port !== 0 && address !== undefined ? { address } : {}),
      })),
    });
    return await work(file("ssh_config", config), directory);
  });
}

function unusable(job: RunningLocalJob, reason: string): JobError {
  return new JobError(`job ${job.id} cannot be entered: ${reason}`, { exitCode: STATUS.unreachable });
}

function copyOf(
  { identity }: Foreign,
  job: RunningLocalJob,
  name: string,
  check: (text: string) => string | undefined,
): string {
  const path = join(job.directory, "kit", name);
  let text: string | undefined;
  try {
    text = check(asUser(identity, () => readOwnFile(path, identity.uid, LARGEST_BYTES)));
  } catch (error) {
    throw unusable(job, error instanceof GangwayError ? error.message : reasonOf(error));
  }
  if (text === undefined) throw unusable(job, `${path} is not what the launcher wrote there`);
  return text;
}

/** An OpenSSH key without a passphrase (PROTOCOL.key): its cipher is "none". */
function checkPrivateKey(text: string): string | undefined {
  const body = /^-----BEGIN OPENSSH PRIVATE KEY-----\n([A-Za-z0-9+/=\n]+)\n-----END OPENSSH PRIVATE KEY-----\n$/.exec(
    text,
  );
  const start = Buffer.from("openssh-key-v1\0\0\0\0\x04none\0\0\0\x04none", "latin1");
  const bytes = Buffer.from(body?.[1] ?? "", "base64");
  return bytes.subarray(0, start.length).equals(start) ? text : undefined;
}

function checkCertificate(text: string): string | undefined {
  const line = /^(ssh-ed25519-cert-v01@openssh\.com [A-Za-z0-9+/]+={0,2})(?: [^\n]*)?\n$/.exec(text)?.[1];
  return line === undefined ? undefined : `${line}\n`;
}
