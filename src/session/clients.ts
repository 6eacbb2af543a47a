import { basename } from "node:path";
import { STATUS, UsageError } from "../config/errors.ts";
import { quoted } from "../udi/names.ts";
import { splitWords, type WordStyle } from "./client-words.ts";
import type { Entry } from "./entry-request.ts";

/** A client program of OpenSSH's, or one like them, and the words that stand behind its name. */
export interface Client {
  /** As it was written: with a slash a path, else looked up in $PATH. */
  readonly program: string;
  /** Its last part, which tells what it is. */
  readonly name: string;
  readonly words: readonly string[];
  /** `-F FILE` among the words: the user's own configuration. */
  readonly configFile?: string;
}

/** Of the clients' getopt strings (scp.c, sftp.c of OpenSSH 10.0), the letters that have an argument. */
const WITH_ARGUMENT: Readonly<Record<string, string>> = {
  scp: "DFJMPSciloX",
  sftp: "cDilosSbBFJPRX",
};

/** Options of `gangway ssh` itself that mean the same to scp and sftp. */
const SHARED = new Set(["-4", "-6", "-A", "-C", "-q", "-v", "-J", "-c", "-i", "-o"]);
const SHARED_WITH_ARGUMENT = new Set(["-J", "-c", "-i", "-o"]);

/**
 * Reads the client's command.
 *
 * @param what the option that it is of
 * @throws UsageError (exit status 64) for no word at all, a quote without an end, or a program that is no client of ssh's kind
 */
export function parseClient(text: string, what: string, style: WordStyle = "plain"): Client {
  const [program, ...words] = splitWords(text, what, style);
  if (program === undefined || program === "" || program.endsWith("/")) {
    throw new UsageError(`${what} ${quoted(text)}: no program is named`, {
      hint: `such as ${what} sftp, or ${what} 'scp -r'`,
      exitCode: STATUS.usage,
    });
  }
  const name = basename(program);
  if (name === "rsync") {
    throw new UsageError(`${what} ${quoted(text)}: rsync is no client of ssh's kind, it calls one`, {
      hint: "rsync -av -e 'gangway ssh' JOB:out/ .",
      exitCode: STATUS.usage,
    });
  }
  return { program, name, ...takeConfigFile(name, words) };
}

/** Whether the client is ssh itself, whose words `gangway ssh` knows. */
export function isSsh({ name }: Pick<Client, "name">): boolean {
  return name === "ssh" || name === "slogin";
}

/**
 * Takes `-F FILE` out of the options of a client that is known: the file that counts is ours, and theirs is read behind it.
 *
 * @returns the words without it
 */
export function takeConfigFile(name: string, words: readonly string[]): { words: string[]; configFile?: string } {
  const valued = WITH_ARGUMENT[name];
  const end = valued === undefined ? 0 : optionsEnd(words, valued);
  const kept: string[] = [];
  let configFile: string | undefined;
  for (let at = 0; at < end; at++) {
    const word = words[at] ?? "";
    const letters = /^-[^-]/.test(word) && valued !== undefined ? word.slice(1) : "";
    const index = [...letters].findIndex((letter) => valued?.includes(letter));
    const option = letters.charAt(index);
    const next = index !== -1 && index === letters.length - 1 ? words[at + 1] : undefined;
    if (index !== -1 && option === "F") {
      configFile = next ?? letters.slice(index + 1);
      if (index > 0) kept.push(`-${letters.slice(0, index)}`);
    } else kept.push(word, ...(next === undefined ? [] : [next]));
    if (next !== undefined) at += 1;
  }
  return { words: [...kept, ...words.slice(end)], ...(configFile === undefined ? {} : { configFile }) };
}

/** How many of the words are options and their arguments, `--` among them: getopt(3) as OpenSSH has it stops at the first other. */
function optionsEnd(words: readonly string[], valued: string): number {
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? "";
    if (word === "--") return at + 1;
    if (word === "-" || !word.startsWith("-")) return at;
    const letters = word.slice(1);
    const index = [...letters].findIndex((letter) => valued.includes(letter));
    if (index !== -1 && index === letters.length - 1) at += 1;
  }
  return words.length;
}

/**
 * `remote`, `me@remote`, `remote:file`, `sftp://remote/…`: the user says where the job's name belongs. The name as it was typed
 * does so with a file alone, `32.0:file`: without one it may be any word of the client's.
 */
function namesJob(words: readonly string[], typed: string | undefined): boolean {
  return words.some((word) => {
    const [, scheme = "", name, then = ""] = /^([a-z]+:\/\/)?(?:[^@/:]*@)?([^@/:]+)($|[:/])/.exec(word) ?? [];
    return name === "remote" || (name === typed && name !== undefined && (then === ":" || scheme !== ""));
  });
}

/**
 * The words for a client other than ssh: its own, the job's configuration, then the user's as they are. Its host is the
 * placeholder `remote` in these; where they have none, the job's name is put behind their options, but not for scp, whose
 * hosts are parts of its operands.
 *
 * @param options of ssh's that stood before the job
 * @param rest the user's words
 * @param typed the job as it was typed: as good as the placeholder
 * @throws UsageError (exit status 64) for an option that means something else to the client
 */
export function clientArguments(
  { name, words }: Client,
  { configFile, host }: Pick<Entry, "configFile" | "host">,
  options: readonly string[],
  rest: readonly string[],
  typed?: string,
): string[] {
  const front = ["-F", configFile, ...words, ...sharedOptions(name, options)];
  if (name === "scp" || namesJob(rest, typed)) return [...front, ...rest];
  const end = optionsEnd(rest, WITH_ARGUMENT[name] ?? "");
  return [...front, ...rest.slice(0, end), host, ...rest.slice(end)];
}

function sharedOptions(name: string, options: readonly string[]): readonly string[] {
  for (let at = 0; at < options.length; at++) {
    const option = options[at] ?? "";
    if (!SHARED.has(option)) {
      throw new UsageError(`${option} is ssh's, and something else to ${name}, or nothing`, {
        hint: `options of ${name}'s own stand behind its name: --ssh '${name} ${option} …'`,
        exitCode: STATUS.usage,
      });
    }
    if (SHARED_WITH_ARGUMENT.has(option)) at += 1;
  }
  return options;
}
