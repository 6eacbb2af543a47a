import { JobError, STATUS } from "../config/errors.ts";

const FIRST_MS = 500;
const LONGEST_MS = 5000;
const GROWTH = 1.3;

/** It may be a slip of the pen: then it is waited for in vain. */
function untilThereIs({ message, hint }: JobError): string {
  return `waiting: ${message} yet${hint === undefined ? "" : ` (${hint})`}`;
}

/**
 * Tries again and again until a job runs: where it is not known yet, or being launched. What is waited for is said once,
 * and each time it changes.
 *
 * @param attempt enters the job; throws a JobError with the status of what is the matter (docs/internals.md, section 10)
 * @param say writes a line for the user
 * @returns what the first attempt that got through returned
 * @throws whatever else an attempt throws; JobError when the job was there and went before it could be entered
 */
export async function untilItRuns<T>(attempt: () => Promise<T>, say: (line: string) => void): Promise<T> {
  let said: string | undefined;
  let seen = false;
  for (let pause = FIRST_MS; ; pause = Math.min(LONGEST_MS, pause * GROWTH)) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof JobError)) throw error;
      const { exitCode, message } = error;
      if (exitCode !== STATUS.notYet && exitCode !== STATUS.noSuchJob) throw error;
      if (seen && exitCode === STATUS.noSuchJob) {
        throw new JobError(`${message} any more: it ended before it could be entered`, { exitCode: STATUS.ended });
      }
      seen ||= exitCode === STATUS.notYet;
      if (said !== message) say(exitCode === STATUS.noSuchJob ? untilThereIs(error) : `waiting: ${message}`);
      said = message;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
