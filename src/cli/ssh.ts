import { STATUS, UsageError } from "../config/errors.ts";
import { flagsFrom } from "../config/flags.ts";
import { printable } from "../config/printable.ts";
import { runChild } from "../session/child.ts";
import { type EnterRequest, enterJob } from "../session/enter.ts";
import { jobsInReach } from "../session/resolve.ts";
import { sshProgram } from "../session/ssh-client.ts";
import { parseSshWords, type SshWords } from "../session/ssh-words.ts";
import { untilItRuns } from "../session/wait-for-job.ts";
import { parseWay } from "../session/ways.ts";
import { configure, foreignTo, ownerOf, udiImageOf } from "./context.ts";
import { print } from "./output.ts";
import { seekerOf } from "./reach.ts";

/** Also what `gangway completion` knows of the options. */
export const help = `Usage: gangway ssh [SSH OPTION…] [OPTION…] JOB [COMMAND…]

Plain ssh into a running job's container: ssh's own options, words and exit status. JOB is JOB, JOB.NODE or
[NODE.]JOB.job. Your ~/.ssh/config is not read: -F ~/.ssh/config has it read behind the job's own.

  --ssh PROGRAM    another client than ssh: sftp, scp, 'scp -r', sshfs; \`remote\` in its words, which stand behind JOB, is the job
  --auto-retry     wait until the job runs
  --connect WAY    socket, tcp, ssh, srun or condor; without it the first that is possible
  --via HOST       the job runs on HOST, or where gangway on HOST reaches it: go there by ssh
  --user USER      whose job it is (root only)
  --engine ENGINE  the engine that is asked when a job is not found
  --help           this

Exit status: ssh's (255: ssh failed), or 64 wrong usage, 65 several jobs fit, 68 no such job, 69 it has ended,
75 it does not run yet, 76 its node cannot be reached, 77 it is somebody else's.
`;

/** Not commander's: the words are ssh's, and only ssh's own rules take them apart rightly. */
export async function run(words: readonly string[]): Promise<number> {
  const parsed = parseSshWords(words);
  if (parsed.help) {
    print(help);
    return 0;
  }
  const { target } = parsed;
  if (target === undefined) return await withoutJob(parsed);
  const request = await requestOf(parsed, target);
  const attempt = () => enterJob(request);
  if (!parsed.autoRetry) return await attempt();
  return await untilItRuns(attempt, (line) => process.stderr.write(`gangway: ${printable(line)}\n`));
}

async function requestOf(words: SshWords, target: string): Promise<EnterRequest> {
  const way = parseWay(words.connect);
  const config = await configure(flagsFrom(words.engine === undefined ? {} : { engine: words.engine }));
  const owner = ownerOf(words.user);
  return {
    seeker: seekerOf(config, owner),
    words,
    target,
    way,
    runDirectory: config.values.runDirectory,
    rules: config.values.clients,
    retried: words.autoRetry,
    ...foreignTo(owner, () => udiImageOf(config)),
  };
}

/** ssh itself needs no host to say its version, or what it can. */
async function withoutJob({ options, user }: SshWords): Promise<number> {
  if (options.includes("-V") || options.includes("-Q")) return (await runChild(sshProgram(undefined), options)).code;
  const jobs = jobsInReach(seekerOf(await configure({}), ownerOf(user)));
  const running = jobs.length === 0 ? "none of yours runs on this host" : `yours: ${jobs.join(", ")}`;
  throw new UsageError("which job?", {
    hint: `gangway ssh [SSH OPTION…] JOB [COMMAND…]; ${running}`,
    exitCode: STATUS.usage,
  });
}
