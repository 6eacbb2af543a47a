import { readdirSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { GangwayError, reasonOf } from "../config/errors.ts";
import type { Config } from "../config/load.ts";
import type { Engine } from "../engine/types.ts";
import { collectContainers, collectDirectories, usersWithRemains } from "../job/collect.ts";
import { collectIndex } from "../job/index-entry.ts";
import { addSettings, configure, givenSettings, type Owner, ownerOf, runBasesOf, withEngine } from "./context.ts";
import { print } from "./output.ts";
import { printable } from "./table.ts";

export function command(): Command {
  const gc = new Command("gangway gc")
    .description(
      "Removes what jobs left whose launcher and watchdog were both killed: yours; for root, everybody's (for a manager's epilog).",
    )
    .option("-u, --user <USER>", "whose (root only)");
  addSettings(gc, ["engine", "runDirectory"]);
  return gc.action(async (options: { user?: string }, self: Command) => {
    const config = await configure(givenSettings(self));
    await withEngine(config, async (engine) => {
      if (options.user !== undefined || process.getuid?.() !== 0) await clearOne(engine, config, ownerOf(options.user));
      else await clearAll(engine, config);
    });
  });
}

/** What could not be cleared is said as any failure is, once all else is done. */
async function clearOne(engine: Engine, config: Config, owner: Owner): Promise<void> {
  const failures: unknown[] = [];
  await clear(engine, config, owner, (error) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}

/** One user's mistakes, or traps, must not keep root from clearing what the others left: a line for each. */
async function clearAll(engine: Engine, config: Config): Promise<void> {
  for (const uid of await usersWithRemains(engine, usualRunBases())) {
    const fail = (error: unknown) => {
      process.stderr.write(`gangway: not cleared: of user ${uid}: ${printable(reasonOf(error))}\n`);
      process.exitCode = 1;
    };
    try {
      await clear(engine, config, ownerOf(String(uid)), fail);
    } catch (error) {
      // No account has that number.
      fail(error);
    }
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
    ...inside("/dev/shm", (name) => join("/dev/shm", name)).filter((path) => /\/gangway-\d+$/.test(path)),
  ];
}

/** Each step is by itself: one that fails keeps no other from being done. */
async function clear(engine: Engine, config: Config, owner: Owner, fail: (error: unknown) => void): Promise<void> {
  const attempt = async (step: () => void | Promise<void>) => {
    try {
      await step();
    } catch (error) {
      fail(error);
    }
  };
  await attempt(async () => {
    for (const job of await collectContainers(engine, owner.account.uid))
      print(`removed the containers of job ${printable(job)}\n`);
  });
  for (const base of runBasesOf(config, owner)) await attempt(() => clearBase(owner, base, fail));
  await attempt(() => {
    for (const job of collectIndex(owner.identity, owner.account.home)) print(`forgot job ${job} in ~/.gangway/ssh\n`);
  });
}

function clearBase({ identity }: Owner, base: string, fail: (error: unknown) => void): void {
  const removed = collectDirectories(identity, base, (path, error) =>
    fail(new GangwayError(`${path}: ${reasonOf(error)}`, { cause: error })),
  );
  for (const directory of removed) print(`removed ${printable(directory)}\n`);
}
