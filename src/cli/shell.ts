import { Command } from "commander";
import { JobError, STATUS, UsageError } from "../config/errors.ts";
import { callerIdentity } from "../config/identity.ts";
import type { Config } from "../config/load.ts";
import { surroundingsOf } from "../job/allocate.ts";
import { withoutOtherQueues } from "../job/manager-jobs.ts";
import { surroundingLaunch } from "../job/surrounding.ts";
import { enterJob } from "../session/enter.ts";
import { shellCommand } from "../session/ssh-client.ts";
import { readingsOf } from "../session/target.ts";
import {
  addSettings,
  configure,
  foreignTo,
  givenSettings,
  type Owner,
  ownerOf,
  runBasesOf,
  udiImageOf,
  visibleUid,
} from "./context.ts";
import { jobsHere } from "./jobs-here.ts";
import { seekerOf } from "./reach.ts";

export function command(): Command {
  const shell = new Command("gangway shell")
    .description("A shell or a command in a running job's container: the same instance, its environment and directory.")
    .usage("[OPTION…] [JOB[.NODE]] [-- COMMAND [ARGUMENT…]]")
    .argument(
      "[words...]",
      "the job (not needed within a workload manager's, or when only one runs) and, behind --, the command",
    )
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
    throw new UsageError(`"${before.slice(1).join(" ")}": a command stands behind --`, {
      hint: `gangway shell ${before[0]} -- ${before.slice(1).join(" ")}`,
    });
  }
  return { target: before[0], command };
}

/** `gangway ssh` with a command whose words arrive as they are, a terminal as here, and the job left out where one runs. */
async function enter(self: Command): Promise<number> {
  const options = self.opts<{ user?: string; tty?: boolean }>();
  const { target, command } = splitWords(self);
  const config = await configure(givenSettings(self));
  const { owner, job } = await whichJob(config, options.user, target);
  const terminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
  const tty = self.getOptionValueSource("tty") === "cli" ? options.tty === true : terminal;
  const words = shellCommand(command);
  return await enterJob({
    seeker: seekerOf(config, owner),
    words: {
      // A session is quiet but for errors: ssh would tell with -t that the connection is closed.
      options: ["-o", "LogLevel=ERROR", ...(tty ? ["-t"] : command.length > 0 ? ["-T"] : [])],
      command: words === "" ? [] : [words],
      autoRetry: false,
      help: false,
    },
    target: job,
    way: undefined,
    runDirectory: config.values.runDirectory,
    ...foreignTo(owner, () => udiImageOf(config)),
  });
}

/** Root need not say whose job it is, and nobody which, where only one is meant. */
async function whichJob(config: Config, user: string | undefined, target: string | undefined) {
  const uid = visibleUid(user);
  if (uid !== undefined && target !== undefined) return { owner: ownerOf(user), job: target };
  // A launcher may be on a host without nodes of its job, and a runtime's jobs are known by their launchers alone.
  const jobs = await jobsHere(config, user);
  if (target !== undefined) return { owner: ownerOfJob(jobs, target), job: target };
  const found = jobs.filter(({ orphaned }) => !orphaned);
  const own = uid === undefined ? undefined : ownerOf(user);
  const ids = found.map(({ job }) => job);
  const around = own && launchAround(config, own, ids);
  if (own !== undefined && around !== undefined) return { owner: own, job: around };
  const [only, another] = found;
  if (only === undefined) {
    throw new JobError("no job of yours is running on this host", {
      hint: "start one with `gangway run`",
      exitCode: STATUS.noSuchJob,
    });
  }
  if (another !== undefined) {
    throw new JobError(`several jobs are running: ${found.map(({ job }) => job).join(", ")}`, {
      hint: "say which",
      exitCode: STATUS.several,
    });
  }
  return { owner: own ?? ownerOf(String(only.uid)), job: only.job };
}

/** The launch of the workload manager's job in which this is called. */
function launchAround(config: Config, owner: Owner, ids: readonly string[]): string | undefined {
  const surroundings = surroundingsOf(callerIdentity());
  const near = withoutOtherQueues(owner.identity, runBasesOf(config, owner), ids, surroundings);
  return surroundingLaunch(config.values.wlm, surroundings, near);
}

/** @returns root itself where nobody has it: then it is said that there is none */
function ownerOfJob(jobs: readonly { job: string; uid: number; user: string }[], target: string): Owner {
  const ids = readingsOf(target).map(({ job }) => job);
  const fitting = jobs.filter(({ job }) => ids.includes(job));
  const exact = fitting.filter(({ job }) => job === target);
  const owners = new Map((exact.length > 0 ? exact : fitting).map(({ uid, user }) => [uid, user]));
  if (owners.size > 1) {
    throw new JobError(`several users have a job "${target}": ${[...owners.values()].join(", ")}`, {
      hint: "say whose: --user USER",
      exitCode: STATUS.several,
    });
  }
  const [uid] = owners.keys();
  return ownerOf(uid === undefined ? undefined : String(uid));
}
