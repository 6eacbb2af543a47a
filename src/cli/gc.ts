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
      for (const user of await usersOf(engine, options.user)) await clear(engine, config, user);
    });
  });
}

/** As `--user` takes them; undefined: the caller. */
async function usersOf(engine: Engine, user: string | undefined): Promise<(string | undefined)[]> {
  if (user !== undefined || process.getuid?.() !== 0) return [user];
  return (await usersWithRemains(engine, usualRunBases())).map(String);
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

/** One user's mistakes, or traps, must not keep root from clearing what the others left: each step is by itself. */
async function clear(engine: Engine, config: Config, user: string | undefined): Promise<void> {
  const whose = user === undefined || process.getuid?.() !== 0 ? "" : `of user ${user}: `;
  const fail = (error: unknown) => {
    process.stderr.write(`gangway: not cleared: ${whose}${printable(reasonOf(error))}\n`);
    process.exitCode = 1;
  };
  const attempt = async (step: () => void | Promise<void>) => {
    try {
      await step();
    } catch (error) {
      fail(error);
    }
  };
  await attempt(async () => {
    const owner = ownerOf(user);
    await attempt(async () => {
      for (const job of await collectContainers(engine, owner.account.uid))
        print(`removed the containers of job ${printable(job)}\n`);
    });
    for (const base of runBasesOf(config, owner)) await attempt(() => clearBase(owner, base, fail));
    await attempt(() => {
      for (const job of collectIndex(owner.identity, owner.account.home))
        print(`forgot job ${job} in ~/.gangway/ssh\n`);
    });
  });
}

function clearBase({ identity }: Owner, base: string, fail: (error: unknown) => void): void {
  const removed = collectDirectories(identity, base, (path, error) =>
    fail(new GangwayError(`${path}: ${reasonOf(error)}`, { cause: error })),
  );
  for (const directory of removed) print(`removed ${printable(directory)}\n`);
}
