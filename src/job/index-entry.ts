import { chmodSync, type Dirent, lstatSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { GangwayError, reasonOf } from "../config/errors.ts";
import { asUser, type Identity } from "../config/identity.ts";
import { readOwnFile } from "../config/own-file.ts";
import { renderKnownHosts } from "../udi/known-hosts.ts";
import { hasControl, isJobId, isNodeName } from "../udi/names.ts";
import { renderInclude } from "../udi/ssh-config.ts";
import { includableEscapeConfig } from "./escape.ts";
import { type KitJobNode, kitConfig, sshSocketOf } from "./kit.ts";
import type { RunningLocalJob } from "./local-jobs.ts";
import { formatIdentity, isGone, type ProcessIdentity, parseIdentity } from "./process.ts";

/** The first line of an entry is a comment to ssh, and what we read. */
const MARK = "# gangway ";
const CONF = ".conf";
const HOSTS = ".hosts";
/** Longer than any write of an entry takes, whatever the clock of a file server says. */
const HALF_WRITTEN_MS = 3_600_000;

/** The directory of the index, which `gangway ssh-config --install` makes and nothing else. */
export function indexDirectory(home: string): string {
  return join(home, ".gangway/ssh/jobs");
}

/** The two files of a job's entry: the configuration, and the known_hosts that it names. */
export function indexFiles(home: string, job: string): { readonly conf: string; readonly hosts: string } {
  const directory = indexDirectory(home);
  return { conf: join(directory, `${job}${CONF}`), hosts: join(directory, `${job}${HOSTS}`) };
}

/** What an entry says of its job: public data, for whoever shares the home directory, on whatever host. */
export interface IndexEntry {
  readonly job: string;
  /** Where its launcher is: the job's one host, or one from which all of them are reached. */
  readonly host: string;
  /** The id of that host's boot. */
  readonly boot: string;
  readonly launcher: ProcessIdentity;
  readonly user: string;
  /** Its private directory, on that host and wherever it has one by the same name. */
  readonly directory: string;
  /** With the path of each node's socket, on the node's host. */
  readonly nodes: readonly { readonly name: string; readonly principal: string; readonly socket: string }[];
}

/**
 * The texts of a job's entry: the kit's blocks under a line for programs, and the line that trusts its authority. The latter
 * lies beside the former and not with the kit: the kit may have been in /dev/shm, where after a reboot another user can
 * make a directory of that name, and would say who is to be believed.
 *
 * @returns undefined for a job that cannot be entered
 * @throws GangwayError if a name or path cannot stand in an ssh configuration
 */
export function indexEntryOf(
  job: RunningLocalJob,
  home: string,
): { readonly conf: string; readonly hosts: string } | undefined {
  const { id, directory, record, launcher } = job;
  if (!record.sshd || record.authority === undefined || launcher === undefined) return undefined;
  const header = {
    job: id,
    host: launcher.host,
    boot: launcher.start.replace(/^.*@/, ""),
    launcher: formatIdentity(launcher),
    user: record.user,
    directory,
    nodes: job.nodes.map(({ name, principal, index }) => ({ name, principal, socket: sshSocketOf(directory, index) })),
  };
  const { user, udiImage } = record;
  const nodes = kitNodesOf(job);
  const runsOn = isNodeName(launcher.host) ? launcher.host : undefined;
  const blocks = [...kitConfig({ id, user, directory, udiImage, nodes }, indexFiles(home, id).hosts, runsOn)].join("");
  const escapeConfig = includableEscapeConfig(directory);
  const names = [...new Set([id, id.toLowerCase()])].flatMap((name) => [`${name}.job`, `*.${name}.job`]);
  const more = escapeConfig === undefined ? "" : `\n${renderInclude(names, escapeConfig)}`;
  return { conf: `${MARK}${JSON.stringify(header)}\n${blocks}${more}`, hosts: renderKnownHosts(record.authority) };
}

/** Only from one host to another the network is a way: what is on one host has its sockets, or has ended. */
function kitNodesOf({ nodes }: RunningLocalJob): KitJobNode[] {
  const isSpread = nodes.some(({ socket }) => socket === undefined);
  return nodes.map(({ name, port, addresses: [address] }) => ({ name, port, ...(isSpread ? { address } : {}) }));
}

/**
 * Puts a running job into its user's index, if there is one; in that user's name, each file at once.
 *
 * @returns whether it is there now
 * @throws GangwayError, or what the file system says, when it cannot be written
 */
export function writeIndexEntry(identity: Identity, home: string, job: RunningLocalJob): boolean {
  return asUser(identity, () => {
    if (!hasIndex(home, identity.uid)) return false;
    const entry = indexEntryOf(job, home);
    if (entry === undefined) return false;
    const files = indexFiles(home, job.id);
    // On each host of a job the record names that host's own process; what its launcher wrote stays.
    const written = readEntry(files.conf, identity.uid);
    const mayWrite =
      written === undefined || written.host === hostname() || !isOfAuthority(identity, files.hosts, entry.hosts);
    if (!mayWrite) return true;
    // The one that is named before the one that names it.
    replaceFile(files.hosts, entry.hosts);
    replaceFile(files.conf, entry.conf);
    return true;
  });
}

/** Whether the user has an index that a job can be entered into. */
export function isIndexed(identity: Identity, home: string): boolean {
  return asUser(identity, () => hasIndex(home, identity.uid));
}

/** Whether the index is the user's own directory, which nobody else can write. To be called in the user's name. */
function hasIndex(home: string, uid: number): boolean {
  const state = lstatSync(indexDirectory(home), { throwIfNoEntry: false });
  return state?.isDirectory() === true && state.uid === uid && (state.mode & 0o022) === 0;
}

function replaceFile(path: string, content: string): void {
  // No name that ends in .conf: ssh must not read half of it.
  const temporary = `${path}.${process.pid}.new`;
  rmSync(temporary, { force: true });
  try {
    writeFileSync(temporary, content, { flag: "wx", mode: 0o600 });
    // ssh refuses a file that others could have written, and the umask may be anything.
    chmodSync(temporary, 0o600);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** Whether the known_hosts of an entry is of that text: no two jobs have an authority in common. */
function isOfAuthority({ uid }: Identity, path: string, hosts: string): boolean {
  try {
    return readOwnFile(path, uid) === hosts;
  } catch {
    return false;
  }
}

/**
 * Takes a job out of the index, where it is this launcher's entry, or another host of the same job has written it.
 *
 * @param authority the job's public key line, where it has one
 * @throws what the file system says
 */
export function removeIndexEntry(
  identity: Identity,
  home: string,
  job: string,
  { launcher, authority }: { readonly launcher: ProcessIdentity; readonly authority?: string | undefined },
): void {
  asUser(identity, () => {
    if (!hasIndex(home, identity.uid)) return;
    const { conf, hosts } = indexFiles(home, job);
    const entry = readEntry(conf, identity.uid);
    if (entry === undefined) return;
    const isOurs = formatIdentity(entry.launcher) === formatIdentity(launcher);
    const isTheJobs = authority !== undefined && isOfAuthority(identity, hosts, renderKnownHosts(authority));
    if (isOurs || isTheJobs) removeFiles(home, job);
  });
}

function removeFiles(home: string, job: string): void {
  const { conf, hosts } = indexFiles(home, job);
  rmSync(conf, { force: true });
  rmSync(hosts, { force: true });
}

/**
 * The entries of a user's index, also of jobs on other hosts; what is not understood is left out.
 *
 * @throws GangwayError when the directory cannot be read
 */
export function readIndex(identity: Identity, home: string): IndexEntry[] {
  return asUser(identity, () =>
    namesIn(home, identity.uid).flatMap((name) => {
      const entry = readEntry(join(indexDirectory(home), name), identity.uid);
      return entry === undefined || `${entry.job}${CONF}` !== name ? [] : [entry];
    }),
  );
}

function namesIn(home: string, uid: number): string[] {
  try {
    return hasIndex(home, uid) ? readdirSync(indexDirectory(home)).filter((name) => name.endsWith(CONF)) : [];
  } catch (error) {
    throw new GangwayError(`the index of running jobs cannot be read: ${reasonOf(error)}`, {
      hint: "it must be a directory that its owner can read: chmod 700 ~/.gangway ~/.gangway/ssh ~/.gangway/ssh/jobs",
      cause: error,
    });
  }
}

function readEntry(path: string, uid: number): IndexEntry | undefined {
  try {
    const [line = ""] = readOwnFile(path, uid).split("\n", 1);
    return line.startsWith(MARK) ? parseEntry(JSON.parse(line.slice(MARK.length))) : undefined;
  } catch {
    return undefined;
  }
}

/** Somebody may have edited it, and another version may have written it. */
function parseEntry(value: unknown): IndexEntry | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { job, host, boot, launcher, user, directory, nodes } = value as Record<string, unknown>;
  if (!isLine(job) || !isJobId(job) || !isLine(host) || !isLine(boot) || !isLine(user)) return undefined;
  if (!isLine(directory) || !isLine(launcher) || !Array.isArray(nodes) || !nodes.every(isEntryNode)) return undefined;
  const identity = parseIdentity(launcher);
  return identity === undefined ? undefined : { job, host, boot, launcher: identity, user, directory, nodes };
}

function isEntryNode(value: unknown): value is IndexEntry["nodes"][number] {
  if (typeof value !== "object" || value === null) return false;
  const { name, principal, socket } = value as Record<string, unknown>;
  return isLine(name) && isLine(principal) && isLine(socket) && socket.startsWith("/");
}

function isLine(value: unknown): value is string {
  return typeof value === "string" && !hasControl(value);
}

/** The entries of a user's index that only other hosts can judge: their launchers are there. */
export function foreignEntries(identity: Identity, home: string): IndexEntry[] {
  return readIndex(identity, home).filter(({ host }) => host !== hostname());
}

/**
 * Removes the entries of jobs of this host whose launchers are dead, and what a killed launcher left half written.
 *
 * @returns the jobs that were forgotten
 */
export function collectIndex(identity: Identity, home: string): string[] {
  const stale = readIndex(identity, home).filter(({ launcher }) => isGone(launcher));
  return asUser(identity, () => {
    for (const { job } of stale) removeFiles(home, job);
    if (hasIndex(home, identity.uid)) removeHalves(home);
    return stale.map(({ job }) => job);
  });
}

function removeHalves(home: string): void {
  const directory = indexDirectory(home);
  const entries = readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isFile());
  const names = new Set(entries.map(({ name }) => name));
  for (const { name } of entries.filter((entry) => isHalf(entry, names))) {
    const path = join(directory, name);
    const state = lstatSync(path, { throwIfNoEntry: false });
    if (state !== undefined && Date.now() - state.mtimeMs > HALF_WRITTEN_MS) rmSync(path, { force: true });
  }
}

function isHalf({ name }: Dirent, names: ReadonlySet<string>): boolean {
  const temporary = /^(.+)\.(?:conf|hosts)\.\d+\.new$/.exec(name)?.[1];
  if (temporary !== undefined) return isJobId(temporary);
  const job = name.endsWith(HOSTS) ? name.slice(0, -HOSTS.length) : "";
  return isJobId(job) && !names.has(`${job}${CONF}`);
}
