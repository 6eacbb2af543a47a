import { JobError, STATUS } from "../config/errors.ts";
import type { Config } from "../config/load.ts";
import type { LocalNode, RunningLocalJob } from "../job/local-jobs.ts";
import { type Found, resolveJob } from "../session/resolve.ts";
import type { Owner } from "./context.ts";
import { seekerOf } from "./reach.ts";

/** A running job of the owner's on this host, and the node that was named; the head, where none was. */
export interface OwnJob {
  readonly job: RunningLocalJob;
  readonly node: LocalNode;
}

/**
 * Finds a running job whose launcher is on this host.
 *
 * @param text `[NODE.]JOB[.job]`
 * @throws JobError with the exit status of docs/internals.md, section 10
 */
export async function ownJob(config: Config, owner: Owner, text: string): Promise<OwnJob> {
  const found = await resolveJob(seekerOf(config, owner), text);
  if (found.where === "here") return found;
  throw notHere(found);
}

/** @returns what is said where only the job's own host can do what was asked */
export function notHere(found: Extract<Found, { where: "elsewhere" }>): JobError {
  return new JobError(`job ${found.reading.job} runs on ${found.host}, and its launcher can be asked there alone`, {
    hint: `ssh ${found.host} gangway key …`,
    exitCode: STATUS.unreachable,
  });
}
