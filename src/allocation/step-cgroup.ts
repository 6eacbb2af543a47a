/** A process's place in one hierarchy of control groups. */
export interface CgroupEntry {
  /** Of version 1; none for version 2, and for a named hierarchy without any (`name=systemd`). */
  readonly controllers: readonly string[];
  readonly version: 1 | 2;
  /** From the hierarchy's root, as this process's cgroup namespace shows it. */
  readonly path: string;
}

/**
 * Reads /proc/PID/cgroup: lines `ID:CONTROLLERS:PATH` (cgroups(7)). Lines that are none are left out.
 */
export function parseCgroups(text: string): CgroupEntry[] {
  const entries: CgroupEntry[] = [];
  for (const line of text.split("\n")) {
    const match = /^(\d+):([^:]*):(\/.*)$/.exec(line);
    if (match === null) continue;
    const [, id, names = "", path = "/"] = match;
    const controllers = names.split(",").filter((name) => name !== "" && !name.startsWith("name="));
    entries.push({ controllers, version: id === "0" && names === "" ? 2 : 1, path });
  }
  return entries;
}

/**
 * How the managers name what they make for a job, or for a step of it: the first group is the cgroup that has the limits.
 * Slurm puts a task's processes one or two levels deeper.
 */
const MANAGERS_GROUPS: readonly RegExp[] = [
  // slurm.schedmd.com/cgroup_v2.html; version 1: /slurm[_NODE]/uid_U/job_J/step_S/task_T
  /^((?:\/[^/]+)*\/slurm[^/]*\/uid_\d+\/job_\d+(?:\/step_[^/]+)?)(?:\/.*)?$/,
  /^((?:\/[^/]+)*\/[^/]*slurmstepd\.scope\/job_\d+\/step_[^/]+(?:\/user)?)(?:\/.*)?$/,
  // BASE_CGROUP, and the directory's name made of the execute directory and the slot's
  /^((?:\/[^/]+)*\/(?:htcondor|condor\.service)\/[^/]*slot\d[^/]*)(?:\/.*)?$/,
  // OpenPBS' cgroup hook: PREFIX/jobid/1234.server
  /^((?:\/[^/]+)*\/pbs[^/]*(?:\/[^/]+)?\/jobid\/[^/]+)(?:\/.*)?$/,
  /^((?:\/[^/]+)*\/lsf\/[^/]+\/job\.[^/]+)(?:\/.*)?$/,
  /^((?:\/[^/]+)*\/oar\/[^/]+_\d+)(?:\/.*)?$/,
];

/** The cgroup that a workload manager made for the step in whose cgroup `path` lies; undefined: no manager's. */
export function stepGroupOf(path: string): string | undefined {
  for (const pattern of MANAGERS_GROUPS) {
    const group = pattern.exec(path)?.[1];
    if (group !== undefined) return group;
  }
  return undefined;
}

/** The cgroups of a step, as far as its manager made some. */
export interface StepCgroup {
  readonly version: 1 | 2;
  /** By controller ("memory", "cpuset", …); of version 2 the one that is all controllers', by the name "unified". */
  readonly groups: ReadonlyMap<string, string>;
  /**
   * The deepest of them, where all others are the same or above it: what is made below it, by this one path in every
   * hierarchy, is below each of them. Undefined where there is no such path, or no group can be made there.
   */
  readonly parent?: string;
}

/**
 * The step in whose cgroups a process is.
 *
 * @param entries of /proc/self/cgroup
 * @returns undefined where no workload manager put it into a cgroup
 */
export function stepCgroupOf(entries: readonly CgroupEntry[]): StepCgroup | undefined {
  const groups = new Map<string, string>();
  for (const { version, controllers, path } of entries) {
    const group = version === 1 ? stepGroupOf(path) : undefined;
    if (group !== undefined) for (const controller of controllers) groups.set(controller, group);
  }
  if (groups.size > 0) {
    const parent = deepest([...groups.values()]);
    return { version: 1, groups, ...(parent === undefined ? {} : { parent }) };
  }
  const unified = entries.find(({ version }) => version === 2);
  const group = unified === undefined ? undefined : stepGroupOf(unified.path);
  if (unified === undefined || group === undefined) return undefined;
  // Version 2 has processes in leaves only: beside the step's own none can be made in the group they are in themselves.
  return { version: 2, groups: new Map([["unified", group]]), ...(group === unified.path ? {} : { parent: group }) };
}

function deepest(paths: readonly string[]): string | undefined {
  const longest = paths.reduce((one, other) => (other.length > one.length ? other : one), "");
  return paths.every((path) => isBelow(longest, path)) ? longest : undefined;
}

/** Whether a cgroup is another, or below it. */
export function isBelow(path: string, above: string): boolean {
  return path === above || path.startsWith(above === "/" ? "/" : `${above}/`);
}

/** Where a hierarchy can be read: a line of /proc/self/mountinfo. */
export interface CgroupMount {
  readonly version: 1 | 2;
  /** The cgroup that is mounted. */
  readonly root: string;
  readonly place: string;
  readonly controllers: readonly string[];
}

/** The hierarchies of control groups among the mounts of /proc/self/mountinfo (proc(5)). */
export function parseCgroupMounts(mountinfo: string): CgroupMount[] {
  const mounts: CgroupMount[] = [];
  for (const line of mountinfo.split("\n")) {
    const [left = "", right = ""] = line.split(" - ");
    const [, , , root, place] = left.split(" ").map(unescapeOctal);
    const [type, , options = ""] = right.split(" ");
    if (root === undefined || place === undefined || (type !== "cgroup" && type !== "cgroup2")) continue;
    mounts.push({ version: type === "cgroup2" ? 2 : 1, root, place, controllers: options.split(",") });
  }
  return mounts;
}

/** Blanks and backslashes are written as octal numbers there. */
function unescapeOctal(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** The directory of a cgroup; undefined where its hierarchy is not mounted here. */
export function directoryOf(mounts: readonly CgroupMount[], controller: string, path: string): string | undefined {
  for (const { version, root, place, controllers } of mounts) {
    const fits = controller === "unified" ? version === 2 : version === 1 && controllers.includes(controller);
    if (fits && isBelow(path, root)) return place + (root === "/" ? path : path.slice(root.length));
  }
  return undefined;
}
