import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { JobError, STATUS } from "../config/errors.ts";
import { asUser, type Identity } from "../config/identity.ts";
import { isJobId, jobHost } from "../udi/names.ts";
import { isAbandoned } from "./collect.ts";
import { ENDED_FILE } from "./directory.ts";
import { sshSocketOf } from "./kit.ts";
import { type ProcessIdentity, parseIdentity } from "./process.ts";
import { type JobRecord, readRecord } from "./record.ts";

/** A node of a running job that has a directory on this host, as a client needs it. */
export interface LocalNode {
  readonly name: string;
  /** 0: the head. */
  readonly index: number;
  readonly slots: number;
  /** What its host certificate says it is. */
  readonly principal: string;
  /** The unix socket of its sshd; undefined: the node is on another host. */
  readonly socket: string | undefined;
  /** Of TCP; 0: it does not listen. */
  readonly port: number;
  readonly addresses: readonly string[];
}

interface JobPlace {
  readonly id: string;
  /** Its private directory. */
  readonly directory: string;
}

export interface RunningLocalJob extends JobPlace {
  readonly state: "running";
  readonly launcher: ProcessIdentity | undefined;
  readonly record: JobRecord;
  readonly nodes: readonly LocalNode[];
}

/** A job of a user as its directory on this host tells of it: no engine is asked. */
export type LocalJob =
  | RunningLocalJob
  /** It has a directory and no record yet. */
  | (JobPlace & { readonly state: "launching" })
  /** Its launcher is dead: what is there waits to be cleared. */
  | (JobPlace & { readonly state: "gone" });

/**
 * The jobs of a user that have a directory on this host.
 *
 * @param bases the user's run bases (`findRunBases`); what lies in them under a name that is no job's id is no job
 */
export function localJobs(identity: Identity, bases: readonly string[]): LocalJob[] {
  return asUser(identity, () =>
    bases.flatMap((base) => namesIn(base).flatMap((name) => jobAt(join(base, name), name, identity.uid) ?? [])),
  );
}

/** The job of that id; undefined where this host has no directory of it. A dead one only if no other has the id. */
export function localJob(identity: Identity, bases: readonly string[], id: string): LocalJob | undefined {
  if (!isJobId(id)) return undefined;
  const found = asUser(identity, () => bases.flatMap((base) => jobAt(join(base, id), id, identity.uid) ?? []));
  return found.find(({ state }) => state !== "gone") ?? found[0];
}

/**
 * A job that runs here.
 *
 * @throws JobError with the exit status that its state has (docs/internals.md, section 10); undefined where this host
 *   knows nothing of it
 */
export function runningLocalJob(identity: Identity, bases: readonly string[], id: string): RunningLocalJob | undefined {
  const job = localJob(identity, bases, id);
  if (job === undefined || job.state === "running") return job;
  if (job.state === "launching") {
    throw new JobError(`job ${id} is being launched and does not run yet`, {
      hint: "ask again in a moment",
      exitCode: STATUS.notYet,
    });
  }
  throw new JobError(`job ${id} has ended: its launcher was killed`, {
    hint: "what it left is cleared by `gangway gc`",
    exitCode: STATUS.ended,
  });
}

function namesIn(base: string): string[] {
  try {
    return readdirSync(base).filter(isJobId).sort();
  } catch {
    return [];
  }
}

function jobAt(directory: string, id: string, uid: number): LocalJob | undefined {
  const state = lstatSync(directory, { throwIfNoEntry: false });
  if (state?.isDirectory() !== true || state.uid !== uid) return undefined;
  if (isAbandoned(directory)) return { id, directory, state: "gone" };
  const record = readRecord(directory, uid);
  if (record === undefined || record.job !== id) {
    const ended = lstatSync(join(directory, ENDED_FILE), { throwIfNoEntry: false }) !== undefined;
    return ended ? undefined : { id, directory, state: "launching" };
  }
  return {
    id,
    directory,
    state: "running",
    launcher: parseIdentity(record.launcher),
    record,
    nodes: nodesOf(record, directory),
  };
}

/** Names and places follow from the record and the directory: nothing in the file says where a client connects to. */
function nodesOf(record: JobRecord, directory: string): LocalNode[] {
  return record.nodes.map(({ name, slots, port, addresses, here }, index) => ({
    name,
    index,
    slots,
    principal: jobHost({ job: record.job, node: name }),
    socket: here ? sshSocketOf(directory, index) : undefined,
    port,
    addresses,
  }));
}
