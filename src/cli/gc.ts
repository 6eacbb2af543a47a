import { Command } from "commander";
import { collect } from "../job/collect.ts";
import { addSettings, configure, givenSettings, ownerOf, runBasesOf, withEngine } from "./context.ts";
import { print } from "./output.ts";

export function command(): Command {
  const gc = new Command("gangway gc")
    .description("Removes what jobs left whose launcher and watchdog were both killed; also for a manager's epilog.")
    .option("-u, --user <USER>", "whose (root only)");
  addSettings(gc, ["engine", "runDirectory"]);
  return gc.action(async (options: { user?: string }, self: Command) => {
    const config = await configure(givenSettings(self));
    const owner = ownerOf(options.user);
    await withEngine(config, async (engine) => {
      for (const base of runBasesOf(config, owner)) {
        const found = await collect(engine, owner.identity, base);
        for (const job of found.jobs) print(`removed the containers of job ${job}\n`);
        for (const directory of found.directories) print(`removed ${directory}\n`);
      }
    });
  });
}
