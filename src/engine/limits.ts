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
 * caller's own limits, which the workload manager set, take their place.
 *
 * @param limits text of /proc/self/limits
 */
export function completeUlimits(
  asked: readonly Ulimit[],
  limits = readFileSync("/proc/self/limits", "utf8"),
): Ulimit[] {
  const missing = PODMAN_RAISES.filter(([name]) => !asked.some((limit) => limit.name === name));
  return [...asked, ...missing.flatMap(([name, line]) => ownLimit(name, line, limits))];
}

function ownLimit(name: string, line: string, limits: string): Ulimit[] {
  const match = new RegExp(`^${line} +(\\S+) +(\\S+)`, "m").exec(limits);
  if (match === null) return [];
  const [soft, hard] = [match[1], match[2]].map((value) => (value === "unlimited" ? -1 : Number(value)));
  return soft === undefined || hard === undefined ? [] : [{ name, soft, hard }];
}
