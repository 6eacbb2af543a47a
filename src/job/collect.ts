import { lstatSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { asUser, type Identity } from "../config/identity.ts";
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

function isAbandoned(path: string): boolean {
  try {
    const identity = parseIdentity(readFileSync(join(path, "launcher"), "utf8").trim());
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
 * Removes what jobs left whose launcher and watchdog were both killed: containers found by their labels, directories
 * found in the run base.
 *
 * @param base of the user's run directories: nothing outside of it is touched, whatever a label says
 */
export async function collect(engine: Engine, identity: Identity, base: string): Promise<Collected> {
  // Not only nodes of jobs: also what was made to look into an image.
  const orphans = (await engine.list([`${LABEL.uid}=${identity.uid}`])).filter(isOrphan);
  await Promise.all(orphans.map((container) => engine.remove(container.id)));
  const jobs = new Set(orphans.map(({ labels, name }) => labels[LABEL.job] ?? name));
  const abandoned = asUser(identity, () => readdirSync(base).filter((name) => isAbandoned(join(base, name))));
  for (const name of abandoned) new JobDirectory(base, name, identity).remove();
  return { jobs: [...jobs], directories: abandoned.map((name) => join(base, name)) };
}
