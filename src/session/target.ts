import { JobError, STATUS, UsageError } from "../config/errors.ts";
import { isJobId, isNodeName, jobHost, parseJobHost, quoted } from "../udi/names.ts";

/** Which job, and which node of it, is meant; undefined: the only one, the head. */
export interface Target {
  readonly job: string | undefined;
  readonly node: string | undefined;
}

/** One thing that a name may mean. */
export interface Reading {
  readonly job: string;
  readonly node?: string;
  readonly cluster?: string;
}

/**
 * Reads `[JOB[.NODE]]` as `gangway shell` takes it. Two numbers are an HTCondor id (`32.0`), a third part is the node;
 * one is its first process (`32.0`), where no job has that number itself.
 *
 * @param jobs the ids of the running jobs: where `a.b` is one, it is not taken apart
 * @throws UsageError for what is neither
 */
export function parseTarget(text: string | undefined, jobs: readonly string[]): Target {
  if (text === undefined) return { job: undefined, node: undefined };
  if (jobs.includes(text)) return { job: text, node: undefined };
  const first = firstOfCluster(text);
  if (first !== undefined && jobs.includes(first)) return { job: first, node: undefined };
  const known = jobs.filter((job) => text.startsWith(`${job}.`)).sort((a, b) => b.length - a.length)[0];
  if (known !== undefined) return { job: known, node: text.slice(known.length + 1) };
  const condor = /^(\d+\.\d+(?:-r\d+)?(?:-\d+)?)(?:\.(.+))?$/s.exec(text);
  const dot = text.indexOf(".");
  const [job = "", node] =
    condor !== null ? [condor[1], condor[2]] : dot === -1 ? [text] : [text.slice(0, dot), text.slice(dot + 1)];
  if (!isJobId(job) || (node !== undefined && !isNodeName(node))) {
    throw new UsageError(`${quoted(text)} is no job`, { hint: "write JOB or JOB.NODE; `gangway ps` lists them" });
  }
  return { job, node };
}

/**
 * Everything that a name could mean, the likeliest first. A host name, `[NODE.]JOB.job[.CLUSTER]`, means one thing only;
 * what is shorter, `JOB`, `JOB.NODE` or `NODE.JOB`, may be taken apart at any of its dots, and which jobs run decides.
 *
 * @throws UsageError (exit status 64) for what can be no job's name
 */
export function readingsOf(text: string): readonly [Reading, ...Reading[]] {
  // DNS reads `.JOB` and `.job.` as it reads `.job`; whoever is used to that may type them.
  const host = parseJobHost(text.replace(/\.job(\.[^.]+)?\.?$/i, (_whole, cluster = "") => `.job${cluster}`));
  if (host !== undefined) return [host];
  try {
    const { job = "", node } = parseTarget(text, []);
    const first: Reading = node === undefined ? { job } : { job, node };
    const others = apart(text).filter((reading) => reading.job !== first.job || reading.node !== first.node);
    return [first, ...others];
  } catch (error) {
    const [first, ...others] = apart(text);
    if (first !== undefined) return [first, ...others];
    throw new UsageError(`${quoted(text)} is no job`, {
      hint: "write JOB, JOB.NODE or NODE.JOB.job; `gangway ps` lists them",
      exitCode: STATUS.usage,
      cause: error,
    });
  }
}

/** `32` is also HTCondor's `32.0`, as `condor_ssh_to_job` has it. */
function firstOfCluster(text: string): string | undefined {
  return /^\d{1,20}$/.test(text) ? `${text}.0` : undefined;
}

/** `JOB[.NODE]`, as `gangway key authorize --kit` takes it: in this order two numbers are no HTCondor id that was not meant. */
export function wordOf({ job, node }: Reading): string {
  return node === undefined ? job : `${job}.${node}`;
}

/** The whole as an id, as a cluster of HTCondor's, then JOB.NODE and NODE.JOB for each dot. */
function apart(text: string): Reading[] {
  const labels = text.split(".");
  const first = firstOfCluster(text);
  const found: Reading[] = isJobId(text) ? [{ job: text }] : [];
  if (first !== undefined) found.push({ job: first });
  for (let dot = 1; dot < labels.length; dot++) {
    const left = labels.slice(0, dot).join(".");
    const right = labels.slice(dot).join(".");
    if (isJobId(left) && isNodeName(right)) found.push({ job: left, node: right });
    // `1.1` is node 1 of job 1 either way.
    if (left !== right && isNodeName(left) && isJobId(right)) found.push({ job: right, node: left });
  }
  return found;
}

/**
 * What a name means among the jobs there are. A name that is a job's id means that job, whatever else it could mean; else
 * what can be entered goes before what cannot.
 *
 * @param fits what a reading leads to; undefined: nothing
 * @param runs whether that can be entered
 * @param text as it was typed, for the message
 * @returns undefined when no reading leads anywhere
 * @throws JobError (exit status 65) that lists the candidates
 */
export function chooseReading<T>(
  text: string,
  readings: readonly Reading[],
  fits: (reading: Reading) => T | undefined,
  runs: (hit: T) => boolean,
): T | undefined {
  const all = readings.flatMap((reading) => {
    const hit = fits(reading);
    return hit === undefined ? [] : [{ reading, hit }];
  });
  const exact = all.find(({ reading }) => reading.job === text && reading.node === undefined);
  const running = all.filter(({ hit }) => runs(hit));
  const found = running.length > 0 ? running : all;
  if (exact !== undefined || found.length <= 1) return (exact ?? found[0])?.hit;
  const names = found.map(({ reading }) => jobHost(reading));
  throw new JobError(`${quoted(text)} fits several: ${names.join(", ")}`, {
    hint: `write the one that is meant in full: ${names[0]}`,
    exitCode: STATUS.several,
  });
}

/** A node of a running job by its name, or its number; undefined: the head. */
export function nodeOf<T extends { readonly name: string }>(
  { nodes }: { readonly nodes: readonly T[] },
  wanted: string | undefined,
): T | undefined {
  if (wanted === undefined) return nodes[0];
  const named = nodes.find(({ name }) => name === wanted || name.toLowerCase() === wanted.toLowerCase());
  return named ?? (/^\d{1,7}$/.test(wanted) ? nodes[Number(wanted)] : undefined);
}
