import { join } from "node:path";
import { readOwnFile } from "../config/own-file.ts";
import { hasControl, isAddress, isNodeName } from "../udi/names.ts";
import type { JobDirectory } from "./directory.ts";
import type { Member } from "./membership.ts";
import type { Plan } from "./prepare.ts";
import { formatIdentity, thisProcess } from "./process.ts";

/** `job.json`: what a running job is like; public data only. */
export interface JobRecord {
  readonly job: string;
  readonly image: string;
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
  readonly nodes: readonly {
    readonly name: string;
    readonly slots: number;
    readonly container: string;
    readonly port: number;
    readonly addresses: readonly string[];
  }[];
}

/** Writes `job.json`, by which the job counts as running; returns what it says. */
export function writeRecord(
  plan: Plan,
  members: readonly Member[],
  containers: readonly string[],
  authority: string | undefined,
  directory: JobDirectory,
): JobRecord {
  const { spec } = plan;
  const record: JobRecord = {
    job: spec.id,
    image: spec.image,
    command: plan.command,
    user: spec.account.name,
    workdir: plan.workdir,
    sshd: spec.sshd,
    ...(authority === undefined ? {} : { authority }),
    udiImage: plan.udiImage,
    launcher: formatIdentity(thisProcess()),
    started: new Date().toISOString(),
    ...(spec.outputFile === undefined ? {} : { outputFile: spec.outputFile }),
    nodes: members.map(({ node, up }, index) => ({
      name: node.name,
      slots: node.slots,
      container: containers[index] ?? "",
      port: up.port,
      addresses: up.addresses,
    })),
  };
  directory.write(directory.path, { [NEW]: `${JSON.stringify(record)}\n` }, 0o600);
  // There is never half of it.
  directory.rename(NEW, "job.json");
  return record;
}

const NEW = "job.json.new";

/** Whoever asks may be root, and the file's owner may have written anything into it. */
function isRecord(value: unknown): value is JobRecord {
  if (typeof value !== "object" || value === null) return false;
  const { command, nodes, sshd, authority, ...rest } = value as Record<string, unknown>;
  const { job, image, user, workdir, udiImage, launcher, started, outputFile } = rest;
  const lines = [job, image, user, workdir, udiImage, launcher, started, outputFile ?? "", authority ?? ""];
  const said = lines.every((line) => typeof line === "string" && !hasControl(line)) && typeof sshd === "boolean";
  return said && isTexts(command) && Array.isArray(nodes) && nodes.length > 0 && nodes.every(isNode);
}

function isTexts(list: unknown): boolean {
  return Array.isArray(list) && list.every((entry) => typeof entry === "string");
}

function isNode(node: unknown): boolean {
  if (typeof node !== "object" || node === null) return false;
  const { name, slots, container, port, addresses } = node as Record<string, unknown>;
  const numbers = Number.isInteger(slots) && Number.isInteger(port) && Number(port) >= 0 && Number(port) <= 65_535;
  const named = typeof name === "string" && isNodeName(name) && typeof container === "string";
  return numbers && named && Array.isArray(addresses) && addresses.every((address) => isAddress(String(address)));
}

/** The record of a job that is up; undefined before, after, and for whoever may not read it. */
export function readRecord(directory: string, uid: number): JobRecord | undefined {
  try {
    const record: unknown = JSON.parse(readOwnFile(join(directory, "job.json"), uid));
    return isRecord(record) ? record : undefined;
  } catch {
    return undefined;
  }
}
