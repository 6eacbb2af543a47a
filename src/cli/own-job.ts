import { JobError, STATUS } from "../config/errors.ts";
import type { Config } from "../config/load.ts";
import { readEnd } from "../job/ended.ts";
import { type LocalNode, localJobs, type RunningLocalJob, runningLocalJob } from "../job/local-jobs.ts";
import { parseJobHost, quoted } from "../udi/names.ts";
import { type Owner, runBasesOf, stateOf } from "./context.ts";

/** A running job of the owner's on this host, and the node that was named; the head, where none was. */
export interface OwnJob {
  readonly job: RunningLocalJob;
  readonly node: LocalNode;
}

/**
 * Finds a running job by its directory, without the engine.
 *
 * @param text `[NODE.]JOB[.job]`
 * @throws JobError with the exit status of docs/internals.md, section 10
 */
export function ownJob(config: Config, owner: Owner, text: string): OwnJob {
  const bases = runBasesOf(config, owner);
  const host = parseJobHost(text) ?? parseJobHost(`${text}.job`);
  const id = host?.job ?? text;
  const job = runningLocalJob(owner.identity, bases, id);
  if (job === undefined) throw missing(config, owner, text, id);
  const wanted = host?.node;
  const node = wanted === undefined ? job.nodes[0] : job.nodes.find(({ name }) => name === wanted);
  if (node === undefined) {
    throw new JobError(`job ${id} has no node ${quoted(wanted ?? "")}`, {
      hint: `it has ${job.nodes.map(({ name }) => name).join(", ")}`,
      exitCode: STATUS.noSuchJob,
    });
  }
  return { job, node };
}

function missing(config: Config, owner: Owner, text: string, id: string): JobError {
  const end = readEnd(stateOf(config, owner), id, owner.account.uid);
  if (end !== undefined) {
    return new JobError(`job ${id} has ended: exit status ${end.exitCode}, ${end.ended}`, {
      hint: `what it printed: gangway logs ${id}`,
      exitCode: STATUS.ended,
    });
  }
  const running = localJobs(owner.identity, runBasesOf(config, owner)).map((job) => job.id);
  return new JobError(`there is no job ${quoted(text)}`, {
    hint: running.length === 0 ? "none of yours runs on this host" : `yours: ${running.join(", ")}`,
    exitCode: STATUS.noSuchJob,
  });
}
