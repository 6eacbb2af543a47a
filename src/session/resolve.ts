import { hostname } from "node:os";
import { dirname } from "node:path";
import { sameHost } from "../allocation/allocation.ts";
import { EngineError, JobError, STATUS } from "../config/errors.ts";
import type { Places } from "../config/paths.ts";
import { didYouMean } from "../config/suggest.ts";
import type { EndedJob } from "../job/ended.ts";
import { isLaunchOf } from "../job/id.ts";
import { type IndexEntry, readIndex } from "../job/index-entry.ts";
import type { JobSummary } from "../job/jobs.ts";
import { type LocalJob, type LocalNode, localJob, localJobs, type RunningLocalJob } from "../job/local-jobs.ts";
import { quoted } from "../udi/names.ts";
import type { CarrierSettings } from "./carriers/switchboard.ts";
import { chooseReading, nodeOf, type Reading, readingsOf, wordOf } from "./target.ts";

/** Whose jobs are looked for, and where. */
export interface Seeker {
  readonly places: Places;
  /** The user's run bases on this host. */
  readonly bases: readonly string[];
  /** Everybody's jobs on the engine: asked only to say why a job cannot be reached. */
  engineJobs(): Promise<readonly JobSummary[]>;
  endedJob(job: string): EndedJob | undefined;
  /** How the ways of workload managers are gone. @throws ConfigError where there is no udiImage */
  carriers(): CarrierSettings;
}

/** Where a job was found. */
export type Found =
  | { readonly where: "here"; readonly job: RunningLocalJob; readonly node: LocalNode }
  | { readonly where: "elsewhere"; readonly host: string; readonly reading: Reading };

type Hit = Found | { readonly where: "not running"; readonly job: LocalJob; readonly reading: Reading };

/** What one reading of a name leads to: on this host before all, then in the index. */
function lookUp({ places, bases }: Seeker, index: readonly IndexEntry[], reading: Reading): Hit | undefined {
  const entry = index.find(({ job }) => job === reading.job);
  const elsewhere: Hit | undefined =
    entry === undefined || entry.host === hostname() ? undefined : { where: "elsewhere", host: entry.host, reading };
  const job = localJob(places.user, bases, reading.job);
  if (job === undefined) return elsewhere;
  if (job.state !== "running") {
    if (job.state === "gone" && elsewhere !== undefined) return elsewhere;
    return { where: "not running", job, reading };
  }
  const node = nodeOf(job, reading.node);
  if (node !== undefined) return { where: "here", job, node };
  // Another job of that id, unless it is this one, which has no such node there either.
  return entry !== undefined && nodeOf(entry, reading.node) !== undefined ? elsewhere : undefined;
}

/**
 * The job that a name means, and where it runs. Without the engine, where the job runs on this host: its directory says
 * all that is needed.
 *
 * @throws JobError with the exit status that internals, section 10, has for what is the matter
 */
export async function resolveJob(seeker: Seeker, text: string): Promise<Found>;
/**
 * The same, and asks elsewhere for what is neither on this host nor in the index, before the engine is asked why.
 *
 * @param ask returns undefined where it knows no such job; throws JobError with the status of what is the matter
 */
export async function resolveJob<T extends { readonly host: string }>(
  seeker: Seeker,
  text: string,
  ask: (readings: readonly Reading[]) => Promise<T | undefined>,
): Promise<Found | T>;
export async function resolveJob<T extends { readonly host: string }>(
  seeker: Seeker,
  text: string,
  ask: (readings: readonly Reading[]) => Promise<T | undefined> = async () => undefined,
): Promise<Found | T> {
  const readings = readingsOf(text);
  const { cluster } = readings[0];
  if (cluster !== undefined) {
    throw new JobError(`clusters are names of your own ssh configuration: no cluster ${cluster} is known here`, {
      hint: `leave .${cluster} out, or go through a host of that cluster: gangway ssh --via HOST ${wordOf(readings[0])}`,
      exitCode: STATUS.noSuchJob,
    });
  }
  const index = readIndex(seeker.places.user, seeker.places.home);
  const find = (wanted: readonly Reading[]) =>
    chooseReading(
      text,
      wanted,
      (reading) => lookUp(seeker, index, reading),
      ({ where }) => where !== "not running",
    );
  const hit = find(readings) ?? findAlike(seeker, readings, find);
  if (hit === undefined) return await findFurther(seeker, text, readings, ask);
  if (hit.where !== "not running") return checkEnterable(hit);
  const id = hit.job.id;
  if (hit.job.state === "launching") {
    throw new JobError(`job ${id} is being launched and does not run yet`, {
      hint: `wait for it: gangway ssh --auto-retry ${id}`,
      exitCode: STATUS.notYet,
    });
  }
  throw ended(id, seeker.endedJob(id)) ?? killed(id);
}

/** What an engine on this host knows of a job says more than what a manager does. */
async function findFurther<T extends { readonly host: string }>(
  seeker: Seeker,
  text: string,
  readings: readonly [Reading, ...Reading[]],
  ask: (readings: readonly Reading[]) => Promise<T | undefined>,
): Promise<Found | T> {
  const told = await Promise.allSettled([ask(readings)]);
  const [answer] = told;
  if (answer.status === "fulfilled" && answer.value !== undefined && !sameHost(answer.value.host, hostname())) {
    return answer.value;
  }
  try {
    return checkEnterable(await findByLabel(seeker, text, readings));
  } catch (error) {
    if (!(error instanceof JobError) || error.exitCode !== STATUS.noSuchJob) throw error;
    if (answer.status === "rejected") throw answer.reason;
    if (answer.value !== undefined) return answer.value;
    throw error;
  }
}

/** Names that are not quite a job's own. */
function findAlike<T>(
  seeker: Seeker,
  readings: readonly Reading[],
  find: (wanted: readonly Reading[]) => T | undefined,
): T | undefined {
  const jobs = jobsInReach(seeker);
  const meant = (fits: (job: string, asked: string) => boolean) =>
    readings.flatMap((reading) => {
      return jobs.filter((job) => fits(job, reading.job)).map((job) => ({ ...reading, job }));
    });
  // Host names have no upper and lower case.
  const respelled = find(meant((job, asked) => job.toLowerCase() === asked.toLowerCase()));
  // A manager's job that has begun anew, or launches once more, has launches of other names: `32` may be `32.0-r1`.
  return respelled ?? find(meant(isLaunchOf));
}

function checkEnterable(found: Found): Found {
  if (found.where === "here" && !found.job.record.sshd) {
    throw new JobError(`job ${found.job.id} takes no sessions: it was started without an sshd`, {
      hint: "its command's output is in `gangway logs`, where it is detached",
      exitCode: STATUS.unreachable,
    });
  }
  return found;
}

function killed(id: string): JobError {
  return new JobError(`job ${id} has ended: its launcher was killed`, {
    hint: "what it left is cleared by `gangway gc`",
    exitCode: STATUS.ended,
  });
}

function ended(id: string, end: EndedJob | undefined): JobError | undefined {
  if (end === undefined) return undefined;
  return new JobError(`job ${id} has ended: exit status ${end.exitCode}, ${end.ended}`, {
    hint: `what it printed: gangway logs ${id}`,
    exitCode: STATUS.ended,
  });
}

/** The ids of the user's jobs that this host knows of: its own, and those in the index. */
export function jobsInReach({ places: { user, home }, bases }: Pick<Seeker, "places" | "bases">): string[] {
  const indexed = readIndex(user, home).map(({ job }) => job);
  return [...new Set([...localJobs(user, bases).map(({ id }) => id), ...indexed])];
}

/**
 * A job whose directory is in none of the usual places: its containers' labels say where.
 *
 * @throws JobError that says why there is none
 */
async function findByLabel(
  seeker: Seeker,
  text: string,
  readings: readonly [Reading, ...Reading[]],
): Promise<Extract<Found, { where: "here" }>> {
  const { user } = seeker.places;
  const noNode = withoutNode(seeker, readings);
  if (noNode !== undefined) throw noNode;
  const engine = await askEngine(seeker);
  for (const reading of readings) {
    const own = engine.jobs.find((summary) => summary.job === reading.job && summary.uid === user.uid);
    if (own?.directory === undefined) continue;
    const bases = [dirname(own.directory)];
    const job = localJob(user, bases, reading.job);
    const node = job?.state === "running" ? nodeOf(job, reading.node) : undefined;
    if (job?.state === "running" && node !== undefined) return { where: "here", job, node };
    const missing = withoutNode({ ...seeker, bases }, [reading]);
    if (missing !== undefined) throw missing;
  }
  throw explainMissing(seeker, text, readings, engine);
}

/** Why no reading leads to a job that could be entered. */
function explainMissing(
  seeker: Seeker,
  text: string,
  readings: readonly [Reading, ...Reading[]],
  { jobs, silent }: EngineAnswer,
): JobError {
  const { uid } = seeker.places.user;
  for (const { job } of readings) {
    const same = jobs.filter((summary) => summary.job === job);
    const own = same.find((summary) => summary.uid === uid);
    if (own !== undefined) return ofEngine(own);
    const end = ended(job, seeker.endedJob(job));
    if (end !== undefined) return end;
    if (same[0] !== undefined) {
      return new JobError(
        `job ${job} is ${same[0].user === "" ? "another user" : same[0].user}'s: only they can enter it`,
        {
          hint:
            uid === 0 ? `name them: --user ${same[0].user}` : "ask them, or start one of your own with `gangway run`",
          exitCode: STATUS.notYours,
        },
      );
    }
  }
  const running = jobsInReach(seeker);
  const slip = didYouMean(readings[0].job, running);
  const yours = running.length === 0 ? "none of yours runs on this host" : `yours: ${running.join(", ")}`;
  const hint = slip === undefined ? yours : `${slip} ${yours}`;
  const [only, another] = readings;
  const job = another === undefined ? only.job : text;
  return new JobError(`there is no job ${quoted(job)}`, {
    hint: silent === undefined ? hint : `${hint}; ${silent}`,
    exitCode: STATUS.noSuchJob,
  });
}

/** The job is there, and has no such node. */
function withoutNode({ places, bases }: Seeker, readings: readonly Reading[]): JobError | undefined {
  for (const { job, node } of readings) {
    const local = node === undefined ? undefined : localJob(places.user, bases, job);
    if (local?.state !== "running") continue;
    return new JobError(`job ${job} has no node ${quoted(node ?? "")}`, {
      hint: `it has ${local.nodes.map(({ name }) => name).join(", ")}`,
      exitCode: STATUS.noSuchJob,
    });
  }
  return undefined;
}

interface EngineAnswer {
  readonly jobs: readonly JobSummary[];
  /** That it could not be asked, and why; where none is to be expected, what leads to jobs. */
  readonly silent?: string;
}

async function askEngine(seeker: Seeker): Promise<EngineAnswer> {
  try {
    return { jobs: await seeker.engineJobs() };
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    return { jobs: [], silent: await silenceOf(error) };
  }
}

/** On a login node it is no failure that there is no engine. */
async function silenceOf(error: EngineError): Promise<string> {
  const [{ NoEngineError }, { managerHere }] = await Promise.all([
    import("../engine/failures.ts"),
    import("../job/doctor.ts"),
  ]);
  const manager = error instanceof NoEngineError ? managerHere(process.env.PATH ?? "") : undefined;
  if (manager === undefined) return `the engine could not be asked (${error.message})`;
  return `those on ${manager}'s hosts are entered by ${manager}'s id, while they run`;
}

function ofEngine({ job, orphaned, nodes }: JobSummary): JobError {
  if (orphaned) return killed(job);
  if (nodes.every(({ state }) => state === "created")) {
    return new JobError(`job ${job} is being launched and does not run yet`, {
      hint: `wait for it: gangway ssh --auto-retry ${job}`,
      exitCode: STATUS.notYet,
    });
  }
  return new JobError(`job ${job} runs, but its private directory is not on this host`, {
    hint: "is it in another runDirectory, or was the job started on another host?",
    exitCode: STATUS.unreachable,
  });
}
