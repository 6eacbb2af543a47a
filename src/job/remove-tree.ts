import { randomBytes } from "node:crypto";
import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  unlinkSync,
} from "node:fs";
import { dirname } from "node:path";
import { GangwayError } from "../config/errors.ts";

/** open(2): a handle on what lies there, whatever its mode is. Node has no name for it; the same on x86-64 and arm64. */
const O_PATH = 0o10000000;
/** Whoever goes on to put files there would keep us for ever. A job's directory has some dozens a node. */
const MOST_ENTRIES = 1_000_000;

/**
 * rm -rf of a directory whose owner may have laid traps in it; to be called in that owner's name. Links are not followed,
 * mount points not entered; directories may be unreadable, and as deep as they like: each is first moved up to the top,
 * and what is in it is named relative to its descriptor, so that no path is ever long.
 *
 * @param last names in it that go behind all the rest, in this order
 * @throws GangwayError for a mount point and for more than a million entries, and what the file system says
 */
export function removeTree(path: string, last: readonly string[] = []): void {
  const state = lstatSync(path, { throwIfNoEntry: false });
  if (state === undefined) return;
  if (!state.isDirectory()) {
    unlinkSync(path);
    return;
  }
  const { dev } = lstatSync(dirname(path));
  const top = openDirectory(path, path, dev);
  try {
    let left = MOST_ENTRIES;
    for (let kept = last; ; kept = kept.slice(1)) {
      const others = () => namesIn(top).filter((name) => !kept.includes(name.toString("latin1")));
      for (let names = others(); names.length > 0; names = others()) {
        left -= names.length;
        if (left < 0) throw new GangwayError(`${path} is not removed: it has more than ${MOST_ENTRIES} entries`);
        for (const name of names) left -= removeEntry(top, name, path, dev);
      }
      if (kept.length === 0) break;
    }
  } finally {
    closeSync(top);
  }
  rmdirSync(path);
}

/** Names need not be UTF-8. */
function namesIn(directory: number): Buffer[] {
  return readdirSync(`/proc/self/fd/${directory}`, { encoding: "buffer" });
}

function inside(directory: number, name: Buffer | string): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${directory}/`), Buffer.from(name)]);
}

/** @returns how many entries it had */
function removeEntry(top: number, name: Buffer, path: string, dev: number): number {
  const place = inside(top, name);
  if (unlinkUnlessDirectory(place)) return 0;
  // A mount point cannot be renamed: what has a new name is no other file system, nor a part of this one bound there.
  const moved = inside(top, freshName());
  renameSync(place, moved);
  const directory = openDirectory(moved, path, dev);
  try {
    const names = namesIn(directory);
    for (const entry of names) {
      const below = inside(directory, entry);
      if (unlinkUnlessDirectory(below)) continue;
      // Its owner may not move a directory that is not writable.
      closeSync(openDirectory(below, path, dev));
      renameSync(below, inside(top, freshName()));
    }
    rmdirSync(moved);
    return names.length;
  } finally {
    closeSync(directory);
  }
}

function freshName(): string {
  return `.removed-${randomBytes(12).toString("hex")}`;
}

function unlinkUnlessDirectory(place: Buffer): boolean {
  try {
    unlinkSync(place);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EISDIR") return false;
    if (code === "ENOENT") return true;
    throw error;
  }
}

/** Opens a directory to be read, and makes it its owner's to write. */
function openDirectory(place: string | Buffer, path: string, dev: number): number {
  const handle = openSync(place, O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    const state = fstatSync(handle);
    if (state.dev !== dev) throw new GangwayError(`${path} is not removed: there is a mount point in it`);
    const itself = `/proc/self/fd/${handle}`;
    if ((state.mode & 0o700) !== 0o700) chmodSync(itself, 0o700);
    return openSync(itself, constants.O_RDONLY | constants.O_DIRECTORY);
  } finally {
    closeSync(handle);
  }
}
