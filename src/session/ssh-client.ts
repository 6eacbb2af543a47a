import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { JobError, STATUS, UsageError } from "../config/errors.ts";
import { programInPath } from "../config/program-path.ts";
import { quoted } from "../udi/names.ts";

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
 * The ssh client of this host, since it knows the host's accounts (by LDAP or SSSD), which our static one does not, and whatever a
 * configuration of the user's may say; ours where there is none.
 *
 * @param udiImage absolute path of our tree; undefined: what is asked of ssh is for the host's own
 * @throws JobError (exit status 76) where there is neither
 */
export function sshProgram(udiImage: string | undefined): string {
  const program = programInPath("ssh") ?? (udiImage === undefined ? undefined : join(udiImage, "bin/ssh"));
  if (program !== undefined) return program;
  throw new JobError("there is no ssh in your PATH", {
    hint: "OpenSSH's client is needed to go through another host",
    exitCode: STATUS.unreachable,
  });
}

/** Where a distribution's own ssh is: one from elsewhere in the PATH is the user's choice, or the site's. */
const SYSTEM = new Set(["/usr/bin", "/bin"]);
/** Options that mean the same to every build of ssh: none has to do with X11, keys, Kerberos or other hosts. */
const ALIKE = /^-[46AaCfNnqTtvx]$/;
const ALIKE_WITH_ARGUMENT = new Set(["-D", "-e", "-L", "-R", "-W"]);

/**
 * The tree's own ssh, which starts a session in two thirds of the time that a distribution's takes (docs/decisions/0014).
 *
 * @param udiImage absolute path of the tree; undefined: there is none
 * @param options of ssh's, each apart
 * @param caller who calls, and the file in which ours looks for the account
 * @returns undefined where the host's own is to be taken, as {@link sshProgram} has it: ours knows the accounts of `/etc/passwd` alone,
 *   and not all that others know
 */
export function ownSsh(
  udiImage: string | undefined,
  options: readonly string[],
  caller = { uid: process.getuid?.(), passwd: "/etc/passwd" },
): string | undefined {
  const hosts = programInPath("ssh");
  if (udiImage === undefined) return undefined;
  if (hosts !== undefined && !SYSTEM.has(dirname(hosts))) return undefined;
  return areAlike(options) && isInPasswd(caller) ? programInPath("ssh", join(udiImage, "bin")) : undefined;
}

function areAlike(options: readonly string[]): boolean {
  for (let at = 0; at < options.length; at++) {
    const option = options[at] ?? "";
    if (ALIKE_WITH_ARGUMENT.has(option)) at += 1;
    else if (!ALIKE.test(option)) return false;
  }
  return true;
}

function isInPasswd({ uid, passwd }: { readonly uid: number | undefined; readonly passwd: string }): boolean {
  try {
    const text = readFileSync(passwd, "latin1");
    return uid !== undefined && new RegExp(`^[^:\n]*:[^:\n]*:${uid}:`, "m").test(text);
  } catch {
    return false;
  }
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
