import { readFileSync } from "node:fs";
import type { Ulimit } from "./types.ts";

/** The two limits that Podman sets to 1048576 where a container's own list leaves them out, and their lines in /proc. */
const PODMAN_RAISES: readonly (readonly [string, string])[] = [
  ["nofile", "Max open files"],
  ["nproc", "Max processes"],
];

/**
 * A list of limits made whole for Podman as root: as soon as one is given it raises those of {@link PODMAN_RAISES} that are not,
 * which fails where the engine may not raise limits, and would give a job more than its allocation where it may. The
 * caller's own limits, which the workload manager set, take their place; but no more processes than there can be pids, to
 * which number Podman lowers its own limit.
 *
 * @param limits text of /proc/self/limits
 * @param pidMax text of /proc/sys/kernel/pid_max
 */
export function completeUlimits(
  asked: readonly Ulimit[],
  limits: string = readFileSync("/proc/self/limits", "utf8"),
  pidMax: string = readFileSync("/proc/sys/kernel/pid_max", "utf8"),
): Ulimit[] {
  const missing = PODMAN_RAISES.filter(([name]) => !asked.some((limit) => limit.name === name));
  return [...asked, ...missing.flatMap(([name, line]) => ownLimit(name, line, limits, Number(pidMax)))];
}

function ownLimit(name: string, line: string, limits: string, pidMax: number): Ulimit[] {
  const match = new RegExp(`^${line} +(\\S+) +(\\S+)`, "m").exec(limits);
  if (match === null) return [];
  const ceiling = name === "nproc" ? pidMax : Number.POSITIVE_INFINITY;
  const [soft = -1, hard = -1] = [match[1], match[2]].map((value) => {
    const given = value === "unlimited" ? Number.POSITIVE_INFINITY : Number(value);
    const least = Math.min(given, ceiling);
    return Number.isFinite(least) ? least : -1;
  });
  return [{ name, soft, hard }];
}

/** Limits as the engines call them, and their lines in /proc/PID/limits (proc(5)); that of the address space no engine knows. */
const LINES: readonly (readonly [string, string])[] = [
  ["core", "Max core file size"],
  ["cpu", "Max cpu time"],
  ["data", "Max data size"],
  ["fsize", "Max file size"],
  ["locks", "Max file locks"],
  ["memlock", "Max locked memory"],
  ["msgqueue", "Max msgqueue size"],
  ["nice", "Max nice priority"],
  ["nofile", "Max open files"],
  ["nproc", "Max processes"],
  ["rss", "Max resident set"],
  ["rtprio", "Max realtime priority"],
  ["rttime", "Max realtime timeout"],
  ["sigpending", "Max pending signals"],
  ["stack", "Max stack size"],
];

/**
 * A process's own limits, in the units of getrlimit(2).
 *
 * @param limits text of /proc/PID/limits
 * @param pidMax text of /proc/sys/kernel/pid_max: there can be no more processes
 * @param caller the same text of the process that called this one, where it is the same user's: Node.js raises its own soft limit
 *   of open files to the hard one when it starts, so that only the caller still knows what it was
 */
export function ulimitsOf(limits: string, pidMax: string, caller = ""): Ulimit[] {
  return LINES.flatMap(([name, line]) => {
    const own = ownLimit(name, line, limits, Number(pidMax));
    if (name !== "nofile") return own;
    const [before] = ownLimit(name, line, caller, Number(pidMax));
    return own.map((limit) => (before === undefined ? limit : { ...limit, soft: lower(before.soft, limit.hard) }));
  });
}

/** The lower of two limits, of which -1 is none. */
function lower(one: number, other: number): number {
  return one === -1 ? other : other === -1 ? one : Math.min(one, other);
}
