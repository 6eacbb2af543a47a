import { dirname, join } from "node:path";
import { Command } from "commander";
import { JobError } from "../config/errors.ts";
import { directoryOfJob, findJob, listJobs, nodeNamed } from "../job/jobs.ts";
import { runningLocalJob } from "../job/local-jobs.ts";
import { FOREIGN_SPAWN, withForeignKit } from "../session/foreign-kit.ts";
import { runSession } from "../session/ssh-client.ts";
import { parseTarget } from "../session/target.ts";
import {
  addSettings,
  configure,
  foreignTo,
  givenSettings,
  ownerOf,
  udiImageOf,
  visibleUid,
  withEngine,
} from "./context.ts";

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
    });
  }
  return { target: before[0], command };
}

async function enter(self: Command): Promise<number> {
  const options = self.opts<{ user?: string; tty?: boolean }>();
  const { target, command } = splitWords(self);
  const config = await configure(givenSettings(self));
  const uid = visibleUid(options.user);
  const { directory, job, node, jobUid } = await withEngine(config, async (engine) => {
    const jobs = await listJobs(engine, uid);
    const wanted = parseTarget(
      target,
      jobs.map((job) => job.job),
    );
    const found = await findJob(engine, uid, wanted.job);
    const { name } = nodeNamed(found, wanted.node);
    return { directory: directoryOfJob(found), job: found.job, node: name, jobUid: found.uid };
  });
  const terminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
  const tty = self.getOptionValueSource("tty") === "cli" ? options.tty === true : terminal;
  const udiImage = udiImageOf(config);
  const request = { host: `${node}.${job}.job`, udiImage, command, tty };
  const owner = ownerOf(String(jobUid));
  const { foreign } = foreignTo(owner, () => udiImage);
  if (foreign === undefined) return await runSession({ ...request, config: join(directory, "kit/ssh_config") });
  const local = runningLocalJob(owner.identity, [dirname(directory)], job);
  if (local === undefined) throw new JobError(`the private directory of job ${job} is gone`);
  return await withForeignKit(foreign, local, (kit) => runSession({ ...request, config: kit }, FOREIGN_SPAWN));
}
