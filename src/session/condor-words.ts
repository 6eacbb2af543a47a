import { UsageError } from "../config/errors.ts";
import { splitWords } from "./client-words.ts";
import { type Client, parseClient } from "./clients.ts";
import type { CondorId, CondorPlace } from "./htcondor-queue.ts";

/** Exit status of a wrong command line, as condor_ssh_to_job has it. */
export const CONDOR_USAGE = 2;

/** A job, and the node of it where the universe is parallel. */
export interface CondorTarget extends CondorId {
  readonly node: number | undefined;
}

/** The words of condor_ssh_to_job, taken apart. */
export interface CondorWords {
  readonly help: boolean;
  /** Of -debug[:FLAGS]; the flags may be empty. */
  readonly debug?: string;
  readonly place: CondorPlace;
  /** Undefined: ssh. */
  readonly client?: Client;
  /** Of -shells, in order. */
  readonly shells: readonly string[];
  readonly autoRetry: boolean;
  readonly removeOnInterrupt: boolean;
  readonly x11: boolean;
  /** Of -l, which rsync adds for USER@JOB; HTCondor's own does not know it. */
  readonly login?: string;
  /** Undefined only with help. */
  readonly target?: CondorTarget;
  /** What stands behind the job. */
  readonly rest: readonly string[];
}

/** In HTCondor's order: of two that begin alike the first one is meant by their common beginning. */
const OPTIONS = [
  "-help",
  "-debug",
  "-name",
  "-pool",
  "-ssh",
  "-keygen-options",
  "-shells",
  "-auto-retry",
  "-remove-on-interrupt",
] as const;
type Option = (typeof OPTIONS)[number];

const VALUED: ReadonlySet<Option> = new Set(["-name", "-pool", "-ssh", "-keygen-options", "-shells"]);

/** A shell's path in the container: nothing in it parts the list, or ends a line. */
const SHELL_PATH = /^\/[^,\p{Cc}]{1,4000}$/u;

class Draft {
  help = false;
  debug: string | undefined;
  schedd: string | undefined;
  pool: string | undefined;
  client: Client | undefined;
  shells: readonly string[] = [];
  autoRetry = false;
  removeOnInterrupt = false;
  x11 = false;
  login: string | undefined;
}

/**
 * Reads `[OPTION…] CLUSTER[.PROC[.NODE]] [WORD…]`. An option may be written by its beginning; of -X and -x the last one counts;
 * `--` ends the options; everything behind the job belongs to the client program.
 *
 * @throws UsageError with HTCondor's words and its exit status, 2
 */
export function parseCondorWords(words: readonly string[]): CondorWords {
  const draft = new Draft();
  let at = 0;
  for (; at < words.length; at++) {
    const word = words[at] ?? "";
    if (!word.startsWith("-")) break;
    if (word === "--") {
      at += 1;
      break;
    }
    at += readOption(draft, word, words[at + 1]);
    if (draft.help) break;
  }
  const { help, debug, schedd, pool, client, shells, autoRetry, removeOnInterrupt, x11, login } = draft;
  const id = words[at];
  if (!help && id === undefined) throw wrong("ERROR: You must specify a job!", "such as: condor_ssh_to_job 32.0");
  return {
    help,
    ...(debug === undefined ? {} : { debug }),
    place: { schedd, pool },
    ...(client === undefined ? {} : { client }),
    shells,
    autoRetry,
    removeOnInterrupt,
    x11,
    ...(login === undefined ? {} : { login }),
    ...(help || id === undefined ? {} : { target: parseCondorTarget(id) }),
    rest: words.slice(at + 1),
  };
}

/** @returns how many words behind it are its argument */
function readOption(draft: Draft, word: string, next: string | undefined): 0 | 1 {
  if (word === "-X" || word === "-x") {
    draft.x11 = word === "-X";
    return 0;
  }
  if (word === "-l" && next !== undefined) {
    draft.login = next;
    return 1;
  }
  const colon = word.indexOf(":");
  const name = colon === -1 ? word : word.slice(0, colon);
  const option = name.length > 1 ? OPTIONS.find((known) => known.startsWith(name)) : undefined;
  if (option === undefined || (colon !== -1 && option !== "-debug")) {
    throw wrong(`Unrecognized argument: ${word}`, "see `condor_ssh_to_job -help`");
  }
  if (!VALUED.has(option)) {
    if (option === "-help") draft.help = true;
    else if (option === "-debug") draft.debug = colon === -1 ? "" : word.slice(colon + 1);
    else if (option === "-auto-retry") draft.autoRetry = true;
    else draft.removeOnInterrupt = true;
    return 0;
  }
  if (next === undefined) throw wrong(`${word} requires an argument`, "see `condor_ssh_to_job -help`");
  if (option === "-name") draft.schedd = daemonName(word, next);
  else if (option === "-pool") draft.pool = daemonName(word, next);
  else if (option === "-ssh") draft.client = asCondor(() => parseClient(next, word, "htcondor"));
  else if (option === "-shells") draft.shells = parseShells(next);
  else checkKeygen(asCondor(() => splitWords(next, word, "htcondor")));
  return 1;
}

/** HTCondor's programs are given it as a word of their own: it must not be an option there. */
function daemonName(option: string, name: string): string {
  if (/^[^\p{Cc}\s-][^\p{Cc}\s]{0,500}$/u.test(name)) return name;
  throw wrong(
    `${option} ${JSON.stringify(name)}: this is no daemon's name`,
    "such as submit.example.org, or name@host",
  );
}

function parseShells(text: string): string[] {
  const shells = text.split(",").map((shell) => shell.trim());
  const bad = shells.find((shell) => !SHELL_PATH.test(shell));
  if (bad === undefined) return shells;
  throw wrong(
    `-shells ${JSON.stringify(text)}: ${JSON.stringify(bad)} is no absolute path`,
    "such as -shells /bin/zsh,/bin/bash",
  );
}

/**
 * What ssh-keygen would be told for a session's key. Ours are ed25519, made where they are used, and the job's sshd takes no
 * others: `-t ed25519` says what is so, and `-b` means nothing for it, as for ssh-keygen.
 */
function checkKeygen(words: readonly string[]): void {
  for (let at = 0; at < words.length; at += 2) {
    const [option = "", value] = words.slice(at, at + 2);
    if (option === "-t" && value === "ed25519") continue;
    if (option === "-b" && value !== undefined && /^\d{1,6}$/.test(value)) continue;
    throw wrong(
      `-keygen-options: ${[option, value].join(" ").trim()} cannot be done`,
      "a session's key is of type ed25519 (-t ed25519), the only type that a job's sshd takes; leave the option out",
    );
  }
}

/**
 * Reads `CLUSTER[.PROC[.NODE]]`; the process is 0 where none is said.
 *
 * @throws UsageError (exit status 2)
 */
export function parseCondorTarget(text: string): CondorTarget {
  const match = /^(\d{1,10})(?:\.(\d{1,10})(?:\.(\d{1,7}))?)?$/.exec(text);
  if (match === null) throw wrong(`Invalid job id: ${text}`, "write CLUSTER, CLUSTER.PROC or CLUSTER.PROC.NODE");
  const [, cluster, proc = "0", node] = match;
  return { cluster: Number(cluster), proc: Number(proc), node: node === undefined ? undefined : Number(node) };
}

function asCondor<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(error.message, {
      ...(error.hint === undefined ? {} : { hint: error.hint.replace("gangway ssh", "condor_ssh_to_job") }),
      exitCode: CONDOR_USAGE,
    });
  }
}

function wrong(message: string, hint: string): UsageError {
  return new UsageError(message, { hint, exitCode: CONDOR_USAGE });
}
