import { UsageError } from "../config/errors.ts";
import { isJobId, isNodeName } from "../udi/names.ts";

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
  const dot = text.indexOf(".");
  const job = dot === -1 ? text : text.slice(0, dot);
  const node = dot === -1 ? undefined : text.slice(dot + 1);
  if (!isJobId(job) || (node !== undefined && !isNodeName(node))) {
    throw new UsageError(`"${text}" is no job`, { hint: "write JOB or JOB.NODE; `gangway ps` lists them" });
  }
  return { job, node };
}
