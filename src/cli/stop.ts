import { constants } from "node:os";
import { Command } from "commander";
import { EngineError, GangwayError, JobError, systemReasonOf, UsageError } from "../config/errors.ts";
import type { Config } from "../config/load.ts";
import { printable } from "../config/printable.ts";
import type { Engine } from "../engine/types.ts";
import { collectDirectories } from "../job/collect.ts";
import { endProcesses } from "../job/end-processes.ts";
import { chooseJob, directoryOfJob, type JobSummary, listJobs, recordOf } from "../job/jobs.ts";
import { launcherOf } from "../job/manager-jobs.ts";
import { addSettings, configure, givenSettings, ownerOf, runBasesOf, withEngine } from "./context.ts";
import { endedByLauncher, type StopRequest } from "./end-job.ts";
import { jobsHere } from "./jobs-here.ts";

export function command(): Command {
  const stop = new Command("gangway stop")
    .description("Ends jobs: the command gets a signal, and what is left after the grace time is killed.")
    .argument("<job...>", "the jobs' ids")
    .option("-u, --user <USER>", "whose jobs they are (root only)")
    .option("-s, --signal <SIGNAL>", "the signal for the command", "TERM")
    .option("--grace <SECONDS>", "how long the command may take", "10");
  addSettings(stop, ["engine"]);
  return stop.action(async (ids: string[], _options: unknown, self: Command) => await endAll(ids, self));
}

function signalNumber(text: string): number {
  const name = `SIG${text.replace(/^SIG/i, "").toUpperCase()}`;
  const number = /^\d+$/.test(text) ? Number(text) : (constants.signals as Record<string, number | undefined>)[name];
  if (number === undefined || number < 1 || number > 64)
    throw new UsageError(`--signal ${text}: there is no such signal`, {
      hint: "write TERM, INT, KILL, 15 or the like",
    });
  return number;
}

async function endAll(ids: readonly string[], self: Command): Promise<void> {
  const options = self.opts<{ user?: string; signal: string; grace: string }>();
  const signal = signalNumber(options.signal);
  const grace = Number(options.grace);
  if (!(grace >= 0 && grace <= 86_400))
    throw new UsageError(`--grace ${options.grace}: not a number of seconds`, {
      hint: "write digits alone, 86400 at most",
    });
  const config = await configure(givenSettings(self));
  const request = { op: "stop", signal, graceMs: grace * 1000 } as const;
  const known = await jobsHere(config, options.user);
  // Each of them is known before the first one ends: a slip of the pen ends nothing.
  const jobs = orNone(ids.length, () => [...new Set(ids)].map((id) => jobMeant(known, id)));
  await Promise.all(jobs.map((job) => end(job, request, options.user, config)));
}

/** @throws JobError, the one that was thrown, which says of several jobs that none was ended */
function orNone<T>(several: number, find: () => T): T {
  try {
    return find();
  } catch (error) {
    if (several < 2 || !(error instanceof JobError)) throw error;
    const { hint, exitCode } = error;
    const none = "none of the jobs was ended";
    throw new JobError(error.message, { hint: hint === undefined ? none : `${none}; ${hint}`, exitCode, cause: error });
  }
}

/** @throws JobError for a node's name, too: a job ends as a whole */
function jobMeant(known: readonly JobSummary[], id: string): JobSummary {
  const ofNode = known.find(({ job }) => id.startsWith(`${job}.`) || id === `${job}.job` || id.endsWith(`.${job}.job`));
  if (ofNode === undefined || known.some(({ job }) => job === id)) return chooseJob(known, id);
  throw new JobError(
    `"${printable(id)}" is no job, but within job ${ofNode.job}, which ends on all its nodes or on none`,
    {
      hint: `gangway stop ${ofNode.job}`,
    },
  );
}

/**
 * By their labels: what the job's directory says of containers is its user's word, and who asks may be root.
 *
 * @returns how many there were
 */
async function removeContainers(job: JobSummary, user: string | undefined, config: Config): Promise<number> {
  const remove = async (engine: Engine) => {
    const left = (await listJobs(engine, job.uid)).find((one) => one.job === job.job)?.nodes ?? [];
    for (const node of left) await engine.remove(node.container);
    return left.length;
  };
  return await withEngine(config, user, remove).catch((error: unknown) => {
    // A runtime's containers end with its processes, and there may be no engine at all.
    if (error instanceof EngineError && recordOf(job)?.runtime === true) return 0;
    throw error;
  });
}

async function end(job: JobSummary, request: StopRequest, user: string | undefined, config: Config): Promise<void> {
  const owner = ownerOf(String(job.uid) === String(process.getuid?.()) ? undefined : String(job.uid));
  if (!job.orphaned && (await endedByLauncher(directoryOfJob(job), request, owner))) return;
  // No launcher that does it: what is there is only left over.
  const removed = await removeContainers(job, user, config);
  const { directory } = job;
  const launcher = directory === undefined ? undefined : launcherOf(owner.identity, directory);
  // One that was only stopped ends by itself when it goes on, its containers being gone; one that is not believed does not.
  if (launcher !== undefined && (removed === 0 || owner.identity.uid !== process.geteuid?.()))
    await endProcesses(owner.identity, [launcher]);
  for (const base of runBasesOf(config, owner))
    collectDirectories(owner.identity, base, (path, error) => {
      throw new GangwayError(`${path} cannot be removed: ${systemReasonOf(error)}`, { cause: error });
    });
}
