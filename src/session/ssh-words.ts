import { STATUS, UsageError } from "../config/errors.ts";
import { didYouMean } from "../config/suggest.ts";
import { type Client, isSsh, parseClient, takeConfigFile } from "./clients.ts";

/** ssh's options without and with an argument: its getopt string (ssh.c of OpenSSH 10.0). */
const PLAIN = new Set("1246afgknqstvxACGKMNTVXYy");
const WITH_ARGUMENT = new Set("bceilmopBDEFIJLOPQRSwW");

/** Our own, long so that they cannot be taken for ssh's. */
const OWN_PLAIN = ["--auto-retry", "--help"] as const;
const OWN_WITH_ARGUMENT = ["--connect", "--via", "--user", "--engine", "--ssh"] as const;

type OwnPlain = (typeof OWN_PLAIN)[number];
type OwnWithArgument = (typeof OWN_WITH_ARGUMENT)[number];

/** A command whose words are ssh's, too. */
export interface Speaker {
  /** As one types it. */
  readonly command: string;
  /** Options without an argument that it has besides. */
  readonly plain: readonly string[];
}

const SSH: Speaker = { command: "gangway ssh", plain: [] };

/** The words of `gangway ssh`, taken apart as ssh does it. */
export interface SshWords {
  /** ssh's options, each apart from the others, without -F. */
  readonly options: readonly string[];
  /** Of -F. */
  readonly configFile?: string;
  /** The job. Undefined only where ssh needs no host (-V, -Q). */
  readonly target?: string;
  /** As whom, where the job was written as USER@JOB, or -l was given. */
  readonly login?: string;
  /** What stands behind the job: ssh joins it by blanks, another client has it as it is. */
  readonly command: readonly string[];
  /** Of --ssh: the client program, where it is not plain ssh. */
  readonly client?: Client;
  readonly autoRetry: boolean;
  readonly help: boolean;
  /** Of the speaker's own options those that were given. */
  readonly besides?: ReadonlySet<string>;
  readonly connect?: string;
  readonly via?: string;
  readonly user?: string;
  readonly engine?: string;
}

interface Reader {
  readonly words: readonly string[];
  readonly speaker: Speaker;
  at: number;
  readonly options: string[];
  readonly plain: Set<OwnPlain>;
  readonly besides: Set<string>;
  readonly values: Map<OwnWithArgument | "-F" | "-l", string>;
}

/**
 * Reads `[OPTION…] JOB [OPTION…] [COMMAND…]`: like ssh's own getopt loop, options may also stand between the host and
 * the command, several letters in one word, an argument in the same word or the next; `--` ends them for good. With `--ssh`
 * what stands behind the job is the client's.
 *
 * @throws UsageError (exit status 64) for an option that neither ssh nor we have, or that lacks its argument
 */
export function parseSshWords(words: readonly string[], speaker = SSH): SshWords {
  const reader: Reader = {
    ...{ words, speaker, at: 0, options: [] },
    ...{ plain: new Set<OwnPlain>(), besides: new Set<string>(), values: new Map() },
  };
  const terminated = readOptions(reader);
  const word = words[reader.at];
  // As ssh: the last one ends the user's name, which may have others in it.
  const at = word?.lastIndexOf("@") ?? -1;
  const target = word?.slice(at + 1);
  const named = at === -1 ? undefined : word?.slice(0, at);
  reader.at += 1;
  if (target !== undefined && !terminated && !hasClient(reader)) readOptions(reader);
  const value = (name: OwnWithArgument | "-F" | "-l") => reader.values.get(name);
  const client = clientOf(reader);
  const rest = words.slice(reader.at);
  const theirs = client === undefined ? { words: rest } : takeConfigFile(client.name, rest);
  const given = {
    configFile: theirs.configFile ?? client?.configFile ?? value("-F"),
    target,
    // As ssh: the first one that is given counts.
    login: value("-l") ?? named,
    client,
    connect: value("--connect"),
    via: value("--via"),
    user: value("--user"),
    engine: value("--engine"),
  };
  return {
    options: reader.options,
    command: theirs.words,
    autoRetry: reader.plain.has("--auto-retry"),
    help: reader.plain.has("--help"),
    ...(reader.besides.size > 0 && { besides: reader.besides }),
    ...Object.fromEntries(Object.entries(given).filter(([, text]) => text !== undefined)),
  };
}

function hasClient({ values }: Reader): boolean {
  const text = values.get("--ssh");
  return text !== undefined && !isSsh(parseClient(text, "--ssh"));
}

/** Another client than ssh. `--ssh 'ssh -v'` is ssh, with these words as if they stood here. */
function clientOf(reader: Reader): Client | undefined {
  const text = reader.values.get("--ssh");
  const client = text === undefined ? undefined : parseClient(text, "--ssh");
  if (client === undefined || !isSsh(client)) return client;
  const own: Reader = { ...reader, words: client.words, at: 0 };
  readOptions(own);
  const stray = client.words[own.at];
  if (stray !== undefined) {
    throw new UsageError(`--ssh ${JSON.stringify(text)}: ${JSON.stringify(stray)} is no option of ssh's`, {
      hint: "the job, and then the command, stand behind it",
      exitCode: STATUS.usage,
    });
  }
  return client.program === "ssh" ? undefined : { ...client, words: [] };
}

/** Up to the first word that is no option, or behind `--`; returns whether it was that. */
function readOptions(reader: Reader): boolean {
  for (;;) {
    const word = reader.words[reader.at];
    if (word === undefined || word === "-" || !word.startsWith("-")) return false;
    reader.at += 1;
    if (word === "--") return true;
    if (word.startsWith("--")) readOwn(reader, word);
    else readLetters(reader, word);
  }
}

function readOwn(reader: Reader, word: string): void {
  const equals = word.indexOf("=");
  const name = equals === -1 ? word : word.slice(0, equals);
  const plain = OWN_PLAIN.find((own) => own === name);
  const valued = OWN_WITH_ARGUMENT.find((own) => own === name);
  if (plain !== undefined && equals === -1) reader.plain.add(plain);
  else if (reader.speaker.plain.includes(word)) reader.besides.add(word);
  else if (valued !== undefined) {
    reader.values.set(valued, equals === -1 ? nextWord(reader, name) : word.slice(equals + 1));
  } else {
    const { plain, command } = reader.speaker;
    const hint = didYouMean(name, [...plain, ...OWN_PLAIN, ...OWN_WITH_ARGUMENT]) ?? `see \`${command} --help\``;
    throw new UsageError(`there is no option "${word}"`, { hint, exitCode: STATUS.usage });
  }
}

function readLetters(reader: Reader, word: string): void {
  for (let index = 1; index < word.length; index++) {
    const letter = word.charAt(index);
    if (PLAIN.has(letter)) {
      reader.options.push(`-${letter}`);
      continue;
    }
    if (!WITH_ARGUMENT.has(letter)) {
      throw new UsageError(`ssh has no option -${letter} (in "${word}")`, {
        hint: "ssh's options stand before the job, those of the command behind it",
        exitCode: STATUS.usage,
      });
    }
    const rest = word.slice(index + 1);
    const argument = rest === "" ? nextWord(reader, `-${letter}`) : rest;
    if (letter === "F") reader.values.set("-F", argument);
    // The job has one user; who another is, is said before any connection. Of ssh's own the first one counts.
    else if (letter === "l") reader.values.set("-l", reader.values.get("-l") ?? argument);
    else reader.options.push(`-${letter}`, argument);
    return;
  }
}

function nextWord(reader: Reader, option: string): string {
  const word = reader.words[reader.at];
  if (word === undefined) {
    throw new UsageError(`${option} needs an argument`, {
      hint: `see \`${reader.speaker.command} --help\` and ssh(1)`,
      exitCode: STATUS.usage,
    });
  }
  reader.at += 1;
  return word;
}
