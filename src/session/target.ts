import { UsageError } from "../config/errors.ts";
import { isJobId, isNodeName, quoted } from "../udi/names.ts";

/** Which job, and which node of it, is meant; undefined: the only one, the head. */
export interface Target {
  readonly job: string | undefined;
  readonly node: string | undefined;
}

/**
 * Reads `[JOB[.NODE]]` as `gangway shell` takes it. Two numbers are an HTCondor id (`32.0`), a third part is the node.
 *
 * @param jobs the ids of the running jobs: where `a.b` is one, it is not taken apart
 * @throws UsageError for what is neither
 */
export function parseTarget(text: string | undefined, jobs: readonly string[]): Target {
  if (text === undefined) return { job: undefined, node: undefined };
  if (jobs.includes(text)) return { job: text, node: undefined };
  const known = jobs.filter((job) => text.startsWith(`${job}.`)).sort((a, b) => b.length - a.length)[0];
  if (known !== undefined) return { job: known, node: text.slice(known.length + 1) };
  const condor = /^(\d+\.\d+(?:-\d+)?)(?:\.(.+))?$/s.exec(text);
  const dot = text.indexOf(".");
  const [job = "", node] =
    condor !== null ? [condor[1], condor[2]] : dot === -1 ? [text] : [text.slice(0, dot), text.slice(dot + 1)];
  if (!isJobId(job) || (node !== undefined && !isNodeName(node))) {
    throw new UsageError(`${quoted(text)} is no job`, { hint: "write JOB or JOB.NODE; `gangway ps` lists them" });
  }
  return { job, node };
}
