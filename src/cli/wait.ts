import { join } from "node:path";
import { Command } from "commander";
import { JobError } from "../config/errors.ts";
import { launcherSocketOf } from "../job/directory.ts";
import { readEnd } from "../job/ended.ts";
import { askLauncher } from "../job/owner-client.ts";
import { checkJobId } from "../udi/names.ts";
import { configure, type Owner, ownerOf, runBasesOf, stateOf } from "./context.ts";

export function command(): Command {
  return new Command("gangway wait")
    .description("Waits for a detached job's end, and ends with its exit code.")
    .argument("<job>", "the job's id")
    .option("-u, --user <USER>", "whose job it is (root only)")
    .action(async (id: string, options: { user?: string }) => {
      checkJobId(id);
      process.exitCode = await waitFor(id, ownerOf(options.user));
    });
}

async function waitFor(id: string, owner: Owner): Promise<number> {
  const config = await configure({});
  for (const base of runBasesOf(config, owner)) {
    const exitCode = await askLauncher(launcherSocketOf({ directory: join(base, id) }), { op: "wait" }, owner.identity);
    if (exitCode !== undefined) return exitCode;
  }
  const ended = readEnd(stateOf(config, owner), id, owner.identity);
  if (ended === undefined)
    throw new JobError(`no job "${id}" is running on this host, nor did a detached one of that name end here lately`, {
      hint: "`gangway ps` lists the running jobs; one that was launched on another host is waited for there",
    });
  return ended.exitCode;
}
