import { dirname, join } from "node:path";
import { JobError } from "../config/errors.ts";
import { isRunBase } from "../config/paths.ts";
import type { ContainerSummary, Engine } from "../engine/types.ts";
import { isJobId } from "../udi/names.ts";
import { isLaunchOf } from "./id.ts";
import { isOurs, LABEL } from "./labels.ts";
import type { LocalJob, RunningLocalJob } from "./local-jobs.ts";
import { isGone, parseIdentity } from "./process.ts";
import { type JobRecord, readRecord } from "./record.ts";

export interface JobNodeSummary {
  readonly name: string;
  readonly index: number;
  readonly container: string;
  /** As the engine has it: "created", "running", "exited", … */
  readonly state: string;
}

/** A job as its containers' labels tell of it. */
export interface JobSummary {
  readonly job: string;
  readonly user: string;
  readonly uid: number;
  readonly image: string;
  /** Undefined: the label names none that could be this job's. */
  readonly directory?: string;
  readonly sshd: boolean;
  readonly outputFile?: string;
  /** Seconds since the epoch. */
  readonly created: number;
  /** Its launcher is known to be dead: what is there is only waiting to be cleared. */
  readonly orphaned: boolean;
  readonly nodes: readonly JobNodeSummary[];
}

function nodeOf(container: ContainerSummary): JobNodeSummary {
  return {
    name: container.labels[LABEL.node] ?? container.name,
    index: Number(container.labels[LABEL.nodeIndex] ?? 0),
    container: container.name,
    state: container.state,
  };
}

/**
 * Labels are whatever a user of the engine made them: what is read and executed because of one lies in a directory that
 * only the job's user can have made.
 */
function directoryOf(job: string, labels: ContainerSummary["labels"]): string | undefined {
  const directory = labels[LABEL.directory] ?? "";
  const base = dirname(directory);
  return directory === join(base, job) && isRunBase(base, Number(labels[LABEL.uid])) ? directory : undefined;
}

function summaryOf(job: string, containers: readonly ContainerSummary[]): JobSummary {
  const labels = containers[0]?.labels ?? {};
  const launcher = parseIdentity(labels[LABEL.launcher] ?? "");
  const output = labels[LABEL.output];
  const directory = directoryOf(job, labels);
  return {
    job,
    user: labels[LABEL.user] ?? "",
    uid: Number(labels[LABEL.uid]),
    image: labels[LABEL.image] ?? "",
    ...(directory === undefined ? {} : { directory }),
    sshd: labels[LABEL.sshd] !== "no",
    ...(output === undefined ? {} : { outputFile: output }),
    created: Math.min(...containers.map((container) => container.created)),
    orphaned: launcher !== undefined && isGone(launcher),
    nodes: containers.map(nodeOf).sort((a, b) => a.index - b.index),
  };
}

/**
 * The jobs on this engine.
 *
 * @param uid whose; undefined: everybody's
 */
export async function listJobs(engine: Engine, uid: number | undefined): Promise<JobSummary[]> {
  const containers = await engine.list([uid === undefined ? LABEL.uid : `${LABEL.uid}=${uid}`]);
  const groups = new Map<string, ContainerSummary[]>();
  for (const container of containers) {
    const job = container.labels[LABEL.job];
    // Anybody may have made a container with labels like ours: what is no job's id is no job, nor fit to be printed.
    if (job === undefined || !isJobId(job) || !isOurs(container)) continue;
    const key = `${container.labels[LABEL.uid]}/${job}`;
    groups.set(key, [...(groups.get(key) ?? []), container]);
  }
  return [...groups.values()]
    .map((group) => summaryOf(group[0]?.labels[LABEL.job] ?? "", group))
    .sort((a, b) => a.created - b.created || a.job.localeCompare(b.job));
}

/**
 * The jobs of an engine, and of a user's launchers on this host: theirs may have nodes on other hosts, or all of them.
 *
 * @param known what the engine tells
 * @param local what the directories of the user's jobs tell
 * @param uid whose these are
 */
export function withLaunchers(known: readonly JobSummary[], local: readonly LocalJob[], uid: number): JobSummary[] {
  const running = local.filter((job) => job.state === "running");
  const own = new Set(running.map(({ id }) => id));
  const others = known.filter((one) => one.uid !== uid || !own.has(one.job));
  const ours = running.map((job) =>
    ofLauncher(
      job,
      known.find((one) => one.job === job.id && one.uid === uid),
      uid,
    ),
  );
  return [...others, ...ours].sort((a, b) => a.created - b.created || a.job.localeCompare(b.job));
}

function ofLauncher(
  { id, directory, record }: RunningLocalJob,
  known: JobSummary | undefined,
  uid: number,
): JobSummary {
  const states = new Map(known?.nodes.map(({ name, state }) => [name, state]));
  return {
    job: id,
    user: record.user,
    uid,
    image: record.image,
    directory,
    sshd: record.sshd,
    ...(record.outputFile === undefined ? {} : { outputFile: record.outputFile }),
    created: Math.floor(Date.parse(record.started) / 1000),
    orphaned: false,
    nodes: record.nodes.map(({ name, container, here }, index) => ({
      name,
      index,
      container,
      // Of a node elsewhere, or a runtime's, it is known that the job lives, which has none without it.
      state: states.get(name) ?? (here && record.runtime !== true ? "gone" : "running"),
    })),
  };
}

/**
 * The job that is meant.
 *
 * @param id undefined: the only one there is
 * @throws JobError when there is none, or several and no id was given
 */
export function chooseJob(jobs: readonly JobSummary[], id: string | undefined): JobSummary {
  const found = id === undefined ? jobs.filter((job) => !job.orphaned) : jobsCalled(jobs, id);
  const [first] = found;
  if (first === undefined) {
    if (id === undefined) {
      throw new JobError("no job of yours is running on this host", { hint: "start one with `gangway run`" });
    }
    const running = jobs.map((job) => job.job).join(", ");
    throw new JobError(`no job "${id}" is running on this host`, {
      hint: running === "" ? "none of yours is: ask on the host where it was launched" : `running: ${running}`,
    });
  }
  if (found.length > 1) {
    throw new JobError(
      id === undefined
        ? `several jobs are running: ${found.map((job) => job.job).join(", ")}`
        : `several users have a job "${id}": ${found.map((job) => job.user).join(", ")}`,
      { hint: id === undefined ? "say which" : "ask as that user" },
    );
  }
  return first;
}

/** Those of that id; else the one that lives and was launched in the manager's job of that id (`32`: `32.0`, `32.0-r1`). */
function jobsCalled(jobs: readonly JobSummary[], id: string): readonly JobSummary[] {
  const exact = jobs.filter(({ job }) => job === id);
  if (exact.length > 0) return exact;
  const launches = jobs.filter(({ job, orphaned }) => !orphaned && isLaunchOf(job, id));
  return launches.length === 1 ? launches : [];
}

/** What the launcher noted of a job that is up: addresses and ports. */
export function recordOf(job: JobSummary): JobRecord | undefined {
  return job.directory === undefined ? undefined : readRecord(job.directory, job.uid);
}

/** @throws JobError when it has none */
export function directoryOfJob(job: JobSummary): string {
  if (job.directory !== undefined) return job.directory;
  throw new JobError(`the private directory of job ${job.job} cannot be used`, {
    hint: `it is another user's, or was not made by gangway; remove its containers with the engine's own command`,
  });
}

/** @throws JobError when the job has no such node. `wanted` is a name, or an index. */
export function nodeNamed(job: JobSummary, wanted: string | undefined): JobNodeSummary {
  const byName = job.nodes.find((node) => node.name === (wanted ?? job.nodes[0]?.name));
  const found = byName ?? (wanted !== undefined && /^\d+$/.test(wanted) ? job.nodes[Number(wanted)] : undefined);
  if (found === undefined) {
    throw new JobError(`job ${job.job} has no node "${wanted}"`, {
      hint: `it has ${job.nodes.map((node) => node.name).join(", ")}`,
    });
  }
  return found;
}
