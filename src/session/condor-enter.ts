import { GangwayError, JobError, STATUS, UsageError } from "../config/errors.ts";
import type { ClientRule } from "../config/parse-container.ts";
import { jobHost } from "../udi/names.ts";
import { isSsh } from "./clients.ts";
import { removeJob, removingOnInterrupt } from "./condor-interrupt.ts";
import { launchMeant, type Meant, noSuchJob, withoutContainer } from "./condor-place.ts";
import { CONDOR_USAGE, type CondorTarget, type CondorWords } from "./condor-words.ts";
import { runClient } from "./enter.ts";
import { withEntry } from "./entry.ts";
import type { Entry, EntryRequest } from "./entry-request.ts";
import { askQueue, explainQueued, IdleJobError, LeftQueueError } from "./htcondor-queue.ts";
import { parseSshWords, type SshWords } from "./ssh-words.ts";
import { untilItRuns } from "./wait-for-job.ts";

/** The order of shells goes to the session entry by this variable. */
const SHELLS = "_CONDOR_SHELLS";
/** Exit status of what could not be set up, and of a client that a signal killed. */
const FAILED = 1;

export interface CondorRequest extends Pick<EntryRequest, "seeker" | "runDirectory"> {
  readonly words: CondorWords & { readonly target: CondorTarget };
  /** The setting clients. */
  readonly rules: readonly ClientRule[];
  /** The caller's name. */
  readonly user: string;
  /** Says a line to the user. */
  readonly tell: (line: string) => void;
  /** Ends a launch, as `gangway stop` does. */
  readonly stop: (job: string) => Promise<void>;
}

/**
 * Enters a job as condor_ssh_to_job does: its options, messages and exit statuses.
 *
 * @returns the client program's exit status; 1 where a signal killed it
 * @throws GangwayError where it could not be set up: exit status 1, but 2 for a UsageError
 */
export async function enterByCondor(request: CondorRequest): Promise<number> {
  const { words, tell } = request;
  const attempt = async () => await enterOnce(request);
  const work = async () => (words.autoRetry ? await retrying(attempt, tell) : await attempt());
  if (!words.removeOnInterrupt) return await work();
  const { target, place } = words;
  const stop = async () => await request.stop((await launchIn(request)).id);
  const remove = async () => await removeJob(target, place, tell, stop);
  return await removingOnInterrupt(idOf(target), remove, tell, work);
}

async function retrying(attempt: () => Promise<number>, tell: (line: string) => void): Promise<number> {
  let said = false;
  return await untilItRuns(attempt, () => {
    if (!said) tell("Waiting for job to start...");
    said = true;
  });
}

function idOf({ cluster, proc }: CondorTarget): string {
  return `${cluster}.${proc}`;
}

async function launchIn({ seeker, words: { target, place }, user }: CondorRequest): Promise<Meant> {
  return await launchMeant({ seeker, target, place, user });
}

async function enterOnce(request: CondorRequest): Promise<number> {
  const { words, seeker, runDirectory } = request;
  const { target, client } = words;
  const isOther = client !== undefined && !isSsh(client);
  const sshWords = sshWordsOf(words);
  const { id: job, elsewhere } = await launchIn(request);
  try {
    return await withEntry(
      {
        seeker,
        runDirectory,
        // A host name has one reading: `32.0` alone could be node 0 of a job 32 of another manager's.
        target: jobHost(target.node === undefined ? { job } : { job, node: String(target.node) }),
        // A shared home's index may know the job of that number of another queue.
        way: elsewhere ? "condor" : undefined,
        queue: words.place,
        via: sshWords.via,
        login: words.login ?? sshWords.login,
        userConfig: sshWords.configFile,
        // As HTCondor has it: whatever host the user writes, the job is meant.
        placeholders: isOther ? ["*"] : [],
      },
      async (entry) => await enterWith(request, entry, sshWords),
    );
  } catch (error) {
    if (!(error instanceof JobError)) throw error;
    // One that has ended may be of that number's former bearer, or be queued again.
    const { exitCode } = error;
    throw exitCode === STATUS.noSuchJob || exitCode === STATUS.ended ? await explainByQueue(request, error) : error;
  }
}

/** What ssh reads as its options also behind the job's name, as with HTCondor's own, which puts the user's words behind it. */
function sshWordsOf({ client, rest, x11, debug, shells }: CondorWords): SshWords {
  const isOther = client !== undefined && !isSsh(client);
  if (isOther && x11) {
    throw new UsageError(`-X: ${client.name} shows no windows`, { hint: "leave -X out", exitCode: CONDOR_USAGE });
  }
  const theirs = isOther ? { options: [], command: rest } : parseSshWords([...(client?.words ?? []), "job", ...rest]);
  const verbose = debug === undefined ? [] : [debug.includes("FULLDEBUG") ? "-vvv" : "-v"];
  const shellWords = shells.length === 0 ? [] : ["-o", `SendEnv=${SHELLS}`];
  const configFile = client?.configFile;
  return {
    autoRetry: false,
    help: false,
    ...(configFile === undefined ? {} : { configFile }),
    ...theirs,
    ...(client === undefined ? {} : { client }),
    options: [...(x11 ? ["-X"] : []), ...letters(verbose), ...shellWords, ...theirs.options],
  };
}

/** `-vvv` as three words. */
function letters(words: readonly string[]): string[] {
  return words.flatMap((word) => [...word.slice(1)].map((letter) => `-${letter}`));
}

async function enterWith(request: CondorRequest, entry: Entry, sshWords: SshWords): Promise<number> {
  const { shells, debug } = request.words;
  const { tell } = request;
  if (debug !== undefined) tell(`entering ${entry.host} as ${entry.user}, by ${entry.configFile}`);
  const env = { ...(entry.spawning.env ?? process.env), [SHELLS]: shells.join(",") };
  const spawning = shells.length === 0 ? entry.spawning : { ...entry.spawning, env };
  const { code, killed, interrupted } = await runClient({ ...entry, spawning }, sshWords, request.rules);
  if (killed) return FAILED;
  if (code !== 255) return code;
  try {
    const answer = await askQueue(request.words.target, request.words.place);
    const refusal = answer.kind === "job" ? explainQueued(answer.job, request.user) : undefined;
    if (refusal !== undefined) throw refusal;
    await entry.explain(interrupted);
  } catch (error) {
    // The client's own status stays: it did run.
    if (!(error instanceof GangwayError)) throw error;
    for (const line of linesOf(error)) tell(line);
  }
  return code;
}

/** An error as lines for the user, in HTCondor's words where it has some; none where there is nothing to be said. */
export function linesOf(error: GangwayError): string[] {
  const { message, hint } = error;
  if (message === "") return [];
  const more = hint === undefined || error instanceof IdleJobError ? [] : [`  ${hint}`];
  return [message, ...more];
}

/** Nothing of Gangway's runs here by that id: the queue may know why. */
async function explainByQueue({ words, user }: CondorRequest, before: JobError): Promise<JobError> {
  const { target, place } = words;
  if (before instanceof LeftQueueError) return noSuchJob(target, before.message);
  const answer = await askQueue(target, place);
  if (before.exitCode === STATUS.ended && answer.kind !== "job") return before;
  if (answer.kind === "silent") {
    return new JobError(before.message, {
      hint: `${before.hint ?? ""}; HTCondor could not be asked: ${answer.reason}`.replace(/^; /, ""),
      exitCode: before.exitCode,
    });
  }
  if (answer.kind === "none") return noSuchJob(target, "condor_q lists yours, and condor_history those that ended");
  const refusal = explainQueued(answer.job, user);
  if (refusal !== undefined) return refusal;
  return withoutContainer(answer.job);
}
