import { hostname } from "node:os";
import { JobError, STATUS } from "../config/errors.ts";
import { localJob } from "../job/local-jobs.ts";
import { condorGlobalId } from "../job/manager-jobs.ts";
import { launchesOf, launchOf } from "./condor-launch.ts";
import {
  askQueue,
  type CondorId,
  type CondorPlace,
  condorProgram,
  explainQueued,
  type QueuedJob,
} from "./htcondor-queue.ts";
import { jobsInReach, type Seeker } from "./resolve.ts";

/** Whose job of which queue is meant. */
export interface PlaceRequest {
  readonly seeker: Seeker;
  readonly target: CondorId;
  readonly place: CondorPlace;
  /** The caller's name. */
  readonly user: string;
}

/** What a job's number means. */
export interface Meant {
  /** A launch's id; the job's own where none of it is known here. */
  readonly id: string;
  /** The queue that was named has it running on another host. */
  readonly elsewhere: boolean;
}

/**
 * The launch that a job's number means in the queue that was named, else in this host's own. Several queues may have a job of
 * one number, and the launches of both may run here: the launcher's job ad tells whose it is. The queue is asked where one was
 * named, or where that ad leaves a doubt.
 *
 * @throws JobError in HTCondor's words where the queue does not have that job, or it cannot be entered
 */
export async function launchMeant(request: PlaceRequest): Promise<Meant> {
  const { seeker, target, place } = request;
  const here = (id: string): Meant => ({ id, elsewhere: false });

  const launches = launchesOf(target, jobsInReach(seeker)).map((id) => ({ id, globalId: globalIdOf(seeker, id) }));
  if (place.schedd !== undefined || place.pool !== undefined) {
    const job = await queuedAt(request);
    const host = hostOf(job);
    const elsewhere = host !== undefined && host !== firstLabel(hostname());
    return elsewhere ? { id: job.id, elsewhere } : here(ofQueue(job, launches));
  }
  if (!isDoubtful(launches)) return here(launchOf(target, jobsInReach(seeker)));
  const answer = await askQueue(target);
  if (answer.kind === "none") throw noSuchJob(target, "of another queue one runs here: name that queue by -name");
  return here(answer.kind === "job" ? ofQueue(answer.job, launches) : launchOf(target, jobsInReach(seeker)));
}

interface Launch {
  readonly id: string;
  /** Of the job that it was made in; undefined: it cannot be told. */
  readonly globalId: string | undefined;
}

/** The processes are looked at, not the record: a job's directory is no word of HTCondor's. */
function globalIdOf({ places: { user }, bases }: Seeker, id: string): string | undefined {
  const job = localJob(user, bases, id);
  return job?.state === "running" && job.launcher !== undefined ? condorGlobalId(user, job.launcher) : undefined;
}

/** They are of several queues, or of one that is not the only one on its host: that has a name of its own, `NAME@HOST`. */
function isDoubtful(launches: readonly Launch[]): boolean {
  const queues = new Set(launches.flatMap(({ globalId }) => globalId?.split("#")[0] ?? []));
  return queues.size > 1 || [...queues].some((queue) => queue.includes("@"));
}

function ofQueue(job: QueuedJob, launches: readonly Launch[]): string {
  const [first] = launches;
  if (first === undefined || job.globalId === undefined) return first?.id ?? job.id;
  const own = launches.find(({ globalId }) => globalId === undefined || globalId === job.globalId);
  if (own === undefined) throw withoutContainer(job);
  return own.id;
}

/** @throws JobError where that queue cannot be asked, or has no job that could be entered here */
async function queuedAt({ target, place, user }: PlaceRequest): Promise<QueuedJob> {
  const answer = await askQueue(target, place);
  const where = place.schedd ?? place.pool ?? "";
  const id = `${target.cluster}.${target.proc}`;
  if (answer.kind === "silent") {
    const unknown = place.schedd !== undefined && /unknown host|no record/i.test(answer.reason);
    const pool = place.pool === undefined ? "local pool" : `pool ${place.pool}`;
    throw unknown
      ? new JobError(`No such schedd named ${place.schedd} in ${pool}`, {
          hint: "condor_status -schedd lists them",
          exitCode: STATUS.unreachable,
        })
      : new JobError(`${where} cannot be asked for job ${id}: ${answer.reason}`, { exitCode: STATUS.unreachable });
  }
  if (answer.kind === "none") throw noSuchJob(target, `${where} does not have it`);
  const refusal = explainQueued(answer.job, user);
  if (refusal !== undefined) throw refusal;
  return answer.job;
}

/** The machine's name without its domain: the pool and the host may write that differently. */
function hostOf({ remoteHost }: QueuedJob): string | undefined {
  return remoteHost === undefined ? undefined : firstLabel(remoteHost.slice(remoteHost.lastIndexOf("@") + 1));
}

function firstLabel(host: string): string {
  return (host.split(".")[0] ?? "").toLowerCase();
}

/** What has left the queue does not come back: it is not one to wait for. */
export function noSuchJob({ cluster, proc }: CondorId, where: string): JobError {
  return new JobError("Unable to fetch job ad; is it still in the queue?", {
    hint: `job ${cluster}.${proc} is not in it: ${where}`,
    exitCode: STATUS.ended,
  });
}

/** The queue has it running, and nothing of Gangway's runs for it. */
export function withoutContainer(job: QueuedJob): JobError {
  const host = hostOf(job);
  const theirs = condorProgram("condor_ssh_to_job") ?? "condor_ssh_to_job";
  const there = host === undefined || host === firstLabel(hostname()) ? "here" : "there";
  return new JobError(
    `Job ${job.id} is running${host === undefined ? "" : ` on ${host}`}, but Gangway has no container of it ${there}, or not yet`,
    {
      hint: `a job that does not use Gangway is entered by HTCondor's own program: ${theirs} ${job.id}`,
      exitCode: STATUS.notYet,
    },
  );
}
