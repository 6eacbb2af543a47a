import { closeSync, constants, fstatSync, ftruncateSync, openSync, readFileSync } from "node:fs";
import { GangwayError } from "./errors.ts";

/** More than any file of ours has. */
const LARGEST = 64 * 1024 * 1024;

/**
 * Opens a file that is expected to be a plain one of a user's own, in a place where that user (or, in /tmp, anybody) may
 * have put something else: a link is not followed, a FIFO is not waited for, another user's file is not taken.
 *
 * @param uid whose it has to be; undefined: anybody's
 * @param flags of open(2), without O_TRUNC: what is emptied has to be looked at before
 * @throws GangwayError when it is something else, and whatever open(2) does
 */
export function openOwnFile(path: string, uid: number | undefined, flags: number): number {
  const descriptor = openSync(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const state = fstatSync(descriptor);
  const fault = !state.isFile()
    ? "it is no regular file"
    : uid !== undefined && state.uid !== uid
      ? `it belongs to uid ${state.uid}`
      : uid !== undefined && state.nlink !== 1
        ? "it has another name as well"
        : undefined;
  if (fault === undefined) return descriptor;
  closeSync(descriptor);
  throw new GangwayError(`${path} is not used: ${fault}`);
}

/** Runs with a descriptor from {@link openOwnFile}, and closes it. */
export function withOwnFile<T>(
  path: string,
  uid: number | undefined,
  flags: number,
  work: (descriptor: number) => T,
): T {
  const descriptor = openOwnFile(path, uid, flags);
  try {
    return work(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * The text of a user's own file.
 *
 * @param largest bytes; a longer one is refused
 */
export function readOwnFile(path: string, uid: number | undefined, largest = LARGEST): string {
  return withOwnFile(path, uid, constants.O_RDONLY, (descriptor) => {
    if (fstatSync(descriptor).size > largest) throw new GangwayError(`${path} is not used: it is too large`);
    return readFileSync(descriptor, "utf8");
  });
}

/** Empties a file that was opened for writing. */
export function emptyFile(descriptor: number): void {
  ftruncateSync(descriptor, 0);
}
