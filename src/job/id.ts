import type { ManagerJob } from "../allocation/allocation.ts";
import { engineSafe } from "../udi/names.ts";

// No vowels, so that no word appears, and no letters that are read for digits.
const LETTERS = "bcdfghjkmnpqrstvwxz";
const SYMBOLS = `${LETTERS}23456789`;
const LENGTH = 6;

/**
 * A job id where no workload manager gives one: six symbols, the first a letter, so that it is never taken for a
 * manager's number. 19 * 27^5 of them: two jobs of one user at a time do not meet. It is no secret: everybody on the node
 * sees it, and loading node:crypto for it would hold up each launch by 2 ms.
 */
export function randomJobId(): string {
  let id = anyOf(LETTERS);
  while (id.length < LENGTH) id += anyOf(SYMBOLS);
  return id;
}

function anyOf(symbols: string): string {
  return symbols.charAt(Math.floor(Math.random() * symbols.length));
}

/**
 * The ids for the launches of a workload manager's job, in the order in which they are to be tried: `1234`, then, for one
 * that begins while that one runs, `1234-2`, `1234-3`, … What a manager has begun anew under the same id (`1234-r1`) is
 * another job: of the first something may be left on a node that died.
 */
export function* launchIds(job: ManagerJob): Generator<string, never> {
  const first = firstLaunchId(job);
  yield first;
  for (let launch = 2; ; launch++) yield `${first}-${launch}`;
}

/** The first of {@link launchIds}; the others are this with a number behind it. */
export function firstLaunchId({ id, restarts }: ManagerJob): string {
  return restarts === 0 ? id : `${id}-r${restarts}`;
}

/** The name of a job's container on a node. Gangway finds its containers by labels, and believes those of this name. */
export function containerName(uid: number, jobId: string, nodeIndex: number): string {
  return `gangway-${uid}-${engineSafe(jobId)}-${nodeIndex}`;
}

/** The name of the container by which a launch looks into an image that nothing is known of yet. */
export function lookName(uid: number, jobId: string): string {
  return `gangway-${uid}-${engineSafe(jobId)}${LOOK}`;
}

const LOOK = "-look";

/** Whether some job of a user's would have that name for such a container. */
export function isLookName(uid: number, name: string): boolean {
  return name.startsWith(`gangway-${uid}-`) && name.endsWith(LOOK);
}

/** Whether a job's id is one that a launch in the manager's job takes by itself (`launchIds`). */
export function isNamedAfter(job: string, id: string): boolean {
  return job.startsWith(id) && /^(?:-r[1-9]\d{0,8})?(?:-[1-9]\d{0,8})?$/.test(job.slice(id.length));
}

/** The same for an id as it is typed, where `32` is HTCondor's `32.0`, too. */
export function isLaunchOf(job: string, typed: string): boolean {
  return isNamedAfter(job, typed) || (/^\d{1,20}$/.test(typed) && isNamedAfter(job, `${typed}.0`));
}
