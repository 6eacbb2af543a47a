import { lstatSync, readFileSync, type Stats, statSync } from "node:fs";
import { LaunchError } from "../config/errors.ts";
import type { MountSpec } from "../engine/types.ts";

/*
 * A root launcher checks what is to be mounted with the rights of the job's user; the engine then follows the path with
 * root's. In between the user can put a link in its place. So before the command starts it is looked at what was really
 * mounted: nothing but init has run in the container by then.
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

/** The places at which something is mounted in a process's mount namespace (proc_pid_mountinfo(5)). */
function mountPoints(pid: number): Set<string> {
  const lines = readFileSync(`/proc/${pid}/mountinfo`, "utf8").split("\n");
  const decoded = (text: string) =>
    text.replace(/\\([0-7]{3})/g, (_all, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
  return new Set(lines.map((line) => decoded(Buffer.from(line.split(" ")[4] ?? "", "utf8").toString("latin1"))));
}

/**
 * Compares with what was really mounted.
 *
 * @param pid of the container's first process, in this host's numbers
 * @throws LaunchError when something else was
 */
export function checkMounted(node: string, pid: number, expected: readonly Expected[]): void {
  const points = mountPoints(pid);
  for (const { target, file } of expected) {
    const latin = Buffer.from(target, "utf8").toString("latin1");
    const mounted = points.has(latin) ? nameOf(statSync(`/proc/${pid}/root${target}`)) : "nothing";
    if (mounted === file) continue;
    throw new LaunchError(node, `what is mounted at ${target} is not what was checked with the user's rights`, {
      hint: "somebody changed it meanwhile, or the image has a link there; start the job as its user",
    });
  }
}
