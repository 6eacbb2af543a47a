import type { Surroundings } from "../allocation/allocation.ts";
import { detectManager, type WhichManager } from "../allocation/detect.ts";
import { JobError, STATUS } from "../config/errors.ts";
import { firstLaunchId } from "./id.ts";

/**
 * The launch that belongs to the workload manager's job in which this process runs, such as the shell that
 * `condor_ssh_to_job` or `srun --overlap` gives: who says no job there means that one, however many run on this machine.
 *
 * @param which the setting `wlm`
 * @param jobs the ids of the user's running jobs
 * @returns undefined where there is no manager's job around this process
 * @throws GangwayError when the manager's word cannot be understood; JobError when the manager's job has no launch
 *   here, or several: another job's container is never what was meant
 */
export function surroundingLaunch(
  which: WhichManager,
  surroundings: Surroundings,
  jobs: readonly string[],
): string | undefined {
  const manager = detectManager(which, surroundings);
  if (manager === undefined) return undefined;
  const own = manager.job(surroundings);
  const launches = launchesOf(own, jobs);
  const [only, another] = launches;
  if (only !== undefined && another === undefined) return only;
  const whose = `${manager.title}'s job ${own.id}, in which this is called,`;
  if (only !== undefined) {
    throw new JobError(`${whose} has several launches: ${launches.join(", ")}`, {
      hint: "say which",
      exitCode: STATUS.several,
    });
  }
  throw new JobError(`${whose} has no launch that runs on this engine`, {
    hint:
      jobs.length === 0 ? "it may not run yet" : `it may not run yet; others are entered by name: ${jobs.join(", ")}`,
  });
}

/**
 * All launches that belong to the workload manager's job in which this process runs.
 *
 * @returns undefined where there is no manager's job around this process
 */
export function surroundingLaunches(
  which: WhichManager,
  surroundings: Surroundings,
  jobs: readonly string[],
): string[] | undefined {
  const manager = detectManager(which, surroundings);
  return manager === undefined ? undefined : launchesOf(manager.job(surroundings), jobs);
}

function launchesOf(own: Parameters<typeof firstLaunchId>[0], jobs: readonly string[]): string[] {
  const first = firstLaunchId(own);
  return jobs.filter((job) => job === first || isLater(job, first));
}

function isLater(job: string, first: string): boolean {
  return job.startsWith(`${first}-`) && /^[0-9]+$/.test(job.slice(first.length + 1));
}
