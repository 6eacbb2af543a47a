import { JobError, STATUS } from "../config/errors.ts";

/**
 * Of a job that has been entered before: that nothing is known of it any more is its end.
 *
 * @param error what looking for it once more threw
 * @returns what is to be thrown in its place
 */
export function goneSince(job: string, error: unknown): unknown {
  if (!(error instanceof JobError) || error.exitCode !== STATUS.noSuchJob) return error;
  return new JobError(`job ${job} has ended`, { exitCode: STATUS.ended, cause: error });
}
