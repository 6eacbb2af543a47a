import { UsageError } from "../config/errors.ts";
import type { Surroundings } from "./allocation.ts";
import { optional } from "./read.ts";

/** A GPU of this machine, as this process may see it. */
export interface Gpu {
  /** In the driver's order, which `nvidia-smi` counts by. */
  readonly index: number;
  /** `GPU-…`: means the same device in a container, where the numbers begin anew. */
  readonly uuid: string;
}

/** Reads `nvidia-smi -L`: a line `GPU 0: NAME (UUID: GPU-…)` each. Parts of one (MIG) have lines of their own. */
export function parseGpuList(text: string): Gpu[] {
  const gpus: Gpu[] = [];
  for (const line of text.split("\n")) {
    const match = /^GPU (\d{1,4}): .*\(UUID: (GPU-[0-9A-Fa-f-]{8,64})\)\s*$/.exec(line);
    if (match !== null) gpus.push({ index: Number(match[1]), uuid: match[2] ?? "" });
  }
  return gpus;
}

/** In the order in which they are believed; all that Slurm and others set for a job with GPUs. */
const VARIABLES = ["CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "SLURM_STEP_GPUS", "SLURM_JOB_GPUS"] as const;

/**
 * What the manager says of the step's GPUs.
 *
 * @returns numbers or UUIDs; an empty list: it has none
 */
export function gpuWords(surroundings: Surroundings): string[] {
  for (const name of VARIABLES) {
    const text = optional(surroundings, name);
    // What CUDA takes for none.
    if (text === "-1" || text === "NoDevFiles") return [];
    if (text !== undefined) return text.split(",").map((word) => word.trim());
  }
  return [];
}

/**
 * The step's GPUs by UUID. With devices limited by cgroup the machine's list has the step's alone, and the manager numbers
 * them from 0; without, both count all of the machine. So a number is a place in the list either way.
 *
 * @throws UsageError for a word that is no GPU of the list
 */
export function gpusOfStep(words: readonly string[], visible: readonly Gpu[]): string[] {
  return words.map((word) => {
    const found = /^\d{1,4}$/.test(word)
      ? visible.find(({ index }) => index === Number(word))
      : visible.find(({ uuid }) => word !== "" && uuid.toLowerCase().startsWith(word.toLowerCase()));
    if (found !== undefined) return found.uuid;
    throw new UsageError(`the workload manager gave the job GPU "${word}", which nvidia-smi -L does not list here`, {
      hint: "look at CUDA_VISIBLE_DEVICES and nvidia-smi -L on the node; without GPUs: leave --gpus out",
    });
  });
}

/**
 * A request for GPUs (as `docker run --gpus`) within those of the step.
 *
 * @param asked "all", a count, or "device=ID,…" by number (within the step, from 0) or UUID
 * @param own UUIDs of the step's
 * @returns UUIDs
 * @throws UsageError where more is asked for than the step has
 */
export function gpusWithin(asked: string, own: readonly string[]): string[] {
  if (asked === "all") return [...own];
  const has = own.length === 0 ? "the job has none" : `the job has ${own.length} (${own.join(", ")})`;
  const hint = "ask the workload manager for more (--gpus of sbatch), or gangway for fewer; --gpus all means the job's";
  const ids = /^device=(.+)$/.exec(asked)?.[1]?.split(",");
  if (ids === undefined) {
    const count = Number(asked);
    if (count > own.length) throw new UsageError(`--gpus ${asked}: ${has}`, { hint });
    return own.slice(0, count);
  }
  return ids.map((id) => {
    const found = /^\d{1,4}$/.test(id) ? own[Number(id)] : own.find((uuid) => uuid.toLowerCase() === id.toLowerCase());
    if (found === undefined) throw new UsageError(`--gpus ${asked}: ${id} is not the job's; ${has}`, { hint });
    return found;
  });
}
