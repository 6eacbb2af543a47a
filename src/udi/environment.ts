import { GangwayError } from "../config/errors.ts";
import type { Account } from "./accounts.ts";
import { quoted } from "./names.ts";

/** A variable to set, or, with undefined, to take away. */
export type EnvSetting = readonly [name: string, value: string | undefined];

/** What the job is told about itself. */
export interface JobFacts {
  readonly jobId: string;
  /** This node's name. */
  readonly node: string;
  /** Its place in the allocation, from 0. */
  readonly nodeId: number;
  readonly nodeCount: number;
  /** All nodes, head first, as the caller writes them: comma-separated, folded where there are many. Absent: too many. */
  readonly nodeList?: string;
  /** Slots of this node. */
  readonly slots: number;
  /** Slots of all nodes. */
  readonly totalSlots: number;
  /** Whether a name of a node has a dot: then MPI must not cut it there. */
  readonly qualifiedNames?: boolean;
  /** Network interfaces by which no other node can be reached. */
  readonly bridges?: readonly string[];
  /** The image as the user named it. */
  readonly imageRequest: string;
  /** The image's id. */
  readonly imageId: string;
}

export interface EnvironmentOptions {
  /** Of the caller's own environment (see `callerEnvironment`). */
  readonly caller?: readonly EnvSetting[];
  /** The image's ENV, `NAME=value` each. */
  readonly image: readonly string[];
  /** `--clearenv`: leave the image's ENV out. */
  readonly clearImage?: boolean;
  /** The administrator's settings. */
  readonly site?: Readonly<Record<string, string>>;
  /** `--env-file`, all files in their order (see `parseEnvFile`). */
  readonly envFile?: readonly EnvSetting[];
  /** `--env`, in their order (see `parseEnvSetting`). */
  readonly env?: readonly EnvSetting[];
  /** What the workload manager says of the job (see `allocationEnvironment`). */
  readonly allocation?: readonly EnvSetting[];
  readonly account: Account;
  /** What `chooseShell` gave. */
  readonly shell: string;
  /** With a terminal: the caller's `$TERM`, or "" if it has none. Absent: no terminal. */
  readonly term?: string;
  readonly job: JobFacts;
}

export const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
export const HOSTSFILE = "/var/hostsfile";
const OWN_FIRST = "/opt/udiImage/bin";
const OWN_LAST = "/opt/udiImage/tools";
const OWN_SSH = `${OWN_FIRST}/ssh`;

/** `MAX_ARG_STRLEN`: Linux executes nothing with a longer "NAME=value" and its NUL. */
const LONGEST = 128 * 1024;

/**
 * The whole environment of the job's command on one node, as `docker run` composes it: of the caller's
 * own the allocation's part alone is passed on, unless more was asked for.
 * Later wins: the caller's, the image's, the account's (HOME USER LOGNAME SHELL), the allocation's, the site's, `--env-file`, `--env`; after these come
 * what lets `mpirun` work without flags (each only where nobody set it), PATH between ours, and what Gangway says about
 * the job, which nobody can set otherwise.
 *
 * @returns `NAME=value` each, every name once
 * @throws GangwayError if a name or value cannot stand in an environment, or is too long for the kernel
 */
export function composeEnvironment(options: EnvironmentOptions): string[] {
  const env = new Map<string, string>();
  const apply = (settings: Iterable<EnvSetting>) => {
    for (const [name, value] of settings) {
      if (value === undefined) env.delete(name);
      else env.set(name, value);
    }
  };
  apply(options.caller ?? []);
  if (options.clearImage !== true) apply(imageSettings(options.image));
  apply(accountSettings(options.account, options.shell));
  apply(options.allocation ?? []);
  if (options.term !== undefined) env.set("TERM", options.term === "" ? "xterm" : options.term);
  apply(Object.entries(options.site ?? {}));
  apply(options.envFile ?? []);
  apply(options.env ?? []);
  for (const [name, value] of mpiSettings(options.job)) if (!env.has(name)) env.set(name, value);
  env.set("PATH", surroundPath(env.get("PATH")));
  apply(jobSettings(options.job));
  return [...env].map(([name, value]) => checked(name, value));
}

/**
 * Names in an image's ENV that `composeEnvironment` left out or that `--env NAME` took away: an engine adds the image's
 * ENV by itself, so these must be unset there.
 */
export function unwantedNames(image: readonly string[], composed: readonly string[]): string[] {
  const present = new Set(composed.map(nameOf));
  return [...new Set(image.map(nameOf))].filter((name) => name !== "" && !present.has(name));
}

/** PATH with the ssh family before it and the tools for bare images after it. Ours are not repeated. */
export function surroundPath(path: string | undefined): string {
  const middle = (path ?? "").split(":").filter((dir) => dir !== OWN_FIRST && dir !== OWN_LAST);
  const inner = middle.join(":");
  return `${OWN_FIRST}:${inner === "" ? DEFAULT_PATH : inner}:${OWN_LAST}`;
}

/**
 * Reads the argument of `--env`: `NAME=value`, or `NAME` for the caller's own value; a variable the caller does not have
 * is taken away, as docker does. Names need not be identifiers.
 *
 * @throws GangwayError if the name is empty or there is a NUL
 */
export function parseEnvSetting(argument: string, caller: Readonly<Record<string, string | undefined>>): EnvSetting {
  const equals = argument.indexOf("=");
  const name = equals < 0 ? argument : argument.slice(0, equals);
  const fault = faultOf(name, argument);
  if (fault !== undefined)
    throw new GangwayError(`${quoted(argument)} cannot be set: ${fault}`, {
      hint: "give --env NAME=value or --env NAME",
    });
  return [name, equals < 0 ? callerValue(caller, name) : argument.slice(equals + 1)];
}

/**
 * Reads an `--env-file` by docker's rules: a line is `NAME=value`, taken as it stands (no quotes, no escapes, no
 * expansion), or `NAME` for the caller's value, nothing if the caller has none. Empty lines and lines that begin with `#`
 * are comments; blanks before the name are dropped; a byte order mark and the CR of a CR LF are too.
 *
 * @param text the file's contents
 * @param file its name, for messages
 * @throws GangwayError with file and line
 */
export function parseEnvFile(
  text: string,
  file: string,
  caller: Readonly<Record<string, string | undefined>>,
): EnvSetting[] {
  const settings: EnvSetting[] = [];
  for (const [index, raw] of text
    .replace(/^\ufeff/, "")
    .split("\n")
    .entries()) {
    const line = raw.replace(/\r$/, "").trimStart();
    if (line === "" || line.startsWith("#")) continue;
    const equals = line.indexOf("=");
    const name = equals < 0 ? line.trimEnd() : line.slice(0, equals);
    const fault = /\s/.test(name) ? "its name contains a blank" : faultOf(name, line);
    if (fault !== undefined)
      throw new GangwayError(`${file}:${index + 1}: ${quoted(line)} cannot be set: ${fault}`, {
        hint: "each line is NAME=value, NAME, or begins with #",
      });
    const value = equals < 0 ? callerValue(caller, name) : line.slice(equals + 1);
    if (value !== undefined) settings.push([name, value]);
  }
  return settings;
}

function callerValue(caller: Readonly<Record<string, string | undefined>>, name: string): string | undefined {
  return Object.hasOwn(caller, name) ? caller[name] : undefined;
}

function faultOf(name: string, whole: string): string | undefined {
  if (name === "") return "it has no name";
  return whole.includes("\0") ? "it contains a NUL" : undefined;
}

function checked(name: string, value: string): string {
  const entry = `${name}=${value}`;
  const fault = name.includes("=") ? "its name contains '='" : faultOf(name, entry);
  if (fault !== undefined) throw new GangwayError(`the environment variable ${quoted(name)} cannot be set: ${fault}`);
  // A character takes at least a byte: only long ones need to be counted.
  if (entry.length * 4 >= LONGEST && Buffer.byteLength(entry) + 1 > LONGEST)
    throw new GangwayError(`the environment variable ${quoted(name)} is longer than 128 KiB`, {
      hint: "Linux cannot start a program with it; put the value into a file",
    });
  return entry;
}

function nameOf(entry: string): string {
  const equals = entry.indexOf("=");
  return equals < 0 ? entry : entry.slice(0, equals);
}

function imageSettings(image: readonly string[]): EnvSetting[] {
  return image
    .filter((entry) => entry.indexOf("=") > 0)
    .map((entry) => [nameOf(entry), entry.slice(entry.indexOf("=") + 1)]);
}

function accountSettings(account: Account, shell: string): EnvSetting[] {
  return [
    ["HOME", account.home],
    ["USER", account.name],
    ["LOGNAME", account.name],
    ["SHELL", shell],
  ];
}

function jobSettings(job: JobFacts): EnvSetting[] {
  return [
    ["GANGWAY_JOB_ID", job.jobId],
    ["GANGWAY_NODE", job.node],
    ["GANGWAY_NODEID", String(job.nodeId)],
    ["GANGWAY_NNODES", String(job.nodeCount)],
    ...(job.nodeList === undefined ? [] : [["GANGWAY_NODELIST", job.nodeList] as const]),
    ["GANGWAY_HOSTSFILE", HOSTSFILE],
    ["GANGWAY_NODE_SLOTS", String(job.slots)],
    ["GANGWAY_TOTAL_SLOTS", String(job.totalSlots)],
    ["SHIFTER_RUNTIME", "1"],
    ["SHIFTER_IMAGEREQUEST", job.imageRequest],
    ["SHIFTER_IMAGE", job.imageId],
  ];
}

/** Workload managers that an MPI might ask: inside the container none answers, and the hostsfile says it all. */
const MANAGERS = "^slurm,tm,pbs,lsf,gridengine,loadleveler,alps,flux";

/** What Open MPI leaves out by itself; a list of ours takes its place. */
const MPI_EXCLUDES = ["127.0.0.1/8", "sppp"];

/** Where each MPI finds the nodes and by which program it reaches them. */
function mpiSettings(job: JobFacts): [string, string][] {
  const settings: [string, string][] = [
    // Open MPI up to 4 (ORTE).
    ["OMPI_MCA_orte_default_hostfile", HOSTSFILE],
    ["OMPI_MCA_ras", MANAGERS],
    ["OMPI_MCA_plm", "rsh"],
    ["OMPI_MCA_plm_rsh_agent", OWN_SSH],
    // Open MPI 5 (PRRTE). It would take over the settings above, where the component `rsh` is now called `ssh`.
    ["PRTE_MCA_prte_default_hostfile", HOSTSFILE],
    ["PRTE_MCA_ras", MANAGERS],
    ["PRTE_MCA_plm", "ssh"],
    ["PRTE_MCA_plm_ssh_agent", OWN_SSH],
    // MPICH and what is built on it (Hydra).
    ["HYDRA_HOST_FILE", HOSTSFILE],
    ["HYDRA_LAUNCHER", "ssh"],
    ["HYDRA_LAUNCHER_EXEC", OWN_SSH],
    ["HYDRA_RMK", "user"],
    // Intel MPI.
    ["I_MPI_HYDRA_HOST_FILE", HOSTSFILE],
    ["I_MPI_HYDRA_BOOTSTRAP", "ssh"],
    ["I_MPI_HYDRA_BOOTSTRAP_EXEC", OWN_SSH],
    // Else it counts the ranks of a node by SLURM_TASKS_PER_NODE and its like.
    ["I_MPI_JOB_RESPECT_PROCESS_PLACEMENT", "off"],
  ];
  const { bridges = [] } = job;
  if (bridges.length > 0) {
    const excluded = [...MPI_EXCLUDES, ...bridges].join(",");
    settings.push(
      ["OMPI_MCA_btl_tcp_if_exclude", excluded],
      ["OMPI_MCA_oob_tcp_if_exclude", excluded],
      ["PRTE_MCA_prte_if_exclude", excluded],
      ["PMIX_MCA_ptl_tcp_if_exclude", excluded],
    );
  }
  if (job.qualifiedNames === true)
    settings.push(["OMPI_MCA_orte_keep_fqdn_hostnames", "1"], ["PRTE_MCA_prte_keep_fqdn_hostnames", "1"]);
  return settings;
}
