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
