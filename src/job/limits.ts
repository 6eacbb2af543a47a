import { formatCpuList, parseCpuList } from "../allocation/cpu-list.ts";
import { isBelow } from "../allocation/step-cgroup.ts";
import { UsageError } from "../config/errors.ts";
import type { ContainerLimits, EngineInfo, Ulimit } from "../engine/types.ts";
import type { Step } from "./step.ts";

/** `stepLimits` of the settings. */
export type StepPolicy = "auto" | "copy" | "require" | "none";

/** Billionths of a cpu in a cpu. */
const CPU = 1e9;

/** How a container is kept within a step. */
export interface Placement {
  /** `below`: in a cgroup below the step's; `copied`: by limits of its own; `inside`: by an engine that is in the step. */
  readonly way: "below" | "copied" | "inside";
  readonly limits: ContainerLimits;
  /** Controllers by which the step's own cgroups hold it, with these. */
  readonly held: ReadonlyMap<string, string>;
  /** What was asked for and is more than the step has. */
  readonly notes: readonly string[];
}

/** What is asked of an engine, besides who it is, before a container is put into a step. */
export type PlacingEngine = Pick<EngineInfo, "kind" | "rootless" | "cgroupVersion" | "cgroupDriver">;

/**
 * Which way an engine can keep containers within a step.
 *
 * An engine of root's with the driver cgroupfs makes its cgroups where it is told to. With the systemd driver the parent has
 * to be a slice, which no step's is. A rootless engine can neither make cgroups below the step's, which are root's, nor, on
 * control groups of version 1, limit anything.
 */
export function wayOf(step: Step, asked: ContainerLimits, engine: PlacingEngine, policy: StepPolicy): Placement["way"] {
  if (engine.rootless) return engine.cgroupVersion === 2 && engine.cgroupDriver === "systemd" ? "copied" : "inside";
  const parent = step.cgroup?.parent;
  if (parent === undefined || policy === "copy" || engine.cgroupDriver !== "cgroupfs") return "copied";
  if (step.cgroup?.version !== engine.cgroupVersion) return "copied";
  return asked.cgroupParent === undefined || isBelow(asked.cgroupParent, parent) ? "below" : "copied";
}

/**
 * The limits of a container that is to have no more than its step. What the user asked for can only lower them.
 *
 * @param containers how many share this step on this machine: each has its part of what is no cgroup of them all
 * @throws UsageError for cpus that are none of the step's
 */
export function placeIn(
  step: Step,
  asked: ContainerLimits,
  way: Placement["way"],
  { rootless, containers }: { readonly rootless: boolean; readonly containers: number },
): Placement {
  // What the engine is in, its containers are in; and it takes no limits by itself.
  if (way === "inside") return { way, limits: asked, held: step.cgroup?.groups ?? new Map(), notes: [] };
  const held = way === "below" ? (step.cgroup?.groups ?? new Map<string, string>()) : new Map<string, string>();
  const holds = (...controllers: string[]) => ["unified", ...controllers].some((name) => held.has(name));
  const notes: string[] = [];
  const parent = way === "below" ? (asked.cgroupParent ?? step.cgroup?.parent) : asked.cgroupParent;
  return {
    way,
    limits: {
      ...asked,
      ...cpusWithin(step, asked, { held: holds("cpuset", "cpu"), containers, notes }),
      ...memoryWithin(step, asked, { held: holds("memory"), containers, notes }),
      ulimits: rootless ? asked.ulimits : ulimitsWithin(step, asked.ulimits, notes),
      ...(parent === undefined ? {} : { cgroupParent: parent }),
    },
    held,
    notes,
  };
}

interface Within {
  /** The step's cgroup sees to it already. */
  readonly held: boolean;
  readonly containers: number;
  readonly notes: string[];
}

function cpusWithin(step: Step, asked: ContainerLimits, { held, containers, notes }: Within): Partial<ContainerLimits> {
  const own = step.cpuset;
  let cpuset = asked.cpusetCpus;
  if (own !== undefined && cpuset !== undefined) {
    const wanted = parseCpuList(cpuset) ?? [];
    const both = wanted.filter((cpu) => own.includes(cpu));
    if (both.length === 0) {
      throw new UsageError(`--cpuset-cpus ${cpuset}: none of these cpus is the job's (${formatCpuList(own)})`, {
        hint: "leave it out, or choose among them",
      });
    }
    if (both.length < wanted.length) notes.push(more(step, `cpus ${cpuset}`, `cpus ${formatCpuList(own)}`));
    cpuset = formatCpuList(both);
  } else if (own !== undefined && !held) cpuset = formatCpuList(own);
  const count = step.cpus === undefined ? undefined : step.cpus * CPU;
  let nanoCpus = asked.nanoCpus;
  if (count !== undefined && nanoCpus !== undefined && nanoCpus > count) {
    notes.push(more(step, `${nanoCpus / CPU} cpus`, `${count / CPU}`));
    nanoCpus = count;
  }
  // A set of them says as much, where all containers of the step may run on the same.
  if (count !== undefined && !held && (own === undefined || own.length > count / CPU)) {
    const part = Math.floor(count / containers);
    nanoCpus = Math.min(nanoCpus ?? part, part);
  }
  return { ...(cpuset === undefined ? {} : { cpusetCpus: cpuset }), ...(nanoCpus === undefined ? {} : { nanoCpus }) };
}

function memoryWithin(step: Step, asked: ContainerLimits, { held, containers, notes }: Within) {
  const own = step.memoryBytes;
  const wanted = asked.memoryBytes;
  if (own === undefined) return {};
  if (wanted !== undefined && wanted > own) notes.push(more(step, `${mib(wanted)} of memory`, mib(own)));
  if (held) return wanted === undefined ? {} : { memoryBytes: Math.min(wanted, own) };
  const part = Math.floor(own / containers);
  return { memoryBytes: Math.min(wanted ?? part, part) };
}

function mib(bytes: number): string {
  return `${Math.floor(bytes / 1_048_576)} MiB`;
}

function more(step: Step, asked: string, has: string): string {
  return `${asked} were asked for, and ${step.manager} gave the job ${has}: it gets no more`;
}

/** The step's own limits, and lower ones where they are asked for. */
function ulimitsWithin(step: Step, asked: readonly Ulimit[], notes: string[]): Ulimit[] {
  const value = (limit: number) => (limit === -1 ? Number.POSITIVE_INFINITY : limit);
  const written = (limit: number) => (Number.isFinite(limit) ? limit : -1);
  const lower = (one: number, other: number) => written(Math.min(value(one), value(other)));
  const own = new Map(step.ulimits.map((limit) => [limit.name, limit]));
  const lowered = asked.map((limit) => {
    const most = own.get(limit.name);
    own.delete(limit.name);
    if (most === undefined) return limit;
    if (value(limit.hard) > value(most.hard)) {
      notes.push(more(step, `ulimit ${limit.name}=${text(limit.hard)}`, text(most.hard)));
    }
    const hard = lower(limit.hard, most.hard);
    return { name: limit.name, soft: lower(limit.soft, hard), hard };
  });
  return [...lowered, ...own.values()];
}

function text(limit: number): string {
  return limit === -1 ? "unlimited" : String(limit);
}
