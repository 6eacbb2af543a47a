import { lstatSync, opendirSync } from "node:fs";
import { join } from "node:path";
import { asUser, type Identity } from "../config/identity.ts";
import { readOwnFile } from "../config/own-file.ts";
import { wasLeft } from "../engine/beside.ts";
import type { ContainerSummary, Engine } from "../engine/types.ts";
import { JobDirectory } from "./directory.ts";
import { isOurs, LABEL } from "./labels.ts";
import { inLanes } from "./lanes.ts";
import { isGone, LONGEST_IDENTITY, parseIdentity } from "./process.ts";

/** What was found without a launcher, and removed. */
export interface Collected {
  readonly jobs: readonly string[];
  readonly directories: readonly string[];
}

/** A directory without a word about its launcher is being made at this moment, or its launcher was killed just then. */
const BEING_MADE_MS = 60_000;

/** An engine of the user's own may list as many as it likes. */
const REMOVED_AT_ONCE = 32;

/** Whether a directory in a run base has lost its launcher. To be called in the name of the directory's owner. */
export function isAbandoned(path: string): boolean {
  try {
    const identity = parseIdentity(readOwnFile(join(path, "launcher"), undefined, LONGEST_IDENTITY).trim());
    if (identity !== undefined) return isGone(identity);
  } catch {
    // Not written yet, or never.
  }
  const stat = lstatSync(path, { throwIfNoEntry: false });
  return stat?.isDirectory() === true && Date.now() - stat.mtimeMs > BEING_MADE_MS;
}

function isOrphan(container: ContainerSummary): boolean {
  const launcher = parseIdentity(container.labels[LABEL.launcher] ?? "");
  return launcher !== undefined && isGone(launcher) && isOurs(container);
}

/**
 * Removes the containers of a user whose launchers are dead: nodes of jobs, and what was made to look into an image.
 *
 * @returns the jobs they were of
 */
export async function collectContainers(engine: Engine, uid: number): Promise<string[]> {
  const orphans = (await engine.list([`${LABEL.uid}=${uid}`])).filter(isOrphan);
  await inLanes(REMOVED_AT_ONCE, orphans, (container) => engine.remove(container.id));
  return [...new Set(orphans.map(({ labels, name }) => labels[LABEL.job] ?? name))];
}

/**
 * Removes the containers that killed clients of `gangway inject` left beside others', whoever these clients were: nobody else
 * does before the next `gangway inject` on this engine.
 *
 * @returns how many there were
 */
export async function collectBeside(engine: Engine): Promise<number> {
  const left = (await engine.list([LABEL.beside])).filter(wasLeft);
  await inLanes(REMOVED_AT_ONCE, left, (container) => engine.remove(container.id));
  return left.length;
}

/**
 * Removes the directories of jobs whose launchers are dead.
 *
 * @param base of the user's run directories: nothing outside of it is touched
 * @param onFailure is told of each that cannot be looked at or removed: it keeps no other
 * @returns the paths of those that were removed
 */
export function collectDirectories(
  identity: Identity,
  base: string,
  onFailure: (path: string, error: unknown) => void,
): string[] {
  const removed: string[] = [];
  const failures: [path: string, error: unknown][] = [];
  // To become another user and root again takes longer than to look at a directory.
  asUser(identity, () => {
    for (const name of entriesOf(base)) {
      const path = join(base, name);
      try {
        if (!isAbandoned(path)) continue;
        new JobDirectory(base, name, identity).remove();
        removed.push(path);
      } catch (error) {
        failures.push([path, error]);
      }
    }
  });
  for (const [path, error] of failures) onFailure(path, error);
  return removed;
}

/** A user can make millions; what is beyond is looked at by the next call. */
const MOST_DIRECTORIES = 10_000;

/** The names in a user's run base, 10,000 at most. */
export function entriesOf(path: string): string[] {
  const names: string[] = [];
  const directory = opendirSync(path);
  try {
    for (
      let entry = directory.readSync();
      entry !== null && names.length < MOST_DIRECTORIES;
      entry = directory.readSync()
    ) {
      names.push(entry.name);
    }
  } finally {
    directory.closeSync();
  }
  return names;
}

/** The users who have containers of jobs on this engine; labels are whatever a user of the engine made them. */
export async function usersWithContainers(engine: Engine): Promise<number[]> {
  const containers = await engine.list([LABEL.uid]);
  return users(containers.map(({ labels }) => Number(labels[LABEL.uid])));
}

/** The users whose run bases these are; none for what is not there. */
export function ownersOf(runBases: readonly string[]): number[] {
  return users(runBases.map((base) => lstatSync(base, { throwIfNoEntry: false })?.uid ?? 0));
}

function users(uids: readonly number[]): number[] {
  return [...new Set(uids)].filter((uid) => Number.isInteger(uid) && uid > 0);
}
