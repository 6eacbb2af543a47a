import { readdirSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import type { Config } from "../config/load.ts";
import type { Engine } from "../engine/types.ts";
import { collectContainers, collectDirectories, usersWithRemains } from "../job/collect.ts";
import { collectIndex } from "../job/index-entry.ts";
import { addSettings, configure, givenSettings, type Owner, ownerOf, runBasesOf, withEngine } from "./context.ts";
import { print } from "./output.ts";

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
      for (const owner of await ownersOf(engine, options.user)) await clear(engine, config, owner);
    });
  });
}

async function ownersOf(engine: Engine, user: string | undefined): Promise<Owner[]> {
  if (user !== undefined || process.getuid?.() !== 0) return [ownerOf(user)];
  return (await usersWithRemains(engine, usualRunBases())).map((uid) => ownerOf(String(uid)));
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

async function clear(engine: Engine, config: Config, owner: Owner): Promise<void> {
  for (const job of await collectContainers(engine, owner.account.uid)) print(`removed the containers of job ${job}\n`);
  for (const base of runBasesOf(config, owner)) {
    for (const directory of collectDirectories(owner.identity, base)) print(`removed ${directory}\n`);
  }
  for (const job of collectIndex(owner.identity, owner.account.home)) print(`forgot job ${job} in ~/.gangway/ssh\n`);
}
