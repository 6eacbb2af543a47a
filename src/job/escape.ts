import { lstatSync, readFileSync, realpathSync, type Stats, statSync } from "node:fs";
import { dirname, join } from "node:path";

/** The keyword as it stands in the table of every ssh that knows it: 9.2 and later. */
const KEYWORD = "enableescapecommandline";
const SYSTEM = ["/usr/local/bin", "/usr/bin", "/bin"];

/**
 * Whether every ssh that the user is likely to call on this host knows `EnableEscapeCommandline`, without which `~C` does
 * nothing since OpenSSH 9.2; before, the keyword ends ssh. No configuration can ask for the version (`Match version` is of
 * 10.0), and an `IgnoreUnknown` of ours would take the user's own away. So the programs are looked at, and not called:
 * what is first in PATH may be anything.
 *
 * @param path the user's PATH; undefined where it is not known
 */
export function knowsEscapeCommandline(path: string | undefined): boolean {
  const directories = new Set([...(path ?? "").split(":").filter((entry) => entry.startsWith("/")), ...SYSTEM]);
  // By what they are: /bin and /usr/bin are often the same, and reading one takes a millisecond.
  const programs = new Map<string, string>();
  for (const directory of directories) {
    const path = join(directory, "ssh");
    const state = stateOf(path);
    if (state?.isFile() === true) programs.set(`${state.dev}:${state.ino}`, path);
  }
  return programs.size > 0 && [...programs.values()].every(hasKeyword);
}

function stateOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

function hasKeyword(path: string): boolean {
  try {
    return readFileSync(path).includes(KEYWORD);
  } catch {
    // It can perhaps be executed, and not read.
    return false;
  }
}

/** Nothing in it is a pattern, or expanded, to any version's Include. */
const PLAIN = /^\/[A-Za-z0-9_./+@,:-]+$/;

/** Holds `EnableEscapeCommandline yes`, where this host's ssh knows it: what the index includes. */
export const ESCAPE_CONFIG = "escape_config";

/**
 * The file that the index entry of a job may include: other hosts share the home directory, whose ssh may be older, and
 * have no such file. Not where anybody could make the run base after a reboot, as in /dev/shm or a directory there: ssh
 * refuses another user's file, and with it every connection, and waits for a FIFO.
 *
 * @param directory the job's
 * @returns undefined where there is none
 */
export function includableEscapeConfig(directory: string): string | undefined {
  const file = join(directory, "kit", ESCAPE_CONFIG);
  try {
    if (!PLAIN.test(file) || realpathSync(file) !== file) return undefined;
    const { uid } = lstatSync(directory);
    const safe = ancestorsOf(dirname(directory)).every((path) => isOnlyOf(uid, path));
    return safe && lstatSync(file).isFile() ? file : undefined;
  } catch {
    return undefined;
  }
}

function ancestorsOf(path: string): string[] {
  const parent = dirname(path);
  return parent === path ? [] : [parent, ...ancestorsOf(parent)];
}

/** Whether nobody but a user and root can put anything into a directory: a sticky bit does not keep others from that. */
function isOnlyOf(uid: number, path: string): boolean {
  const state = lstatSync(path);
  return (state.uid === uid || state.uid === 0) && (state.mode & 0o022) === 0;
}
