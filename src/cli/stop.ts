import { constants } from "node:os";
import { Command } from "commander";
import { GangwayError, reasonOf, UsageError } from "../config/errors.ts";
import type { Config } from "../config/load.ts";
import type { Engine } from "../engine/types.ts";
import { collectDirectories } from "../job/collect.ts";
import { launcherSocketOf } from "../job/directory.ts";
import { directoryOfJob, findJob, type JobSummary } from "../job/jobs.ts";
import { askLauncher, SilentLauncherError } from "../job/owner-client.ts";
import type { OwnerRequest } from "../job/owner-protocol.ts";
import {
  addSettings,
  configure,
  givenSettings,
  type Owner,
  ownerOf,
  runBasesOf,
  visibleUid,
  withEngine,
} from "./context.ts";
import { printable } from "./table.ts";

type StopRequest = Extract<OwnerRequest, { op: "stop" }>;

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
  await withEngine(config, async (engine) => {
    // Each of them is known before the first one ends: a slip of the pen ends nothing.
    const jobs = [];
    for (const id of new Set(ids)) jobs.push(await findJob(engine, visibleUid(options.user), id));
    await Promise.all(jobs.map((job) => end(job, request, engine, config)));
  });
}

async function end(job: JobSummary, request: StopRequest, engine: Engine, config: Config): Promise<void> {
  const owner = ownerOf(String(job.uid) === String(process.getuid?.()) ? undefined : String(job.uid));
  const socket = job.orphaned ? undefined : launcherSocketOf({ directory: directoryOfJob(job) });
  if (socket !== undefined && (await endedByLauncher(socket, request, owner))) return;
  // No launcher that does it: what is there is only left over.
  for (const node of job.nodes) await engine.remove(node.container);
  for (const base of runBasesOf(config, owner))
    collectDirectories(owner.identity, base, (path, error) => {
      throw new GangwayError(`${path} cannot be removed: ${reasonOf(error)}`, { cause: error });
    });
}

/** Whether the launcher ended the job. One that was stopped (SIGSTOP) has its containers removed: a job ends all the same. */
async function endedByLauncher(socket: string, request: StopRequest, { identity }: Owner): Promise<boolean> {
  try {
    return (await askLauncher(socket, request, identity)) !== undefined;
  } catch (error) {
    if (!(error instanceof SilentLauncherError)) throw error;
    process.stderr.write(`gangway: ${printable(error.message)}: its containers are removed\n`);
    return false;
  }
}
