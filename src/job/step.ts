import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Surroundings } from "../allocation/allocation.ts";
import { parseCpuList } from "../allocation/cpu-list.ts";
import { gpuWords } from "../allocation/gpus.ts";
import { shareOf } from "../allocation/share.ts";
import {
  directoryOf,
  parseCgroupMounts,
  parseCgroups,
  type StepCgroup,
  stepCgroupOf,
} from "../allocation/step-cgroup.ts";
import { ulimitsOf } from "../engine/limits.ts";
import type { Ulimit } from "../engine/types.ts";

/** The part of this machine that a workload manager gave to what runs here: a job, or a step of one. */
export interface Step {
  /** Who gave it, for messages. */
  readonly manager: string;
  /** Undefined: the manager put it into no cgroup. */
  readonly cgroup?: StepCgroup;
  /** The cpus it may run on, where these are not all of the machine's. */
  readonly cpuset?: readonly number[];
  /** How many cpus it may use, where the manager says so and there are more. */
  readonly cpus?: number;
  readonly memoryBytes?: number;
  /** Of this process: what the manager set for the step's. */
  readonly ulimits: readonly Ulimit[];
  /** Whether others may have a part of this machine, too. */
  readonly shared: boolean;
  /** What the manager calls its GPUs; none: it has none. */
  readonly gpus: readonly string[];
}

/** The text of a file of the kernel's, such as /proc/self/limits; undefined where there is none. */
export type ReadKernel = (path: string) => string | undefined;

function readKernel(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/**
 * The step this process is in: by the manager's environment, by its cgroups, or both.
 *
 * @returns undefined where no workload manager started this process
 * @throws GangwayError where the manager's word cannot be understood
 */
export function stepOf(surroundings: Surroundings, read: ReadKernel = readKernel): Step | undefined {
  const share = shareOf(surroundings);
  const cgroup = stepCgroupOf(parseCgroups(read("/proc/self/cgroup") ?? ""));
  if (share === undefined && cgroup === undefined) return undefined;
  const online = parseCpuList(read("/sys/devices/system/cpu/online") ?? "")?.length ?? 0;
  const status = read("/proc/self/status") ?? "";
  const allowed = parseCpuList(/^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? "") ?? [];
  const cpus = Math.min(share?.cpus ?? Number.POSITIVE_INFINITY, allowed.length || Number.POSITIVE_INFINITY);
  const memory = least([share?.memoryBytes, memoryLimit(cgroup, read)]);
  return {
    manager: share?.title ?? "the workload manager",
    ...(cgroup === undefined ? {} : { cgroup }),
    ...(allowed.length > 0 && allowed.length < online ? { cpuset: allowed } : {}),
    ...(cpus < online ? { cpus } : {}),
    ...(memory === undefined ? {} : { memoryBytes: memory }),
    ulimits: ulimitsOf(
      read("/proc/self/limits") ?? "",
      read("/proc/sys/kernel/pid_max") ?? "",
      callersLimits(status, read),
    ),
    shared: online === 0 || cpus < online,
    gpus: gpuWords(surroundings),
  };
}

/** Of the process that called this one: a shell of the user's, not the manager's own. */
function callersLimits(status: string, read: ReadKernel): string {
  const parent = /^PPid:\s*(\d+)$/m.exec(status)?.[1];
  const uids = /^Uid:.*$/m;
  const same = uids.exec(read(`/proc/${parent}/status`) ?? "")?.[0] === uids.exec(status)?.[0];
  return same ? (read(`/proc/${parent}/limits`) ?? "") : "";
}

function least(values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}

/** A limit of version 1 that is none: the largest number of whole pages. */
const NO_LIMIT = 2 ** 62;

/** The least memory that the step's cgroup or one above it allows. */
function memoryLimit(cgroup: StepCgroup | undefined, read: ReadKernel): number | undefined {
  const controller = cgroup?.version === 2 ? "unified" : "memory";
  const group = cgroup?.groups.get(controller);
  if (group === undefined) return undefined;
  const directory = directoryOf(parseCgroupMounts(read("/proc/self/mountinfo") ?? ""), controller, group);
  if (directory === undefined) return undefined;
  if (controller === "memory") {
    // It is the least of all above, too (Documentation/admin-guide/cgroup-v1/memory.rst, 5.2).
    const stat = /^hierarchical_memory_limit (\d+)$/m.exec(read(join(directory, "memory.stat")) ?? "")?.[1];
    return stat === undefined || Number(stat) >= NO_LIMIT ? undefined : Number(stat);
  }
  const limits: number[] = [];
  for (let [place, path] = [directory, group]; path !== "/"; [place, path] = [dirname(place), dirname(path)]) {
    const text = read(join(place, "memory.max"))?.trim() ?? "";
    if (/^\d+$/.test(text)) limits.push(Number(text));
  }
  return least(limits);
}
