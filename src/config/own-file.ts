import { closeSync, constants, fstatSync, ftruncateSync, openSync, readSync } from "node:fs";
import { GangwayError } from "./errors.ts";

/** More than any file of ours has. */
const LARGEST = 64 * 1024 * 1024;
/** Three quarters of 8 MiB are the most that execve(2) takes, whatever the limit of the stack is. */
const LARGEST_ENVIRONMENT = 6 * 1024 * 1024;

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
  return withOwnFile(path, uid, constants.O_RDONLY, (descriptor) => readAtMost(descriptor, path, largest).toString());
}

const FIRST_BYTES = 16 * 1024;

/**
 * All that a descriptor gives. Its size says nothing: of a file in /proc, to which a user's link or mount may lead, it is 0, and
 * the file may have no end.
 *
 * @throws GangwayError where that is more than so many bytes
 */
function readAtMost(descriptor: number, path: string, largest: number): Buffer {
  let buffer = Buffer.allocUnsafe(Math.min(FIRST_BYTES, largest + 1));
  let length = 0;
  for (;;) {
    const read = readSync(descriptor, buffer, length, buffer.length - length, null);
    if (read === 0) return buffer.subarray(0, length);
    length += read;
    if (length > largest) throw new GangwayError(`${path} is not used: it is too large`);
    if (length < buffer.length) continue;
    const longer = Buffer.allocUnsafe(Math.min(2 * buffer.length, largest + 1));
    buffer.copy(longer, 0, 0, length);
    buffer = longer;
  }
}

/**
 * The environment of a user's process, as it was when its program began, unless the process has changed it since.
 *
 * @param largest bytes; more than the kernel gives to a program (execve(2)) the process has made itself
 * @throws GangwayError where it is longer, and whatever open(2) does
 */
export function readEnvironment(pid: number, largest = LARGEST_ENVIRONMENT): string {
  const path = `/proc/${pid}/environ`;
  return withOwnFile(path, undefined, constants.O_RDONLY, (descriptor) =>
    readAtMost(descriptor, path, largest).toString(),
  );
}

/** Empties a file that was opened for writing. */
export function emptyFile(descriptor: number): void {
  ftruncateSync(descriptor, 0);
}
