import { lstatSync, readFileSync, type Stats, statSync } from "node:fs";
import { LaunchError } from "../config/errors.ts";
import { MountTable } from "../config/mount-table.ts";
import type { MountSpec } from "../engine/types.ts";

/*
 * A root launcher checks what is to be mounted with the rights of the job's user; the engine then follows the path with
 * root's. In between the user can put a link in its place. So before the command starts it is looked at what was really
 * mounted: nothing but init has run in the container by then. So it is, too, where the engine lives among other mounts than
 * this process, and may have another directory by the same path.
 */

/** What stands at a place in a container, as it was when the user's rights were asked. */
export interface Expected {
  readonly target: string;
  readonly file: string;
}

function nameOf({ dev, ino }: Stats): string {
  return `${dev}:${ino}`;
}

/**
 * What the sources of mounts are at this moment. To be called in the name of the job's user.
 *
 * @param ours sources made by us, which must be there themselves, no links, and the user's own
 */
export function expectMounts(mounts: readonly MountSpec[], ours: (mount: MountSpec) => boolean): Expected[] {
  return mounts.map((mount) => {
    const state = ours(mount) ? lstatSync(mount.source) : statSync(mount.source);
    const file = ours(mount) && state.uid !== process.geteuid?.() ? "another user's" : nameOf(state);
    return { target: mount.target, file };
  });
}

/** Why something else may have been mounted than what was meant. */
export interface Doubt {
  /** Whether nothing is started where it cannot be looked. */
  readonly strict: boolean;
  /** To follow "what is mounted at PLACE is not ". */
  readonly fault: string;
  readonly hint: string;
}

/** The job's user may have put a link in a path's place. */
export const SWAPPED: Doubt = {
  strict: true,
  fault: "what was checked with the user's rights",
  hint: "somebody changed it meanwhile, or the image has a link there; start the job as its user",
};

/** The engine lives among other mounts than this process. */
export const ELSEWHERE: Doubt = {
  strict: false,
  fault: "what this job has by that name, but another directory of the engine's, and was not shown",
  hint: "the job has mounts of its own, such as a private /tmp: use directories that the whole host sees",
};

/**
 * Compares with what was really mounted.
 *
 * @param pid of the container's first process, in this host's numbers
 * @throws LaunchError when something else was
 */
export function checkMounted(node: string, pid: number, expected: readonly Expected[], doubt: Doubt): void {
  const points = looking(doubt, () => mountPoints(pid));
  if (points === undefined) return;
  for (const { target, file } of expected) {
    const mounted = points.has(target)
      ? looking(doubt, () => nameOf(statSync(`/proc/${pid}/root${target}`)))
      : "nothing";
    if (mounted === undefined || mounted === file) continue;
    throw new LaunchError(node, `what is mounted at ${target} is not ${doubt.fault}`, { hint: doubt.hint });
  }
}

/** The places at which something is mounted in a process's mount namespace. */
function mountPoints(pid: number): Set<string> {
  return new Set(new MountTable(readFileSync(`/proc/${pid}/mountinfo`, "utf8")).mounts.map(({ point }) => point));
}

function looking<T>({ strict }: Doubt, look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (strict) throw error;
    // Another user's process, or one in a user namespace that is closed to us.
    return undefined;
  }
}
