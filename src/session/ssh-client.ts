import { join } from "node:path";
import { STATUS, UsageError } from "../config/errors.ts";
import { quoted } from "../udi/names.ts";
import { programInPath } from "./program-path.ts";

/** A word for a POSIX shell, whatever is in it. */
export function shellWord(word: string): string {
  return /^[A-Za-z0-9_./:@+,-]+$/.test(word) ? word : quoteWord(word);
}

function quoteWord(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** A command for a POSIX shell. Its first word is quoted: else it could be an assignment, a reserved word or an alias. */
export function shellCommand([program, ...words]: readonly string[]): string {
  return program === undefined ? "" : [quoteWord(program), ...words.map(shellWord)].join(" ");
}

/**
 * The ssh client of this host, since it knows the host's accounts (by LDAP or SSSD), which our static one does not;
 * ours where there is none.
 */
export function sshProgram(udiImage: string): string {
  return programInPath("ssh") ?? join(udiImage, "bin/ssh");
}

/** Programs of the tree that stand in where this host has none; they are told which ssh is meant. */
const OURS = new Set(["scp", "sftp"]);

/**
 * A client program as it is started.
 *
 * @param name as it was written: a path, or what is looked up in $PATH
 * @returns its path, and the words that it needs before all others
 * @throws UsageError (exit status 64) where there is none
 */
export function clientProgram(
  name: string,
  { udiImage }: { readonly udiImage: string | undefined },
): { readonly program: string; readonly words: readonly string[] } {
  if (name.includes("/")) return { program: name, words: [] };
  const program = programInPath(name);
  if (program !== undefined) return { program, words: [] };
  if (udiImage !== undefined && OURS.has(name)) {
    return { program: join(udiImage, "bin", name), words: ["-S", sshProgram(udiImage)] };
  }
  throw new UsageError(`there is no ${quoted(name)} in the PATH`, {
    hint: "name another client, or say where it is by its path",
    exitCode: STATUS.usage,
  });
}
