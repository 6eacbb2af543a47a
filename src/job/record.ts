import { join } from "node:path";
import { readOwnFile } from "../config/own-file.ts";
import { formatVolume } from "../config/parse-container.ts";
import { hasControl, isAddress, isNodeName } from "../udi/names.ts";
import { type JobDirectory, RECORD_FILE } from "./directory.ts";
import { containerName } from "./id.ts";
import type { Member } from "./membership.ts";
import { formatIdentity, thisProcess } from "./process.ts";
import type { JobSpec, Volume } from "./spec.ts";

/** `job.json`: what a running job is like; public data only. */
export interface JobRecord {
  readonly job: string;
  readonly image: string;
  /** Its containers are a runtime's: no engine knows them. */
  readonly runtime?: true;
  readonly command: readonly string[];
  readonly user: string;
  readonly workdir: string;
  /** Whether sessions can enter it. */
  readonly sshd: boolean;
  /** The public key line of the job's authority; absent without an sshd. */
  readonly authority?: string;
  /** The tree on this host that its containers have at /opt/udiImage. */
  readonly udiImage: string;
  /** As formatted by process.ts. */
  readonly launcher: string;
  /** ISO 8601. */
  readonly started: string;
  readonly outputFile?: string;
  /** What of the host was mounted at the user's and the site's word; absent: an older Gangway wrote the record. */
  readonly volumes?: readonly string[];
  readonly nodes: readonly RecordedNode[];
}

export interface RecordedNode {
  readonly name: string;
  readonly slots: number;
  /** Its name on its host's engine. */
  readonly container: string;
  /** Of its sshd; 0: it does not listen on TCP. */
  readonly port: number;
  /** In a job of several hosts the first is the one by which the other hosts reach it. */
  readonly addresses: readonly string[];
  /** Whether its run directory is on this host. In a job of several hosts each host has a record of its own. */
  readonly here: boolean;
}

/** Volumes as a record has them: in an order of their own, so that the same ones are the same list. */
export function volumeList(volumes: readonly Volume[]): string[] {
  return volumes.map(formatVolume).sort();
}

/** What of a record is decided where the containers are made. */
export interface RecordFacts {
  readonly command: readonly string[];
  readonly workdir: string;
  /** On this host. */
  readonly udiImage: string;
  /** The public key line of the job's authority. */
  readonly authority?: string;
  /** Indices of the nodes whose run directories are on this host. */
  readonly here: readonly number[];
}

/** Writes `job.json`, by which the job counts as running. */
export function writeRecord(
  spec: JobSpec,
  members: readonly Member[],
  { here, command, workdir, udiImage, authority }: RecordFacts,
  directory: JobDirectory,
): void {
  const record: JobRecord = {
    job: spec.id,
    image: spec.image,
    ...(spec.runtime === undefined ? {} : { runtime: true as const }),
    command,
    user: spec.account.name,
    workdir,
    sshd: spec.sshd,
    ...(authority === undefined ? {} : { authority }),
    udiImage,
    launcher: formatIdentity(thisProcess()),
    started: new Date().toISOString(),
    ...(spec.outputFile === undefined ? {} : { outputFile: spec.outputFile }),
    volumes: volumeList(spec.volumes),
    nodes: members.map(({ node, port, address, addresses }) => ({
      name: node.name,
      slots: node.slots,
      container: containerName(spec.account.uid, spec.id, node.index),
      port,
      addresses: spec.several ? [...new Set([address, ...addresses])] : addresses,
      here: here.includes(node.index),
    })),
  };
  directory.write(directory.path, { [NEW]: `${JSON.stringify(record)}\n` }, 0o600);
  // There is never half of it.
  directory.rename(NEW, RECORD_FILE);
}

const NEW = `${RECORD_FILE}.new`;

/** As it may stand in the file: one that an older Gangway wrote says nothing of hosts, and had one. */
type WrittenRecord = Omit<JobRecord, "nodes"> & {
  readonly nodes: readonly (Omit<RecordedNode, "here"> & { readonly here?: boolean })[];
};

/** Whoever asks may be root, and the file's owner may have written anything into it. */
function isRecord(value: unknown): value is WrittenRecord {
  if (typeof value !== "object" || value === null) return false;
  const { command, nodes, sshd, authority, volumes, ...rest } = value as Record<string, unknown>;
  const { job, image, user, workdir, udiImage, launcher, started, outputFile } = rest;
  const lines = [job, image, user, workdir, udiImage, launcher, started, outputFile ?? "", authority ?? ""];
  const said = lines.every((line) => typeof line === "string" && !hasControl(line)) && typeof sshd === "boolean";
  return (
    said &&
    isTexts(command) &&
    isTexts(volumes ?? []) &&
    Array.isArray(nodes) &&
    nodes.length > 0 &&
    nodes.every(isNode)
  );
}

function isTexts(list: unknown): boolean {
  return Array.isArray(list) && list.every((entry) => typeof entry === "string");
}

function isNode(node: unknown): boolean {
  if (typeof node !== "object" || node === null) return false;
  const { name, slots, container, port, addresses, here = true } = node as Record<string, unknown>;
  if (typeof here !== "boolean") return false;
  const numbers = Number.isInteger(slots) && Number.isInteger(port) && Number(port) >= 0 && Number(port) <= 65_535;
  const named = typeof name === "string" && isNodeName(name) && typeof container === "string";
  return numbers && named && Array.isArray(addresses) && addresses.every((address) => isAddress(String(address)));
}

/** The record of a job that is up; undefined before, after, and for whoever may not read it. */
export function readRecord(directory: string, uid: number): JobRecord | undefined {
  try {
    const record: unknown = JSON.parse(readOwnFile(join(directory, RECORD_FILE), uid));
    if (!isRecord(record)) return undefined;
    return { ...record, nodes: record.nodes.map((node) => ({ ...node, here: node.here ?? true })) };
  } catch {
    return undefined;
  }
}
