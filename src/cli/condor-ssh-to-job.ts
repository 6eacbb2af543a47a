import { GangwayError, STATUS, UsageError } from "../config/errors.ts";
import { printableLines } from "../config/printable.ts";
import { runChild } from "../session/child.ts";
import { enterByCondor, linesOf } from "../session/condor-enter.ts";
import { CONDOR_USAGE, type CondorWords, parseCondorWords } from "../session/condor-words.ts";
import { configure, ownerOf } from "./context.ts";
import { seekerOf } from "./reach.ts";

/** Also what `gangway completion` knows of the options. */
export const help = `Usage: gangway condor_ssh_to_job [OPTION…] CLUSTER[.PROC[.NODE]] [WORD…]

HTCondor's command, into the container of a job that uses Gangway: the same words, messages and exit status, also when this
program is called by that name. An option may be written by its beginning, as -s for -ssh.

  -help                  this
  -debug[:FLAGS]         say what is done; D_FULLDEBUG: more of it
  -name SCHEDD           whose job it is, where several queues have one of that number
  -pool COLLECTOR        where that queue is looked up
  -ssh PROGRAM           another client than ssh: sftp, scp, "scp -r"; any host in its words, such as remote, is the job
  -keygen-options WORDS  as for ssh-keygen; only -t ed25519, which is what is made anyway
  -shells LIST           shells by their paths in the container, parted by commas: the first that is there
  -auto-retry            wait until the job runs
  -remove-on-interrupt   remove the job if a signal ends this
  -X                     show the job's windows on this display
  -x                     do not (the default)
  -l USER                as rsync has it for USER@JOB: the job's own user
  --                     the options end here

Exit status: the client program's (255: ssh failed), 2 wrong usage, 1 anything else.
`;

/** Not commander's: the words are HTCondor's. */
export async function run(given: readonly string[]): Promise<number> {
  try {
    const words = parseCondorWords(given);
    const { target } = words;
    if (words.help || target === undefined) {
      // Where HTCondor's own writes it.
      process.stderr.write(help);
      return 0;
    }
    return await enter({ ...words, target });
  } catch (error) {
    if (!(error instanceof GangwayError)) throw error;
    for (const line of linesOf(error)) tell(line);
    if (error.exitCode === STATUS.notYet) tell("(Use -auto-retry to keep trying periodically.)");
    // Nothing to be said: a signal ended it.
    if (error.message === "") return error.exitCode;
    return error instanceof UsageError ? CONDOR_USAGE : 1;
  }
}

function tell(line: string): void {
  process.stderr.write(`${printableLines(line)}\n`);
}

async function enter(words: CondorWords & Required<Pick<CondorWords, "target">>): Promise<number> {
  const config = await configure({});
  const owner = ownerOf(undefined);
  return await enterByCondor({
    seeker: seekerOf(config, owner),
    words,
    user: owner.account.name,
    runDirectory: config.values.runDirectory,
    rules: config.values.clients,
    tell,
    stop: async (job) => {
      await runChild(process.execPath, [process.argv[1] ?? "", "stop", job]);
    },
  });
}
