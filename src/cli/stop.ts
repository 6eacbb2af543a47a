import { constants } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { UsageError } from "../config/errors.ts";
import { collectDirectories } from "../job/collect.ts";
import { directoryOfJob, findJob } from "../job/jobs.ts";
import { askLauncher } from "../job/owner-socket.ts";
import { addSettings, configure, givenSettings, ownerOf, runBasesOf, visibleUid, withEngine } from "./context.ts";

export function command(): Command {
  const stop = new Command("gangway stop")
    .description("Ends a job: its command gets a signal, and what is left after the grace time is killed.")
    .argument("<job>", "the job's id")
    .option("-u, --user <USER>", "whose job it is (root only)")
    .option("-s, --signal <SIGNAL>", "the signal for the command", "TERM")
    .option("--grace <SECONDS>", "how long the command may take", "10");
  addSettings(stop, ["engine"]);
  return stop.action(async (id: string, _options: unknown, self: Command) => await end(id, self));
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

async function end(id: string, self: Command): Promise<void> {
  const options = self.opts<{ user?: string; signal: string; grace: string }>();
  const signal = signalNumber(options.signal);
  const grace = Number(options.grace);
  if (!(grace >= 0 && grace <= 86_400))
    throw new UsageError(`--grace ${options.grace}: not a number of seconds`, {
      hint: "write digits alone, 86400 at most",
    });
  const config = await configure(givenSettings(self));
  await withEngine(config, async (engine) => {
    const job = await findJob(engine, visibleUid(options.user), id);
    const request = { op: "stop", signal, graceMs: grace * 1000 } as const;
    const socket = job.orphaned ? undefined : join(directoryOfJob(job), "launcher.sock");
    if (socket !== undefined && (await askLauncher(socket, request)) !== undefined) return;
    // No launcher: what is there is only left over.
    const owner = ownerOf(String(job.uid) === String(process.getuid?.()) ? undefined : String(job.uid));
    for (const node of job.nodes) await engine.remove(node.container);
    for (const base of runBasesOf(config, owner)) collectDirectories(owner.identity, base);
  });
}
