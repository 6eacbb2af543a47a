import { type ExecFileException, execFile } from "node:child_process";
import { realpathSync } from "node:fs";
import { basename } from "node:path";
import { JobError, STATUS } from "../config/errors.ts";
import { programInPath } from "../config/program-path.ts";
import { quoted } from "../udi/names.ts";

/** A job of HTCondor's: `cluster.proc`. */
export interface CondorId {
  readonly cluster: number;
  readonly proc: number;
}

/** Which queue is meant, as `-name` and `-pool` of HTCondor's commands say it. */
export interface CondorPlace {
  readonly schedd?: string | undefined;
  readonly pool?: string | undefined;
}

/** A job as its schedd knows it. */
export interface QueuedJob {
  readonly id: string;
  /** The attribute JobStatus. */
  readonly status: number;
  readonly owner: string;
  readonly universe: number | undefined;
  readonly holdReason: string | undefined;
  /** `slot1_1@host`: where it runs. */
  readonly remoteHost: string | undefined;
  /** `SCHEDD#CLUSTER.PROC#TIME` */
  readonly globalId: string | undefined;
}

export type QueueAnswer =
  | { readonly kind: "job"; readonly job: QueuedJob }
  /** The queue has no such job. */
  | { readonly kind: "none" }
  /** It could not be asked. */
  | { readonly kind: "silent"; readonly reason: string };

/** JobStatus in HTCondor's manual, "Job ClassAd Attributes". */
const IDLE = 1;
const REMOVED = 3;
const COMPLETED = 4;
const HELD = 5;
const SUSPENDED = 7;

/** JobUniverse, of the same page. */
const SCHEDULER = 7;
const GRID = 9;

const PATIENCE_MS = 20_000;
const LARGEST_BYTES = 1024 * 1024;
/** How far back one is looked for: a history may be long. */
const HISTORY_JOBS = 20_000;
const ATTRIBUTES = "ClusterId,ProcId,JobStatus,Owner,JobUniverse,HoldReason,RemoteHost,GlobalJobId";

/**
 * A program of HTCondor's by its name. What is called `condor_ssh_to_job` may be this program under that name: it is passed over.
 *
 * @param path as $PATH
 * @returns its absolute path; undefined: there is none
 */
export function condorProgram(name: string, path: string = process.env.PATH ?? ""): string | undefined {
  return programInPath(name, path, (file) => basename(realpathSync(file)) !== "gangway.cjs");
}

/** The options of HTCondor's commands that say which queue is meant. */
export function placeWords({ schedd, pool }: CondorPlace): string[] {
  return [...(schedd === undefined ? [] : ["-name", schedd]), ...(pool === undefined ? [] : ["-pool", pool])];
}

/**
 * Asks a schedd for one job, whoever's it is.
 *
 * @param program absolute path of condor_q; undefined: this host has none
 */
export async function askQueue(
  { cluster, proc }: CondorId,
  place: CondorPlace = {},
  program: string | undefined = condorProgram("condor_q"),
): Promise<QueueAnswer> {
  if (program === undefined) return { kind: "silent", reason: "there is no condor_q here" };
  return about(`${cluster}.${proc}`, await askFor(program, [...placeWords(place), "-allusers", `${cluster}.${proc}`]));
}

/** It does not run yet. */
export class IdleJobError extends JobError {}

/** It has left the queue. */
export class LeftQueueError extends JobError {}

/**
 * Asks a schedd's history for a job that its queue does not have.
 *
 * @param user the caller's name
 * @param program absolute path of condor_history; undefined: this host has none
 * @returns how it ended; undefined where that is not known
 */
export async function askHistory(
  { cluster, proc }: CondorId,
  place: CondorPlace,
  user: string,
  program: string | undefined = condorProgram("condor_history"),
): Promise<JobError | undefined> {
  if (program === undefined) return undefined;
  const limits = ["-match", "1", "-scanlimit", String(HISTORY_JOBS)];
  const answer = about(
    `${cluster}.${proc}`,
    await askFor(program, [...placeWords(place), `${cluster}.${proc}`, ...limits]),
  );
  const matter = answer.kind === "job" ? explainQueued(answer.job, user) : undefined;
  if (matter?.exitCode !== STATUS.ended) return undefined;
  return new LeftQueueError(matter.message, {
    hint: `what became of it: condor_history ${cluster}.${proc}`,
    exitCode: STATUS.ended,
  });
}

/** What is answered of another job than was asked for, by a schedd that somebody else runs, is no answer. */
function about(id: string, answer: QueueAnswer): QueueAnswer {
  if (answer.kind !== "job" || answer.job.id === id) return answer;
  return { kind: "silent", reason: `it was asked for job ${id} and answered for ${answer.job.id}` };
}

async function askFor(program: string, asked: readonly string[]): Promise<QueueAnswer> {
  const words = [...asked, "-json", "-attributes", ATTRIBUTES];
  const limits = { timeout: PATIENCE_MS, killSignal: "SIGKILL", maxBuffer: LARGEST_BYTES, encoding: "utf8" } as const;
  return await new Promise((resolve) => {
    const child = execFile(program, words, limits, (error, stdout, stderr) => {
      resolve(
        error === null
          ? readAnswer(stdout)
          : { kind: "silent", reason: firstLine(stderr) ?? firstLine(stdout) ?? endOf(program, error) },
      );
    });
    child.stdin?.end();
  });
}

/** Of a program that said nothing. */
function endOf(program: string, { code, killed, message }: ExecFileException): string {
  if (killed === true) return `${basename(program)} did not answer within ${PATIENCE_MS / 1000} s`;
  return typeof code === "number" ? `${basename(program)} ended with ${code}, without a word` : message;
}

function firstLine(text: string): string | undefined {
  return text
    .split("\n")
    .find((line) => line.trim() !== "")
    ?.trim();
}

/**
 * Reads what `condor_q -json`, or `condor_history -json`, printed: a list of ads, or nothing at all where it found none.
 *
 * @returns the first job in it
 */
export function readAnswer(text: string): QueueAnswer {
  if (text.trim() === "") return { kind: "none" };
  let ads: unknown;
  try {
    ads = JSON.parse(text);
  } catch {
    return { kind: "silent", reason: "it printed something else than JSON" };
  }
  const ad: unknown = Array.isArray(ads) ? ads[0] : undefined;
  if (Array.isArray(ads) && ad === undefined) return { kind: "none" };
  const job = readAd(ad);
  return job === undefined ? { kind: "silent", reason: "it printed no job" } : { kind: "job", job };
}

function readAd(ad: unknown): QueuedJob | undefined {
  if (typeof ad !== "object" || ad === null) return undefined;
  const attributes = new Map<string, unknown>(Object.entries(ad).map(([name, value]) => [name.toLowerCase(), value]));
  const number = (name: string) => {
    const value = attributes.get(name);
    return typeof value === "number" && Number.isSafeInteger(value) ? value : undefined;
  };
  const text = (name: string) => {
    const value = attributes.get(name);
    return typeof value === "string" ? value : undefined;
  };
  const [cluster, proc, status] = [number("clusterid"), number("procid"), number("jobstatus")];
  if (cluster === undefined || proc === undefined || status === undefined) return undefined;
  return {
    id: `${cluster}.${proc}`,
    status,
    owner: text("owner") ?? "",
    universe: number("jobuniverse"),
    holdReason: text("holdreason"),
    remoteHost: text("remotehost"),
    globalId: text("globaljobid"),
  };
}

/**
 * Why a job that the queue has cannot be entered, in HTCondor's words.
 *
 * @param user the caller's name
 * @returns undefined where the queue knows no reason: it runs
 */
export function explainQueued(job: QueuedJob, user: string): JobError | undefined {
  const { id, status, owner, universe, holdReason } = job;
  if (owner !== "" && owner !== user && user !== "root") {
    return new JobError(`${user} is not authorized for access to job ${id}: it is ${quoted(owner)}'s`, {
      hint: "ask them, or enter one of your own",
      exitCode: STATUS.notYours,
    });
  }
  if (universe === GRID || universe === SCHEDULER) {
    return new JobError(`Job ${id} does not support remote access.`, {
      hint:
        universe === GRID
          ? "it is a grid job: it runs where HTCondor does not start it, so there is nothing here to enter (EC2 instances too)"
          : "it is of the scheduler universe: it runs on the submit machine itself",
      exitCode: STATUS.unreachable,
    });
  }
  switch (status) {
    case HELD:
      // Not one to wait for: a job is held until somebody releases it.
      return new JobError(`The job is on hold: ${JSON.stringify(holdReason ?? "no reason is told")}.`, {
        hint: `once that is mended: condor_release ${id}`,
        exitCode: STATUS.unreachable,
      });
    case SUSPENDED:
      return new JobError(`Job ${id} is suspended.`, {
        hint: `its slot is needed by others, or condor_suspend was called: then condor_continue ${id}`,
        exitCode: STATUS.notYet,
      });
    case REMOVED:
      return new JobError(`Job ${id} has been removed`, { exitCode: STATUS.ended });
    case COMPLETED:
      return new JobError(`Job ${id} has completed`, { exitCode: STATUS.ended });
    case IDLE:
      return new IdleJobError(`Job ${id} is not running.`, {
        hint: `it is idle: condor_q -better-analyze ${id} tells what it waits for; wait for it: gangway ssh --auto-retry ${id}`,
        exitCode: STATUS.notYet,
      });
    default:
      return undefined;
  }
}
