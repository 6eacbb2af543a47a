import { Command } from "commander";
import { type GangwayError, JobError, STATUS, UsageError } from "../config/errors.ts";
import type { Config } from "../config/load.ts";
import { directoryOfJob, findJob, listJobs, nodeNamed } from "../job/jobs.ts";
import { resolveJob } from "../session/resolve.ts";
import { runSession } from "../session/ssh-client.ts";
import { parseTarget } from "../session/target.ts";
import { addSettings, configure, givenSettings, ownerOf, udiImageOf, visibleUid, withEngine } from "./context.ts";
import { seekerOf } from "./reach.ts";

export function command(): Command {
  const shell = new Command("gangway shell")
    .description("A shell or a command in a running job's container: the same instance, its environment and directory.")
    .usage("[OPTION…] [JOB[.NODE]] [-- COMMAND [ARGUMENT…]]")
    .argument("[words...]", "the job (only needed when several run) and, behind --, the command")
    .option("-u, --user <USER>", "whose job it is (root only)")
    .option("-t, --tty", "a terminal for the command")
    .option("-T, --no-tty", "no terminal");
  addSettings(shell, ["engine", "udiImagePath"]);
  return shell.action(async (_words: string[], _options: unknown, self: Command) => {
    process.exitCode = await enter(self);
  });
}

/** Commander drops `--`; what stands before it is the job, what stands behind is the command. */
function splitWords(self: Command): { target: string | undefined; command: string[] } {
  const separator = process.argv.indexOf("--");
  const command = separator === -1 ? [] : process.argv.slice(separator + 1);
  const before = self.args.slice(0, self.args.length - command.length);
  if (before.length > 1) {
    throw new JobError(`"${before.slice(1).join(" ")}": a command stands behind --`, {
      hint: `gangway shell ${before[0]} -- ${before.slice(1).join(" ")}`,
      exitCode: STATUS.usage,
    });
  }
  return { target: before[0], command };
}

async function enter(self: Command): Promise<number> {
  const options = self.opts<{ user?: string; tty?: boolean }>();
  const { target, command } = splitWords(self);
  const config = await configure(givenSettings(self));
  const uid = visibleUid(options.user);
  const { directory, host, jobUid } = await explained(config, options.user, target, () => find(config, uid, target));
  const terminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
  const tty = self.getOptionValueSource("tty") === "cli" ? options.tty === true : terminal;
  const own = jobUid === process.getuid?.();
  const user = own ? undefined : ownerOf(String(jobUid)).account;
  const request = { directory, host, udiImage: udiImageOf(config), command, tty };
  return await runSession(user === undefined ? request : { ...request, user });
}

interface Entrance {
  readonly directory: string;
  /** The name that the kit has for the node. */
  readonly host: string;
  readonly jobUid: number;
}

async function find(config: Config, uid: number | undefined, target: string | undefined): Promise<Entrance> {
  return await withEngine(config, async (engine) => {
    const jobs = await listJobs(engine, uid);
    const wanted = parseTarget(
      target,
      jobs.map((job) => job.job),
    );
    const job = await findJob(engine, uid, wanted.job);
    const host = `${nodeNamed(job, wanted.node).name}.${job.job}.job`;
    return { directory: directoryOfJob(job), host, jobUid: job.uid };
  });
}

/**
 * Where there is no such job on the engine, the reason and the exit status are those of `gangway ssh`: ended, somebody
 * else's, not there.
 */
async function explained(
  config: Config,
  user: string | undefined,
  target: string | undefined,
  work: () => Promise<Entrance>,
): Promise<Entrance> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof UsageError) throw new UsageError(error.message, { ...hintOf(error), exitCode: STATUS.usage });
    const asked = error instanceof JobError && target !== undefined && visibleUid(user) !== undefined;
    if (asked) await resolveJob(seekerOf(config, ownerOf(user)), target);
    throw error;
  }
}

function hintOf({ hint }: GangwayError): { hint?: string } {
  return hint === undefined ? {} : { hint };
}
