import type { CondorTarget } from "./condor-words.ts";

/**
 * Of the launches that are known, those that a job of HTCondor's is in, or was: a job that was evicted, or held and released,
 * begins anew as `32.0-r1`, and one that launches twice has `32.0-2` as well. The latest run stands first, and of that the first
 * launch. The job of that number in another queue has such ids, too.
 *
 * @param launches ids of jobs as Gangway has them
 */
export function launchesOf(
  { cluster, proc }: Pick<CondorTarget, "cluster" | "proc">,
  launches: readonly string[],
): string[] {
  const own = `${cluster}.${proc}`;
  const found = launches.flatMap((id) => {
    if (id === own) return [{ id, restarts: 0, launch: 1 }];
    const match = id.startsWith(own) ? /^(?:-r(\d+))?(?:-(\d+))?$/.exec(id.slice(own.length)) : null;
    return match === null ? [] : [{ id, restarts: Number(match[1] ?? 0), launch: Number(match[2] ?? 1) }];
  });
  return found.toSorted((one, other) => other.restarts - one.restarts || one.launch - other.launch).map(({ id }) => id);
}

/** The first of {@link launchesOf}, or the job's own id where none is known. */
export function launchOf(target: Pick<CondorTarget, "cluster" | "proc">, launches: readonly string[]): string {
  return launchesOf(target, launches)[0] ?? `${target.cluster}.${target.proc}`;
}
