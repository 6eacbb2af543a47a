import { spawnSync } from "node:child_process";
import { accessSync, constants, lstatSync, mkdirSync, mkdtempSync, renameSync, rmSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { GangwayError, reasonOf } from "../config/errors.ts";
import { programNamed, whyNotStarted } from "../config/program-path.ts";

/** What an installed package has instead of the tree: npm keeps neither hard links nor symbolic ones. */
const ARCHIVE = "build/udiImage.tar.gz";

/**
 * The archive of an installed package that holds the udiImage; undefined where there is none.
 *
 * @param program the directory of the running program
 */
export function packedUdiImage(program: string): string | undefined {
  const path = join(program, "..", ARCHIVE);
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true ? path : undefined;
}

/**
 * Unpacks the tree, once: beside its archive, where the caller may write there (then it is everybody's), else in the caller's
 * own cache, under a name that tells one archive from another.
 *
 * @param cache the caller's cache directory
 * @returns the tree's path
 * @throws GangwayError when it can be put nowhere, or there is no tar(1)
 */
export function unpackUdiImage(archive: string, cache: string): string {
  const beside = join(dirname(archive), "udiImage");
  if (isWritable(dirname(archive))) return unpacked(archive, beside);
  const { size, mtimeMs } = statSync(archive);
  const own = join(cache, `udiImage-${size}-${Math.round(mtimeMs)}`);
  // What lies there is executed.
  mkdirSync(cache, { recursive: true, mode: 0o700 });
  for (const path of [cache, own]) refuseOthers(path);
  return isTree(own) ? own : unpacked(archive, own);
}

/** @throws GangwayError where others than the caller and root could have put something there */
function refuseOthers(path: string): void {
  const state = lstatSync(path, { throwIfNoEntry: false });
  if (state === undefined) return;
  const owner = process.geteuid?.() ?? 0;
  const fault = !state.isDirectory()
    ? "it is no directory"
    : state.uid !== owner && state.uid !== 0
      ? `it belongs to uid ${state.uid}`
      : (state.mode & 0o022) !== 0
        ? "others can write it"
        : undefined;
  if (fault === undefined) return;
  throw new GangwayError(`programs are not taken from ${path}: ${fault}`, {
    hint: `look what others have put there, and remove it; gangway makes it anew`,
  });
}

function isTree(path: string): boolean {
  return statSync(join(path, "manifest.json"), { throwIfNoEntry: false })?.isFile() === true;
}

function isWritable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** It is there whole or not at all, also where two do it at once. */
function unpacked(archive: string, place: string): string {
  const parent = dirname(place);
  let fresh: string | undefined;
  try {
    mkdirSync(parent, { recursive: true, mode: 0o700 });
    fresh = mkdtempSync(join(parent, `.${basename(place)}-`));
    extract(archive, fresh);
    renameSync(join(fresh, "udiImage"), place);
  } catch (error) {
    if (!isTree(place)) throw failure(archive, place, error);
  } finally {
    if (fresh !== undefined) rmSync(fresh, { recursive: true, force: true });
  }
  return place;
}

function extract(archive: string, directory: string): void {
  const words = ["-xzpf", archive, "-C", directory, "--no-same-owner"];
  const { error, status, stderr } = spawnSync(programNamed("tar"), words, {
    stdio: ["ignore", "ignore", "pipe"],
    encoding: "utf8",
  });
  if (error !== undefined) throw new GangwayError(`tar: ${whyNotStarted(error)}`, { cause: error });
  if (status !== 0) throw new GangwayError(stderr.trim().split("\n")[0] ?? "tar failed");
}

function failure(archive: string, place: string, error: unknown): GangwayError {
  return new GangwayError(`the udiImage of this package cannot be unpacked to ${place}: ${reasonOf(error)}`, {
    hint: `tar(1) and gzip(1) are needed, and room; or unpack ${archive} yourself, and set udiImagePath`,
    cause: error,
  });
}
