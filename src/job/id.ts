import { randomInt } from "node:crypto";
import type { ManagerJob } from "../allocation/allocation.ts";
import { engineSafe } from "../udi/names.ts";

// No vowels, so that no word appears, and no letters that are read for digits.
const LETTERS = "bcdfghjkmnpqrstvwxz";
const SYMBOLS = `${LETTERS}23456789`;
const LENGTH = 6;

/**
 * A job id where no workload manager gives one: six symbols, the first a letter, so that it is never taken for a
 * manager's number. 19 * 27^5 of them: two jobs of one user at a time do not meet.
 */
export function randomJobId(): string {
  let id = LETTERS.charAt(randomInt(LETTERS.length));
  while (id.length < LENGTH) id += SYMBOLS.charAt(randomInt(SYMBOLS.length));
  return id;
}

/**
 * The ids for the launches of a workload manager's job, in the order in which they are to be tried: `1234`, then, for one
 * that begins while that one runs, `1234-2`, `1234-3`, … What a manager has begun anew under the same id (`1234-r1`) is
 * another job: of the first something may be left on a node that died.
 */
export function* launchIds({ id, restarts }: ManagerJob): Generator<string, never> {
  const first = restarts === 0 ? id : `${id}-r${restarts}`;
  yield first;
  for (let launch = 2; ; launch++) yield `${first}-${launch}`;
}

/** The name of a job's container on a node; labels, not this name, are what Gangway finds containers by. */
export function containerName(uid: number, jobId: string, nodeIndex: number): string {
  return `gangway-${uid}-${engineSafe(jobId)}-${nodeIndex}`;
}

/** The name of the container by which a launch looks into an image that nothing is known of yet. */
export function lookName(uid: number, jobId: string): string {
  return `gangway-${uid}-${engineSafe(jobId)}-look`;
}
