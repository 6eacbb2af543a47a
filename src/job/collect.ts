import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { asUser, type Identity } from "../config/identity.ts";
import { readOwnFile } from "../config/own-file.ts";
import type { ContainerSummary, Engine } from "../engine/types.ts";
import { JobDirectory } from "./directory.ts";
import { LABEL } from "./labels.ts";
import { isGone, parseIdentity } from "./process.ts";

/** What was found without a launcher, and removed. */
export interface Collected {
  readonly jobs: readonly string[];
  readonly directories: readonly string[];
}

/** A directory without a word about its launcher is being made at this moment, or its launcher was killed just then. */
const BEING_MADE_MS = 60_000;

/** Whether a directory in a run base has lost its launcher. To be called in the name of the directory's owner. */
export function isAbandoned(path: string): boolean {
  try {
    const identity = parseIdentity(readOwnFile(join(path, "launcher"), undefined).trim());
    if (identity !== undefined) return isGone(identity);
  } catch {
    // Not written yet, or never.
  }
  const stat = lstatSync(path, { throwIfNoEntry: false });
  return stat?.isDirectory() === true && Date.now() - stat.mtimeMs > BEING_MADE_MS;
}

function isOrphan({ labels }: ContainerSummary): boolean {
  const launcher = parseIdentity(labels[LABEL.launcher] ?? "");
  return launcher !== undefined && isGone(launcher);
}

/**
 * Removes the containers of a user whose launchers are dead: nodes of jobs, and what was made to look into an image.
 *
 * @returns the jobs they were of
 */
export async function collectContainers(engine: Engine, uid: number): Promise<string[]> {
  const orphans = (await engine.list([`${LABEL.uid}=${uid}`])).filter(isOrphan);
  await Promise.all(orphans.map((container) => engine.remove(container.id)));
  return [...new Set(orphans.map(({ labels, name }) => labels[LABEL.job] ?? name))];
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
  for (const name of asUser(identity, () => readdirSync(base))) {
    const path = join(base, name);
    try {
      if (!asUser(identity, () => isAbandoned(path))) continue;
      new JobDirectory(base, name, identity).remove();
      removed.push(path);
    } catch (error) {
      onFailure(path, error);
    }
  }
  return removed;
}

/** The users who have, or had, jobs on this engine or run directories on this machine. */
export async function usersWithRemains(engine: Engine, runBases: readonly string[]): Promise<number[]> {
  const containers = await engine.list([LABEL.uid]);
  const owners = runBases.map((base) => lstatSync(base, { throwIfNoEntry: false })?.uid ?? 0);
  const uids = new Set([...containers.map(({ labels }) => Number(labels[LABEL.uid])), ...owners]);
  return [...uids].filter((uid) => Number.isInteger(uid) && uid > 0);
}
