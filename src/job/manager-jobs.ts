import { lstatSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Surroundings } from "../allocation/allocation.ts";
import { detectManager } from "../allocation/detect.ts";
import { globalJobId } from "../allocation/htcondor.ts";
import { asUser, type Identity } from "../config/identity.ts";
import { readEnvironment, readOwnFile } from "../config/own-file.ts";
import { isJobId } from "../udi/names.ts";
import { entriesOf } from "./collect.ts";
import { isNamedAfter } from "./id.ts";
import { localJob } from "./local-jobs.ts";
import { formatIdentity, isGone, LONGEST_IDENTITY, type ProcessIdentity, parseIdentity } from "./process.ts";

/** A job whose launcher, or node process, lives on this host, as far as its directory is to be believed. */
export interface LiveJob {
  readonly id: string;
  /** Its private directory. */
  readonly directory: string;
  readonly launcher: ProcessIdentity;
}

/** How many directories there are, and which processes they name, is their user's word. */
const LOOKING_MS = 10_000;

/**
 * A user's jobs on this host that were launched inside a workload manager's job and still live, whatever they are called:
 * the environment of the process that launched one tells whose job it was. Where that tells nothing, the name does.
 *
 * @param bases the user's run bases (`findRunBases`)
 * @param id the manager's: `1234`, `1234_7`, `32.0`; of Slurm also the number that an array's task has for itself
 * @param onTooMany called where there is more than can be looked at in 10 s: then these are not all
 */
export function jobsLaunchedIn(
  identity: Identity,
  bases: readonly string[],
  id: string,
  onTooMany: () => void = () => undefined,
): LiveJob[] {
  const until = performance.now() + LOOKING_MS;
  // Many directories may name one process.
  const known = new Map<string, boolean | undefined>();
  const found: LiveJob[] = [];
  for (const job of bases.flatMap((base) => liveJobsIn(identity, base))) {
    if (performance.now() > until) {
      onTooMany();
      break;
    }
    const process = formatIdentity(job.launcher);
    if (!known.has(process)) known.set(process, isLaunchedIn(identity, job.launcher, id));
    if (known.get(process) ?? isNamedAfter(job.id, id)) found.push(job);
  }
  return found;
}

/** Undefined: its environment tells of no manager. */
function isLaunchedIn(identity: Identity, launcher: ProcessIdentity, id: string): boolean | undefined {
  const ids = managerIds(identity, launcher);
  return ids.length === 0 ? undefined : ids.includes(id);
}

function liveJobsIn(identity: Identity, base: string): LiveJob[] {
  try {
    // To become another user and root again takes longer than to look at a directory.
    return asUser(identity, () =>
      entriesOf(base)
        .filter(isJobId)
        .sort()
        .flatMap((id) => {
          const directory = join(base, id);
          const launcher = launcherOf(identity, directory);
          return launcher === undefined || isGone(launcher) ? [] : [{ id, directory, launcher }];
        }),
    );
  } catch {
    return [];
  }
}

/**
 * Whom a job's private directory names as the process that made it; undefined where it names none.
 *
 * Nothing else of the directory is read: what is in it is as large, and as much, as the user likes.
 */
export function launcherOf(identity: Identity, directory: string): ProcessIdentity | undefined {
  try {
    return asUser(identity, () => {
      const state = lstatSync(directory);
      if (!state.isDirectory() || state.uid !== identity.uid) return undefined;
      return parseIdentity(readOwnFile(join(directory, "launcher"), identity.uid, LONGEST_IDENTITY).trim());
    });
  } catch {
    return undefined;
  }
}

/** What the manager calls the job that a process runs in, in its users' form and in its own. */
function managerIds(identity: Identity, { pid }: ProcessIdentity): string[] {
  try {
    const surroundings = surroundingsOf(identity, pid);
    const manager = detectManager("auto", surroundings);
    if (manager === undefined) return [];
    const own = manager.marks.map((mark) => surroundings.env[mark] ?? "");
    return [manager.job(surroundings).id, ...own];
  } catch {
    // It has just ended, or the manager's word cannot be understood.
    return [];
  }
}

/**
 * HTCondor's name, among all queues, of the job in which a user's process runs, such as a job's launcher.
 *
 * @returns undefined where it runs in none, or that cannot be told
 */
export function condorGlobalId(identity: Identity, { pid }: Pick<ProcessIdentity, "pid">): string | undefined {
  try {
    return globalIdIn(surroundingsOf(identity, pid));
  } catch {
    // It has just ended.
    return undefined;
  }
}

/**
 * Of jobs, by their ids, all but those that were launched in a job of another of HTCondor's queues than the one around the
 * caller: two queues may have a job of the same number.
 *
 * @param bases the user's run bases
 * @param around what the caller's manager is asked by
 */
export function withoutOtherQueues(
  identity: Identity,
  bases: readonly string[],
  ids: readonly string[],
  around: Surroundings,
): string[] {
  const own = globalIdIn(around);
  return ids.filter((id) => {
    const job = own === undefined ? undefined : localJob(identity, bases, id);
    const launcher = job?.state === "running" ? job.launcher : undefined;
    return launcher === undefined || [undefined, own].includes(condorGlobalId(identity, launcher));
  });
}

function globalIdIn(surroundings: Surroundings): string | undefined {
  try {
    return globalJobId(surroundings);
  } catch {
    return undefined;
  }
}

/** By what a manager is known where that process runs. */
function surroundingsOf(identity: Identity, pid: number): Surroundings {
  return {
    env: parseEnvironment(asUser(identity, () => readEnvironment(pid))),
    hostname: hostname(),
    // Whosever they are: HTCondor's job ad is the starter's own. The user's rights, and no FIFO, as for a launch.
    readFile: (path: string) => asUser(identity, () => readOwnFile(path, undefined)),
  };
}

function parseEnvironment(text: string): Record<string, string> {
  return Object.fromEntries(
    text.split("\0").flatMap((entry) => {
      const equals = entry.indexOf("=");
      return equals < 1 ? [] : [[entry.slice(0, equals), entry.slice(equals + 1)]];
    }),
  );
}
