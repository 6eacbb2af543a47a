import { readFileSync } from "node:fs";
import { join } from "node:path";
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

/** The record of a job that is up; undefined before, after, and for whoever may not read it. */
export function readRecord(directory: string): JobRecord | undefined {
  try {
    return JSON.parse(readFileSync(join(directory, "job.json"), "utf8")) as JobRecord;
  } catch {
    return undefined;
  }
}
