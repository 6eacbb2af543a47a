import { fault, quote } from "../config/where.ts";
import type { Manager, Surroundings } from "./allocation.ts";
import {
  MOST_SLOTS,
  optional,
  optionalNumber,
  parseNode,
  readFile,
  required,
  thisNode,
  variable,
  WITHOUT_MANAGER,
} from "./read.ts";

const JOB_AD = "_CONDOR_JOB_AD";
const MACHINE_AD = "_CONDOR_MACHINE_AD";

/** An HTCondor job's word on itself: the two ads that its starter writes into the job's scratch directory. */
export const htcondor: Manager = {
  name: "htcondor",
  title: "HTCondor",
  marks: [JOB_AD],
  job(surroundings) {
    const ad = readAd(surroundings, JOB_AD);
    const cluster = numberIn(ad, "ClusterId");
    const process = numberIn(ad, "ProcId");
    if (cluster === undefined || process === undefined) {
      throw fault(variable(JOB_AD), `${quote(ad.path)} has no ClusterId or no ProcId`, WITHOUT_MANAGER);
    }
    // How often it had begun to run before: it was evicted, or held and released. It is not counted for one that is new.
    return { id: `${cluster}.${process}`, restarts: Number(numberIn(ad, "NumJobStarts") ?? 0) };
  },
  nodes(surroundings) {
    const processes = optionalNumber(surroundings, "_CONDOR_NPROCS") ?? "1";
    if (processes !== "1") {
      throw fault(
        variable("_CONDOR_NPROCS"),
        `a job of the parallel universe, with ${processes} processes, cannot be read yet`,
        WITHOUT_MANAGER,
      );
    }
    const ad = readAd(surroundings, JOB_AD);
    // RequestCpus may be an expression, which is worth what was provisioned; that is said by newer versions alone.
    const cpus = Number(numberIn(ad, "CpusProvisioned") ?? numberIn(ad, "RequestCpus") ?? 1);
    return [{ index: 0, name: machine(surroundings), slots: Math.min(Math.max(1, cpus), MOST_SLOTS) }];
  },
  // A job of one machine is on it.
  here: machine,
};

/** What a slot of the machine has, by its ad: cpus, and memory in megabytes (of 1,048,576 bytes). */
export function machineShare(surroundings: Surroundings): { cpus?: number; memoryBytes?: number } {
  if (optional(surroundings, MACHINE_AD) === undefined) return {};
  const ad = readAd(surroundings, MACHINE_AD);
  const [cpus, memory] = ["Cpus", "Memory"].map((name) => Number(numberIn(ad, name) ?? 0));
  return { ...(cpus ? { cpus } : {}), ...(memory ? { memoryBytes: memory * 1_048_576 } : {}) };
}

/**
 * What tells a job from those of the same number in other queues: `SCHEDD#CLUSTER.PROC#TIME`.
 *
 * @returns undefined where its ad does not say it
 */
export function globalJobId(surroundings: Surroundings): string | undefined {
  const written = readAd(surroundings, JOB_AD).attributes.get("globaljobid");
  return /^"([^"\\\p{Cc}]{1,1000})"$/u.exec(written ?? "")?.[1];
}

interface Ad {
  readonly path: string;
  /** By lower-case name: attributes' names are the same in any case. */
  readonly attributes: ReadonlyMap<string, string>;
}

/** The old syntax of ClassAds: an attribute a line, `Name = expression`. */
function readAd(surroundings: Surroundings, variableName: string): Ad {
  const path = required(surroundings, variableName);
  const attributes = new Map<string, string>();
  for (const line of readFile(surroundings, variable(variableName), path).split("\n")) {
    // No pattern takes the line apart: with blanks on both sides of a text it would try each as a part of either.
    const equals = line.indexOf("=");
    const name = line.slice(0, Math.max(0, equals)).trim();
    if (/^[A-Za-z_][A-Za-z0-9_.]*$/.test(name)) attributes.set(name.toLowerCase(), line.slice(equals + 1).trim());
  }
  return { path, attributes };
}

/** An attribute's value where it is a plain number from 0, and none where it is missing or an expression. */
function numberIn({ attributes }: Ad, name: string): string | undefined {
  const value = attributes.get(name.toLowerCase());
  return value !== undefined && /^(?:0|[1-9][0-9]{0,9})$/.test(value) ? value : undefined;
}

/** The machine's name as the pool knows it. */
function machine(surroundings: Surroundings): string {
  if (optional(surroundings, MACHINE_AD) === undefined) return thisNode(surroundings);
  const ad = readAd(surroundings, MACHINE_AD);
  const written = ad.attributes.get("machine");
  const text = /^"([^"\\]*)"$/.exec(written ?? "")?.[1];
  if (text === undefined) return thisNode(surroundings);
  return parseNode(text, variable(`${MACHINE_AD} ${quote(ad.path)}: Machine`));
}
