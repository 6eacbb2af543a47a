import { callerEnvironment } from "../allocation/caller-environment.ts";
import { GangwayError, LAUNCHER_FAILED, UsageError } from "../config/errors.ts";
import type { Config } from "../config/load.ts";
import { printable } from "../config/printable.ts";
import { surroundingsOf } from "../job/allocate.ts";
import { localJobs, type RunningLocalJob } from "../job/local-jobs.ts";
import { withoutOtherQueues } from "../job/manager-jobs.ts";
import { volumeList } from "../job/record.ts";
import { surroundingLaunches } from "../job/surrounding.ts";
import { enterJob } from "../session/enter.ts";
import { findInstance, type Instance, startIn, withStartScript } from "../session/shifter/instance.ts";
import { runWords, type ShifterRequest, shifterRequest, shownWords } from "../session/shifter/request.ts";
import { parseShifterWords } from "../session/shifter/words.ts";
import { parseEnvSetting } from "../udi/environment.ts";
import { configure, type Owner, ownerOf, runBasesOf, withEngine } from "./context.ts";
import { print } from "./output.ts";
import { seekerOf } from "./reach.ts";
import * as gangwayRun from "./run.ts";
import { readEnvFile } from "./run-options.ts";

/** Also what `gangway completion` knows of the options. */
export const help = `Usage: gangway shifter [OPTION…] [--] [COMMAND [ARGUMENT…]]

A command in an image, in Shifter's own words. Within a workload manager's job whose container runs here, with the same
image and the same volumes, that container is entered; else a job is started as by \`gangway run\`. Without a command: a shell.

  -i, --image [TYPE:]NAME       the image: docker:NAME (the usual type), id:ID, custom:NAME
  -V, --volume FROM:TO[:ro]     mount a directory of this host; may be repeated, or parted by ;
  -e, --env NAME=VALUE          set a variable; may be repeated
      --env-file FILE           set the variables in a file
  -E, --clearenv                leave out your own variables
  -w, --workdir[=DIRECTORY]     start there, or in the image's own directory; else here
      --entrypoint[=PROGRAM]    run the image's ENTRYPOINT, or PROGRAM; else neither that nor its CMD
  -m, --module NAME             none, or gpu for all GPUs; there are no others
  -v, --verbose                 say what is done, in the words of \`gangway run\`
  -h, --help                    this

Variables: SHIFTER_IMAGETYPE with SHIFTER_IMAGE, SHIFTER_IMAGEREQUEST, SHIFTER_VOLUME, SHIFTER_MODULE, and each with
SLURM_SPANK_ before it. Exit status: the command's, 127 where it is not found; 1 for all failures before it.
What differs from Shifter is in docs/shifter.md.
`;

/** Shifter's exit status for everything but a command that cannot be executed. */
const FAILED = 1;

/** Not commander's: the words are taken apart as getopt_long(3) does it. */
export async function run(words: readonly string[]): Promise<number> {
  try {
    return await shifter(words);
  } catch (error) {
    if (!(error instanceof GangwayError) || error.exitCode !== LAUNCHER_FAILED) throw error;
    const { message, hint } = error;
    throw new GangwayError(message, { exitCode: FAILED, cause: error, ...(hint === undefined ? {} : { hint }) });
  }
}

async function shifter(words: readonly string[]): Promise<number> {
  const parsed = parseShifterWords(words);
  if (parsed.help) {
    print(help);
    return 0;
  }
  if (process.getuid?.() === 0) {
    throw new UsageError("shifter is not for root", {
      hint: "call it as the user, or start a job for one: gangway run --user USER --image IMAGE -- COMMAND",
    });
  }
  const request = shifterRequest(parsed, process.env);
  const config = await configure({ volumes: request.volumes });
  const owner = ownerOf(undefined);
  const instance = findInstance(request, volumeList(config.values.volumes), launchesAround(config, owner));
  if (instance !== undefined) return await enter(instance, request, config, owner);
  const run = runWords(request);
  tell(request, `as: gangway run ${shownWords(run)}`);
  const command = gangwayRun.command().exitOverride();
  process.exitCode = 0;
  await command.parseAsync(run, { from: "user" });
  return Number(process.exitCode);
}

function tell({ verbose }: ShifterRequest, text: string): void {
  if (verbose) process.stderr.write(`gangway: ${printable(text)}\n`);
}

/** The launches of the workload manager's job in which this is called that run here. */
function launchesAround(config: Config, owner: Owner): RunningLocalJob[] {
  const running = localJobs(owner.identity, runBasesOf(config, owner)).filter((job) => job.state === "running");
  const surroundings = surroundingsOf(owner.identity);
  const all = running.map(({ id }) => id);
  const ids = withoutOtherQueues(owner.identity, runBasesOf(config, owner), all, surroundings);
  const launches = surroundingLaunches(config.values.wlm, surroundings, ids) ?? [];
  return running.filter(({ id }) => launches.includes(id));
}

/** As `gangway shell` does it, with the environment that Shifter would give. */
async function enter(instance: Instance, request: ShifterRequest, config: Config, owner: Owner): Promise<number> {
  const { job, node } = instance;
  const { siteEnv, siteEnvAppend, siteEnvPrepend, siteEnvUnset } = config.values;
  const image = await withEngine(config, undefined, async (engine) => await engine.inspectImage(job.record.image));
  if (image === undefined) {
    throw new GangwayError(`the engine does not have image "${job.record.image}" any more`, {
      hint: `the job runs on; enter it by \`gangway shell ${job.id}\``,
    });
  }
  const { envFile, env } = request;
  const start = startIn(image, {
    request,
    caller: request.clearEnv ? [] : callerEnvironment(process.env),
    own: [
      ...(envFile === undefined ? [] : readEnvFile(envFile)),
      ...env.map((setting) => parseEnvSetting(setting, process.env)),
    ],
    site: { set: siteEnv, append: siteEnvAppend, prepend: siteEnvPrepend, unset: siteEnvUnset },
    callerDirectory: process.cwd(),
  });
  tell(request, `into: ${node.name} of job ${job.id}`);
  const terminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
  return await withStartScript(instance, start, async (command) => {
    return await enterJob({
      seeker: seekerOf(config, owner),
      words: {
        options: ["-o", "LogLevel=ERROR", terminal ? "-t" : "-T"],
        command: [command],
        autoRetry: false,
        help: false,
      },
      target: node.principal,
      way: "socket",
      runDirectory: config.values.runDirectory,
    });
  });
}
