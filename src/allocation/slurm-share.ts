import type { Surroundings } from "./allocation.ts";
import { optionalNumber } from "./read.ts";

/** Slurm counts memory in units of 1,048,576 bytes. */
const MEGABYTE = 1_048_576;

/**
 * A step's part of its node, by srun(1) and sbatch(1): SLURM_CPUS_ON_NODE, SLURM_MEM_PER_NODE, SLURM_MEM_PER_CPU. Where
 * memory is nothing that Slurm hands out, it says nothing of it.
 *
 * @throws ConfigError naming the variable that is no number
 */
export function slurmShare(surroundings: Surroundings): { cpus?: number; memoryBytes?: number } {
  const cpus = Number(optionalNumber(surroundings, "SLURM_CPUS_ON_NODE") ?? 0);
  const ofNode = Number(optionalNumber(surroundings, "SLURM_MEM_PER_NODE") ?? 0);
  const ofCpu = Number(optionalNumber(surroundings, "SLURM_MEM_PER_CPU") ?? 0);
  const memory = ofNode > 0 ? ofNode : ofCpu * cpus;
  return { ...(cpus > 0 ? { cpus } : {}), ...(memory > 0 ? { memoryBytes: memory * MEGABYTE } : {}) };
}
