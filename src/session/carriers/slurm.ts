import { sameHost } from "../../allocation/allocation.ts";
import { unfoldHostlist } from "../../allocation/hostlist.ts";
import { JobError, STATUS } from "../../config/errors.ts";
import { printable } from "../../config/printable.ts";
import { programInPath } from "../../config/program-path.ts";
import { isNamedAfter } from "../../job/id.ts";
import type { Reading } from "../target.ts";
import {
  askProgram,
  type ManagedJob,
  type ManagerClient,
  ownEnvironment,
  requireProgram,
  SilentManagerError,
} from "./client.ts";
import type { CarrierCommand } from "./guard.ts";

const TITLE = "Slurm";
/** 1234, 1234_7 (of an array), 1234+1 (of a heterogeneous job); then what gangway puts behind: -r1 (begun anew), -2 (its second launch). */
const ID = /^(\d{1,10}(?:[_+]\d{1,10})?)(?:-r\d{1,10})?(?:-\d{1,9})?$/;
/** It may be an array's, too: that Slurm's answer tells. */
const PLAIN_ID = /^\d{1,10}$/;
/** Numbers and names without `|` first; the reason is free text. */
const FORMAT = "%A|%i|%U|%u|%T|%N|%r";

/** Slurm's word on a job (squeue(1)). */
export interface SlurmJob {
  /** The number that srun is told; an array's tasks and a heterogeneous job's components have one each. */
  readonly number: string;
  /** As its users write it. */
  readonly id: string;
  readonly uid: number;
  readonly user: string;
  readonly state: string;
  readonly hosts: readonly string[];
  readonly reason: string;
}

/** Slurm, as far as its commands for users say. */
export const slurmClient: ManagerClient = {
  way: "srun",
  title: TITLE,
  installed: () => ["squeue", "srun"].every((name) => programInPath(name) !== undefined),
  takes: ({ job }) => ID.test(job),
  async find(reading) {
    const id = ID.exec(reading.job)?.[1];
    if (id === undefined) return undefined;
    const { code, output, complaint } = await askProgram(
      TITLE,
      ["squeue", "--noheader", "--all", "--states=all", `--format=${FORMAT}`, `--jobs=${id}`],
      slurmEnvironment(),
    );
    if (code !== 0) {
      if (/invalid job id/i.test(complaint)) return undefined;
      throw new SilentManagerError(`${TITLE} cannot be asked: ${complaint}`, { exitCode: STATUS.unreachable });
    }
    const job = chooseJob(parseSqueue(output), id, reading);
    return job === undefined ? undefined : managed(checkState(job, reading), reading);
  },
  guess({ job, node }) {
    if (node !== undefined || !PLAIN_ID.test(job)) return undefined;
    return { job, padding: PADDING, carrier: (argv) => srunCarrier(job, HEAD, argv) };
  },
};

/**
 * Reads what `squeue` printed in {@link FORMAT}. Lines of another form are passed over.
 *
 * @throws GangwayError for a list of hosts that cannot be understood
 */
export function parseSqueue(text: string): SlurmJob[] {
  return text.split("\n").flatMap((line) => {
    const match = /^(\d+)\|([^|]+)\|(\d+)\|([^|]*)\|([A-Z_]+)\|([^|]*)\|(.*)$/.exec(line.trim());
    if (match === null) return [];
    const [, number = "", id = "", uid = "", user = "", state = "", list = "", reason = ""] = match;
    const hosts = list === "" || list.startsWith("(") ? [] : unfoldHostlist(list, { kind: "variable", name: "squeue" });
    return [{ number, id, uid: Number(uid), user: printable(user), state, hosts, reason: printable(reason) }];
  });
}

/** Of an array all tasks are told, of a heterogeneous job all components: the first stands for the whole of that. */
function chooseJob(jobs: readonly SlurmJob[], id: string, { job }: Reading): SlurmJob | undefined {
  const exact = jobs.find((known) => known.id === id || known.id === `${id}+0`);
  const found = exact ?? (jobs.length <= 1 ? jobs[0] : undefined);
  if (found !== undefined || jobs.length === 0) return found;
  const running = jobs.filter(({ state }) => state === "RUNNING").map((known) => known.id);
  throw new JobError(`job ${job} is an array of ${jobs.length} jobs`, {
    hint: running.length === 0 ? "none of them runs" : `those that run: ${running.slice(0, 20).join(", ")}`,
    exitCode: STATUS.several,
  });
}

const NOT_YET = /^(?:PENDING|CONFIGURING|REQUEUED|REQUEUE_FED|REQUEUE_HOLD|RESV_DEL_HOLD|POWER_UP_NODE)$/;
const RESTING = /^(?:SUSPENDED|STOPPED)$/;
const RUNNING = /^(?:RUNNING|RESIZING|SIGNALING|STAGE_OUT)$/;

/** @throws JobError for a job that cannot be entered now, or not by this user */
function checkState(job: SlurmJob, { job: name }: Reading): SlurmJob {
  const { state, reason, user, uid } = job;
  if (uid !== process.getuid?.()) {
    throw new JobError(`${TITLE}'s job ${name} is ${user}'s: only they can enter it`, { exitCode: STATUS.notYours });
  }
  if (RUNNING.test(state)) return job;
  const said = state.toLowerCase().replaceAll("_", " ");
  // Of one that was cancelled, Slurm goes on saying why it had not begun.
  if ((/^JobHeld/.test(reason) && NOT_YET.test(state)) || /HOLD$/.test(state)) {
    throw new JobError(`job ${name} is held (${TITLE}: ${reason})`, {
      hint: reason === "JobHeldAdmin" ? "its administrator can release it" : `release it: scontrol release ${job.id}`,
      // Not one to wait for: a job is held until somebody releases it.
      exitCode: STATUS.unreachable,
    });
  }
  if (NOT_YET.test(state)) {
    throw new JobError(`job ${name} does not run yet (${TITLE}: ${said}, ${reason})`, {
      hint: `wait for it: gangway ssh --auto-retry ${name}`,
      exitCode: STATUS.notYet,
    });
  }
  if (RESTING.test(state)) {
    throw new JobError(`job ${name} is ${said}: nothing in it runs until it is resumed`, {
      hint: `resume it: scontrol resume ${job.id}, or wait: gangway ssh --auto-retry ${name}`,
      exitCode: STATUS.notYet,
    });
  }
  throw new JobError(`job ${name} has ended (${TITLE}: ${said})`, { exitCode: STATUS.ended });
}

function managed(job: SlurmJob, reading: Reading): ManagedJob {
  const own = hostOf(job, reading);
  const host = own ?? job.hosts[0];
  if (host === undefined) {
    throw new SilentManagerError(`${TITLE} does not say on which hosts job ${reading.job} runs`, {
      exitCode: STATUS.unreachable,
    });
  }
  return {
    where: "managed",
    way: "srun",
    title: TITLE,
    reading,
    host,
    certain: own !== undefined,
    padding: PADDING,
    // One that has begun anew has another name, and an array's task is known by two numbers.
    means: (launch) => [reading.job, job.id, job.number].some((id) => isNamedAfter(launch, id)),
    carrier: (argv) => srunCarrier(job.number, `--nodelist=${host}`, argv),
    guessed: reading.node === undefined && job.number === reading.job,
  };
}

/** Every host of a job leads to all its nodes; the node's own is the shortest way. @returns undefined where Slurm does not know it */
function hostOf({ hosts }: SlurmJob, { node }: Reading): string | undefined {
  if (node === undefined) return hosts[0];
  const named = hosts.find((host) => sameHost(host, node));
  return named ?? (/^\d{1,7}$/.test(node) ? hosts[Number(node)] : undefined);
}

/** A job's first host, as `squeue` has it, too. */
const HEAD = "--relative=0";

/**
 * Not `--unbuffered`: that is a terminal between the processes, at half the rate. The step takes nothing from the job's own.
 *
 * @param node srun's option that says which of the job's hosts
 */
function srunCarrier(number: string, node: string, argv: readonly string[]): CarrierCommand {
  const where = [`--jobid=${number}`, node, "--nodes=1", "--ntasks=1"];
  const beside = [
    "--overlap",
    "--mpi=none",
    "--cpu-bind=none",
    "--gres=none",
    "--export=ALL",
    "--job-name=gangway",
    "--chdir=/",
  ];
  return {
    title: "srun",
    argv: [requireProgram("srun", TITLE), "--quiet", ...where, ...beside, ...argv],
    env: slurmEnvironment(),
  };
}

/** Two segments of an Ethernet's; {@link Carried} says what for. */
const PADDING = 3000;

/** How Slurm is reached. */
const KEPT = /^SLURM_(?:CONF|CLUSTER_NAME|JWT)$/;

/** Without what its commands take for options (srun(1), squeue(1)), and what says that this process is itself in a job. */
function slurmEnvironment(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(ownEnvironment()).filter(
      ([name]) => KEPT.test(name) || !/^(?:SLURMD?|SRUN|SQUEUE|PMI|PMIX)_/.test(name),
    ),
  );
}
