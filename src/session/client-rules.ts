import { STATUS, UsageError } from "../config/errors.ts";
import type { ClientRule } from "../config/parse-container.ts";
import { runChild } from "./child.ts";
import { splitWords } from "./client-words.ts";
import type { Client } from "./clients.ts";
import type { Entry } from "./entry-request.ts";
import { sshProgram } from "./ssh-client.ts";

/** What ssh makes of an entry's file, by directive in small letters (`ssh -G`, ssh(1)). */
export type Effective = ReadonlyMap<string, string>;

/** The setting `clients` for a client, where it has one. */
export function ruleFor(rules: readonly ClientRule[], { name }: Pick<Client, "name">): ClientRule | undefined {
  return rules.find((rule) => rule.name === name);
}

/**
 * The command line that the site or the user has for a client: its words with what stands for the entry put in, the words of
 * `--ssh` behind the program's name, the user's behind all.
 *
 * @throws UsageError (exit status 64) for a quote without an end, or a token that this way has nothing for
 */
export async function ruledCommand(
  { name, command }: ClientRule,
  { words }: Pick<Client, "words">,
  entry: Entry,
  rest: readonly string[],
): Promise<[string, ...string[]]> {
  const [program, ...own] = splitWords(command, `clients: ${name}`);
  if (program === undefined) throw new UsageError(`clients: ${name}: no program is named`, { exitCode: STATUS.usage });
  const asks = /%[ikuxh]/.test(command.replaceAll("%%", ""));
  const effective = asks ? await effectiveOf(entry) : new Map<string, string>();
  const fill = (word: string) => expand(word, entry, effective, command.includes("%F"));
  return [program, ...words, ...own.map(fill), ...rest];
}

async function effectiveOf({ configFile, host, udiImage, spawning }: Entry): Promise<Effective> {
  const argv = ["-G", "-T", "-F", configFile, "--", host];
  const { output } = await runChild(sshProgram(udiImage), argv, {
    stdio: ["ignore", "pipe", "inherit"],
    ...spawning,
  });
  return parseEffective(output.toString("utf8"));
}

/** Of a directive that is printed several times the first counts. */
export function parseEffective(text: string): Effective {
  const found = new Map<string, string>();
  for (const line of text.split("\n")) {
    const blank = line.indexOf(" ");
    if (blank > 0 && !found.has(line.slice(0, blank))) found.set(line.slice(0, blank), line.slice(blank + 1));
  }
  return found;
}

/**
 * Puts into a word what its tokens stand for: `%F` the configuration file, `%h` the job's name, `%i` the key (its certificate
 * is beside it), `%k` the known hosts, `%u` the user, `%x` a command for ProxyCommand that copies, `%%` a `%`.
 *
 * @param byFile the name is for the configuration file, else for the host's certificate
 */
export function expand(
  word: string,
  entry: Pick<Entry, "configFile" | "host">,
  effective: Effective,
  byFile: boolean,
): string {
  return word.replace(/%(.)/g, (_token, letter: string) => {
    if (letter === "%") return "%";
    if (letter === "F") return entry.configFile;
    if (letter === "h") return byFile ? entry.host : (effective.get("hostkeyalias") ?? entry.host);
    const directive = { i: "identityfile", k: "userknownhostsfile", u: "user" }[letter];
    const value = directive === undefined ? copyingProxy(effective) : effective.get(directive);
    if (value !== undefined) return value;
    throw new UsageError(`clients: there is no %${letter} by this way`, {
      hint: "%F, the configuration file, does for every way",
      exitCode: STATUS.usage,
    });
  });
}

/** The connector hands ssh a descriptor, which other programs cannot take: for these it copies. */
function copyingProxy(effective: Effective): string | undefined {
  const command = effective.get("proxycommand");
  if (command === undefined || effective.get("proxyusefdpass") !== "yes") return command;
  return command.replace(/^('(?:[^']|'\\'')*'|\S+)/, "$1 --stdio");
}
