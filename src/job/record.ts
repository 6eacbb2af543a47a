import { join } from "node:path";
import { readOwnFile } from "../config/own-file.ts";
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

export function writeRecord(
  plan: Plan,
  members: readonly Member[],
  containers: readonly string[],
  directory: JobDirectory,
): void {
  const { spec } = plan;
  const record: JobRecord = {
    job: spec.id,
    image: spec.image,
    command: plan.command,
    user: spec.account.name,
    workdir: plan.workdir,
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
  directory.write(directory.path, { "job.json": `${JSON.stringify(record)}\n` }, 0o600);
}

/** Whoever asks may be root, and the file's owner may have written anything into it. */
function isRecord(value: unknown): value is JobRecord {
  if (typeof value !== "object" || value === null) return false;
  const { command, nodes } = value as Record<string, unknown>;
  const texts = (list: unknown) => Array.isArray(list) && list.every((entry) => typeof entry === "string");
  const isNode = (node: unknown) => {
    if (typeof node !== "object" || node === null) return false;
    const { name, slots, container, port, addresses } = node as Record<string, unknown>;
    const numbers = typeof slots === "number" && typeof port === "number";
    return numbers && typeof name === "string" && typeof container === "string" && texts(addresses);
  };
  return texts(command) && Array.isArray(nodes) && nodes.every(isNode);
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
