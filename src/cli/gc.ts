import { readdirSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { isPerUser } from "../config/engine-rule.ts";
import { GangwayError, JobError, reasonOf } from "../config/errors.ts";
import type { Config } from "../config/load.ts";
import { findTemporaryBases } from "../config/paths.ts";
import { printable } from "../config/printable.ts";
import type { Engine } from "../engine/types.ts";
import { collectBeside, collectContainers, collectDirectories, ownersOf, usersWithContainers } from "../job/collect.ts";
import { endProcesses } from "../job/end-processes.ts";
import { collectIndex, foreignEntries } from "../job/index-entry.ts";
import { inLanes } from "../job/lanes.ts";
import { jobsLaunchedIn, type LiveJob } from "../job/manager-jobs.ts";
import { checkJobId } from "../udi/names.ts";
import { addSettings, configure, givenSettings, type Owner, ownerOf, runBasesOf, withEngine } from "./context.ts";
import { endedByLauncher } from "./end-job.ts";
import { print } from "./output.ts";

/** What a launcher is asked when its manager's job is over: the command has had the manager's own time to end. */
const OVER = { op: "stop", signal: 15, graceMs: 2000 } as const;

/**
 * How many jobs there are, what stands behind their sockets and who listens as the user's engine is that user's word, and root
 * waits for it: so many launchers are asked side by side, and no more of them after so long; then they are killed unasked.
 */
const ASKED_AT_ONCE = 16;
const ASKING_MS = 20_000;
/** For all that is asked of an engine that is another user's own. */
const ENGINE_MS = 10_000;

type Fail = (error: unknown) => void;

export function command(): Command {
  const gc = new Command("gangway gc")
    .description(
      "Removes what jobs left whose launcher and watchdog were both killed: yours; for root, everybody's (for a manager's epilog).",
    )
    .option("-u, --user <USER>", "whose (root only)")
    .option(
      "-j, --job <ID>",
      "a workload manager's job that is over: what was launched in it and still runs here is ended first",
    );
  addSettings(gc, ["engine", "runDirectory"]);
  return gc.action(async (options: { user?: string; job?: string }, self: Command) => {
    const config = await configure(givenSettings(self));
    const over = options.job === undefined ? undefined : checkJobId(options.job);
    if (options.user !== undefined || process.getuid?.() !== 0) await clearOne(config, options.user, over);
    else await clearAll(config, over);
  });
}

/** What could not be cleared is said as any failure is, once all else is done. */
async function clearOne(config: Config, user: string | undefined, over: string | undefined): Promise<void> {
  const failures: unknown[] = [];
  await clear(config, ownerOf(user), over, (error) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}

/** One user's mistakes, or traps, must not keep root from clearing what the others left: a line for each. */
async function clearAll(config: Config, over: string | undefined): Promise<void> {
  const failIn = (whose: string) => (error: unknown) => {
    process.stderr.write(`gangway: not cleared${whose}: ${printable(reasonOf(error))}\n`);
    process.exitCode = 1;
  };
  for (const uid of await usersWithRemains(config, failIn(""))) {
    const fail = failIn(`: of user ${uid}`);
    try {
      await clear(config, ownerOf(String(uid)), over, fail);
    } catch (error) {
      // No account has that number.
      fail(error);
    }
  }
}

/** The users who have, or had, jobs on this machine. Where each has an engine of their own, those with run directories. */
async function usersWithRemains(config: Config, fail: Fail): Promise<number[]> {
  const owners = ownersOf(usualRunBases());
  const rule = config.values.engine;
  if (rule !== undefined && isPerUser(rule)) return owners;
  try {
    return [...new Set([...(await withEngine(config, undefined, usersWithContainers)), ...owners])];
  } catch (error) {
    fail(error);
    return owners;
  }
}

/** Where users' run directories usually are, for root who looks for all of them. */
function usualRunBases(): string[] {
  const inside = (directory: string, of: (name: string) => string) => {
    try {
      return readdirSync(directory).map(of);
    } catch {
      return [];
    }
  };
  return [
    ...inside("/run/user", (uid) => join("/run/user", uid, "gangway")),
    ...["/dev/shm", "/tmp"].flatMap((place) =>
      inside(place, (name) => join(place, name)).filter((path) => /\/gangway-\d+$/.test(path)),
    ),
  ];
}

/** Each step is by itself: one that fails keeps no other from being done. */
async function clear(config: Config, owner: Owner, over: string | undefined, fail: Fail): Promise<void> {
  const attempt = async (step: () => void | Promise<void>) => {
    try {
      await step();
    } catch (error) {
      fail(error);
    }
  };
  const bases = runBasesOf(config, owner);
  if (over !== undefined) {
    const live = jobsLaunchedIn(owner.identity, bases, over, () =>
      fail(new GangwayError(`the run directories of uid ${owner.account.uid} are too many to be looked at in time`)),
    );
    await attempt(() => endLive(live, owner, fail));
  }
  await attempt(() =>
    withEngine(config, String(owner.account.uid), (engine) => clearContainers(engine, owner), ENGINE_MS),
  );
  for (const base of new Set([...bases, ...findTemporaryBases(owner.places)]))
    await attempt(() => clearBase(owner, base, fail));
  await attempt(() => {
    for (const job of collectIndex(owner.identity, owner.account.home)) print(`forgot job ${job} in ~/.gangway/ssh\n`);
    tellForeign(owner);
  });
}

/** Whether their launchers live nobody here knows; of a host that is gone for good, nobody anywhere. For root this is no news. */
function tellForeign({ identity, account }: Owner): void {
  if (account.uid !== process.getuid?.()) return;
  for (const { job, host } of foreignEntries(identity, account.home)) {
    const files = `~/.gangway/ssh/jobs/${job}.*`;
    process.stderr.write(
      `gangway: note: kept job ${job} in ~/.gangway/ssh: whether it runs is known on ${printable(host)} (gangway gc there; if that host is gone for good: rm ${files})\n`,
    );
  }
}

/** By its launcher; where that cannot do it (it does not listen yet, was stopped, or dies of it), by the launcher's death. */
async function endLive(live: readonly LiveJob[], owner: Owner, fail: Fail): Promise<void> {
  const left: LiveJob[] = [];
  const deadline = performance.now() + ASKING_MS;
  await inLanes(ASKED_AT_ONCE, live, async (job) => {
    try {
      if (performance.now() > deadline || !(await endedByLauncher(job.directory, OVER, owner))) left.push(job);
      else print(`ended job ${printable(job.id)}\n`);
    } catch (error) {
      left.push(job);
      if (!(error instanceof JobError)) fail(error);
    }
  });
  await endProcesses(
    owner.identity,
    left.map(({ launcher }) => launcher),
  );
  for (const job of left) print(`ended job ${printable(job.id)}\n`);
}

async function clearContainers(engine: Engine, { account }: Owner): Promise<void> {
  for (const job of await collectContainers(engine, account.uid))
    print(`removed the containers of job ${printable(job)}\n`);
  const beside = await collectBeside(engine);
  const containers = beside === 1 ? "a container" : `${beside} containers`;
  if (beside > 0) print(`removed ${containers} that killed clients of gangway inject left\n`);
}

function clearBase({ identity }: Owner, base: string, fail: Fail): void {
  const removed = collectDirectories(identity, base, (path, error) =>
    fail(new GangwayError(`${path}: ${reasonOf(error)}`, { cause: error })),
  );
  for (const directory of removed) print(`removed ${printable(directory)}\n`);
}
