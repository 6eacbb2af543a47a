import { GangwayError } from "../config/errors.ts";
import { HOST_NAME_LENGTH, isNodeName } from "../config/host-name.ts";

export { isNodeName };

/** The last label of the host name of a job without a cluster: `[NODE.]JOB.job[.CLUSTER]`. */
const SUFFIX = "job";

/** One label of a job id: a host name's, with `+` (Slurm's heterogeneous jobs). */
const JOB_LABEL = /^[A-Za-z0-9](?:[A-Za-z0-9_+-]{0,61}[A-Za-z0-9_])?$/;
/** HTCondor's CLUSTER.PROC, with what says that the job was begun anew, and which of its launches this is. */
const CONDOR_ID = /^[0-9]{1,20}\.[0-9]{1,20}(?:-r[0-9]{1,10})?(?:-[0-9]{1,9})?$/;

export interface JobHost {
  readonly job: string;
  readonly node?: string;
  readonly cluster?: string;
}

/**
 * Whether `text` is an address as `inet_pton` reads it, without a zone. Not by `node:net`: the first call of its `isIP`
 * takes 4 ms, as long as everything else here for a launch.
 */
export function isAddress(text: string): boolean {
  return isIPv4(text) || (text.includes(":") && isIPv6(text));
}

function isIPv4(text: string): boolean {
  const parts = text.split(".");
  return parts.length === 4 && parts.every((part) => /^(?:0|[1-9][0-9]{0,2})$/.test(part) && Number(part) <= 255);
}

/** RFC 4291, section 2.2: eight groups, one run of them left out as `::`, the last two perhaps written as IPv4. */
function isIPv6(text: string): boolean {
  const halves = text.split("::");
  if (halves.length > 2) return false;
  const groups = halves.flatMap((half) => (half === "" ? [] : half.split(":")));
  const last = groups.at(-1) ?? "";
  const mapped = last.includes(".") && text.endsWith(last);
  const hex = mapped ? groups.slice(0, -1) : groups;
  if ((mapped && !isIPv4(last)) || !hex.every((group) => /^[0-9A-Fa-f]{1,4}$/.test(group))) return false;
  const width = hex.length + (mapped ? 2 : 0);
  return halves.length === 2 ? width < 8 : width === 8;
}

/** Whether there is a control character (of ASCII): a line's end, a NUL, an escape. */
export function hasControl(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return /[\u0000-\u001f\u007f]/.test(text);
}

/**
 * Checks the name of a node before it goes into any file.
 *
 * @returns the name itself
 * @throws GangwayError if it is no host name
 */
export function checkNodeName(name: string): string {
  if (isNodeName(name)) return name;
  throw new GangwayError(`${quoted(name)} cannot be the name of a node`, {
    hint: "node names are made of letters, digits, '-', '_' and '.', and are at most 253 characters long",
  });
}

/** Whether `text` is a job's id: `1234`, `1234_7`, `1234+1`, `1234-2`, or HTCondor's `32.0`. */
export function isJobId(text: string): boolean {
  return JOB_LABEL.test(text) || CONDOR_ID.test(text);
}

/**
 * Checks a job's id before it becomes a directory, a container's name or part of a host name.
 *
 * @returns the id itself
 * @throws GangwayError if it is none
 */
export function checkJobId(id: string): string {
  if (isJobId(id)) return id;
  throw new GangwayError(`${quoted(id)} cannot be the id of a job`, {
    hint: "job ids are made of letters, digits, '-', '_' and '+'; only HTCondor's have a dot (32.0)",
  });
}

/**
 * Checks a name or address by which a node is connected to, before it becomes a pattern in an ssh configuration or a
 * principal. The characters of `isNodeName` and of job ids, and addresses: nothing a pattern list, a quoted word or a
 * shell would read as anything but itself.
 *
 * @returns the name itself
 * @throws GangwayError if it is neither
 */
export function checkHost(host: string): string {
  if (isNodeName(host) || isJobHost(host) || isAddress(host)) return host;
  throw new GangwayError(`${quoted(host)} is neither a host name nor an address`);
}

function isJobHost(host: string): boolean {
  return host.length <= HOST_NAME_LENGTH && host.split(".").every((label) => JOB_LABEL.test(label));
}

/** The host name of a job, `JOB.job[.CLUSTER]`, or of one of its nodes, `NODE.JOB.job[.CLUSTER]`. */
export function jobHost({ job, node, cluster }: JobHost): string {
  return [...(node === undefined ? [] : [node]), job, SUFFIX, ...(cluster === undefined ? [] : [cluster])].join(".");
}

/**
 * Reads `[NODE.]JOB.job[.CLUSTER]` from the right. The last label `job` that has something before it is the mark; two
 * numeric labels before it are an HTCondor id, so a node whose whole name is a number cannot be named this way.
 *
 * @returns undefined if the name is no job's
 */
export function parseJobHost(host: string): JobHost | undefined {
  const labels = host.split(".");
  const mark = labels.lastIndexOf(SUFFIX);
  if (mark < 1 || labels.includes("")) return undefined;
  const pair = labels.slice(Math.max(0, mark - 2), mark).join(".");
  const width = CONDOR_ID.test(pair) ? 2 : 1;
  const job = labels.slice(mark - width, mark).join(".");
  const node = labels.slice(0, mark - width).join(".");
  const cluster = labels.slice(mark + 1).join(".");
  if (!isJobId(job) || (node !== "" && !isNodeName(node)) || (cluster !== "" && !isNodeName(cluster))) return undefined;
  return { job, ...(node === "" ? {} : { node }), ...(cluster === "" ? {} : { cluster }) };
}

/**
 * A job's id in the characters that engines allow in the name of a container (`[A-Za-z0-9_.-]`). No two ids give the
 * same: `+` becomes `..`, which no id contains.
 */
export function engineSafe(jobId: string): string {
  return jobId.replaceAll("+", "..");
}

/** Text as it may stand inside a message: quoted, without control characters, cut to a readable length. */
export function quoted(text: string): string {
  const cut = text.length > 80 ? `${text.slice(0, 77)}...` : text;
  return JSON.stringify(cut).replace(/[\u007f-\u009f\u2028\u2029]/g, "?");
}
