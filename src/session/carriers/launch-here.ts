import type { Identity } from "../../config/identity.ts";
import { localJobs } from "../../job/local-jobs.ts";
import { condorGlobalId } from "../../job/manager-jobs.ts";
import { launchesOf } from "../condor-launch.ts";

/** As {@link htcondorClient} asks for it: a job of HTCondor's, of which any launch is meant. */
const JOB = /^(\d{1,10})\.(\d{1,10})$/;

/**
 * The launch that is meant where HTCondor has carried a client to a job of its. Jobs of one number in several queues may run on one
 * host, and one that has begun anew has another name: the job in which this process runs tells which is whose.
 *
 * @param bases the user's run bases
 * @param asked as the client has it
 * @returns the launch's id; as asked where it is no number of HTCondor's, or this process is in none of its jobs; undefined where
 *   the launch that is called so is another queue's
 */
export function launchHere(
  { identity, bases }: { readonly identity: Identity; readonly bases: readonly string[] },
  asked: string,
): string | undefined {
  const own = condorGlobalId(identity, process);
  if (own === undefined) return asked;
  const running = localJobs(identity, bases).filter((job) => job.state === "running");
  const isOther = (id: string) => {
    const launcher = running.find((job) => job.id === id)?.launcher;
    return launcher !== undefined && ![undefined, own].includes(condorGlobalId(identity, launcher));
  };
  const [, cluster, proc] = JOB.exec(asked) ?? [];
  if (cluster === undefined || proc === undefined) return isOther(asked) ? undefined : asked;
  const target = { cluster: Number(cluster), proc: Number(proc) };
  const launches = launchesOf(
    target,
    running.map(({ id }) => id),
  );
  if (launches.length === 0) return asked;
  return launches.find((id) => !isOther(id));
}
