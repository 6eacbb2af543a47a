import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { GangwayError } from "../config/errors.ts";
import type { Identity } from "../config/identity.ts";
import { foreignEntries, indexDirectory, indexFiles, writeIndexEntry } from "../job/index-entry.ts";
import { localJobs } from "../job/local-jobs.ts";
import { proxyWord } from "../udi/ssh-config.ts";
import { installBlock, removeBlock } from "./user-config.ts";

/** Who installs, and what for. The process is that user's. */
export interface Installation {
  readonly identity: Identity;
  /** As ssh sees it: of the account, not of $HOME. */
  readonly home: string;
  /** The user's run bases on this host. */
  readonly bases: readonly string[];
  /** Absolute path of this program. */
  readonly program: string;
}

/** What ~/.ssh/config gets: `~` is the account's home to ssh. */
const INCLUDE = "Include ~/.gangway/ssh/config";
/** Says that ~/.ssh was made here, too. */
const MADE_SSH = "made-ssh-directory";

function directoryOf(home: string): string {
  return join(home, ".gangway/ssh");
}

/**
 * The text of `~/.gangway/ssh/config`: the entries of the running jobs, and for names that none of them has a
 * ProxyCommand that says why. ssh hands a host name to a shell there, and old versions take any name (CVE-2023-51385): what
 * could end single quotes, in any shell, is left out of the pattern.
 *
 * @throws GangwayError when the program's path cannot stand in an ssh configuration
 */
export function renderIndexConfig(program: string): string {
  return `${[
    "# Made by gangway: how ssh finds running jobs by their names, JOB.job and NODE.JOB.job.",
    "Include ~/.gangway/ssh/jobs/*.conf",
    "# Names that no running job has: says why.",
    // A final dot, and capitals, are another name to ssh, and would go to DNS.
    `Host "*.job" "*.job." "*.JOB" "*.JOB." ${["'", "\\", "!"].map((character) => `"!*${character}*"`).join(" ")}`,
    `  ProxyCommand ${proxyWord(program)} proxy --explain '%h'`,
    "  ProxyUseFdpass no",
    // Nobody is there, and whoever answered would not be believed: no host key is known, and none is taken on trust.
    "  StrictHostKeyChecking yes",
    "  UserKnownHostsFile /dev/null",
    "  GlobalKnownHostsFile /dev/null",
    "  PreferredAuthentications publickey",
  ].join("\n")}\n`;
}

/** The lines that go into ~/.ssh/config. */
export function includeLines(): readonly string[] {
  return [INCLUDE];
}

/**
 * Makes the index, writes the entries of what runs already, and has ~/.ssh/config include it. Doing it again brings all up
 * to date.
 *
 * @returns what was done, a line each
 * @throws GangwayError; then nothing is left that was not there before
 */
export function install({ identity, home, bases, program }: Installation): string[] {
  const config = renderIndexConfig(program);
  const directory = directoryOf(home);
  const index = indexDirectory(home);
  const isNew = lstatSync(directory, { throwIfNoEntry: false }) === undefined;
  const madeSsh = lstatSync(join(home, ".ssh"), { throwIfNoEntry: false }) === undefined;
  try {
    for (const path of [join(home, ".gangway"), directory, index]) ownDirectory(path, identity.uid);
    const done = writeAnew(join(directory, "config"), config) ? [`wrote ${join(directory, "config")}`] : [];
    if (madeSsh) writeAnew(join(directory, MADE_SSH), "");
    const user = join(home, ".ssh/config");
    const note = readOnlyNote(user);
    if (installBlock(user, includeLines())) done.push(`put "${INCLUDE}" at the top of ${user}${note}`);
    const jobs = localJobs(identity, bases).flatMap((job) =>
      job.state === "running" && writeIndexEntry(identity, home, job) ? [job.id] : [],
    );
    if (jobs.length > 0) done.push(`these run already: ${jobs.map((job) => `${job}.job`).join(", ")}`);
    return done;
  } catch (error) {
    if (isNew) removeIndex(home, new Set());
    if (error instanceof GangwayError) throw error;
    throw new GangwayError(`${directory} cannot be made: ${error instanceof Error ? error.message : String(error)}`, {
      hint: "is there room, and may you write in your home directory?",
      cause: error,
    });
  }
}

/** Its directory decides whether a file can be replaced; who made it read-only may want to know. */
function readOnlyNote(path: string): string {
  const mode = statSync(path, { throwIfNoEntry: false })?.mode ?? 0o600;
  return (mode & 0o200) === 0 ? " (it was read-only, and is again)" : "";
}

/**
 * Undoes {@link install}: every other byte stays.
 *
 * @returns what was done, a line each
 */
export function uninstall({ identity, home }: Pick<Installation, "identity" | "home">): string[] {
  const user = join(home, ".ssh/config");
  const directory = directoryOf(home);
  const note = readOnlyNote(user);
  const done = removeBlock(user) ? [`took gangway's lines out of ${user}${note}`] : [];
  const madeSsh = lstatSync(join(directory, MADE_SSH), { throwIfNoEntry: false }) !== undefined;
  if (removeIndex(home, entriesElsewhere(identity, home))) done.push(`removed ${directory}`);
  if (madeSsh) removeIfEmpty(join(home, ".ssh"));
  return done;
}

/** @throws GangwayError for a link, a file, somebody else's directory */
function ownDirectory(path: string, uid: number): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  const state = lstatSync(path);
  if (!state.isDirectory() || state.uid !== uid) {
    throw new GangwayError(`${path} is not a directory of your own`, {
      hint: "what it holds is believed by ssh: move it away, and call this again",
    });
  }
  // ssh ends at an included file that others could have written.
  if ((state.mode & 0o077) !== 0) chmodSync(path, 0o700);
}

/** @returns whether it was not so already */
function writeAnew(path: string, content: string): boolean {
  const temporary = `${path}.${process.pid}.new`;
  rmSync(temporary, { force: true });
  writeFileSync(temporary, content, { flag: "wx", mode: 0o600 });
  chmodSync(temporary, 0o600);
  const isNew = lstatSync(path, { throwIfNoEntry: false }) === undefined;
  renameSync(temporary, path);
  return isNew;
}

/**
 * The files of jobs that run on other hosts with the same home: only their launchers can write them again, and these remove them
 * at the jobs' ends.
 */
function entriesElsewhere(identity: Identity, home: string): ReadonlySet<string> {
  return new Set(foreignEntries(identity, home).flatMap(({ job }) => Object.values(indexFiles(home, job))));
}

/** Only what is ours, but for the files to keep; the fragments' directories of other clusters lie beside it. */
function removeIndex(home: string, keep: ReadonlySet<string>): boolean {
  const directory = directoryOf(home);
  const index = indexDirectory(home);
  const there = lstatSync(directory, { throwIfNoEntry: false })?.isDirectory() === true;
  if (!there) return false;
  if (lstatSync(index, { throwIfNoEntry: false })?.isDirectory() === true) {
    for (const name of readdirSync(index).filter((entry) => /\.(?:conf|hosts|new)$/.test(entry))) {
      if (!keep.has(join(index, name))) rmSync(join(index, name), { force: true });
    }
    removeIfEmpty(index);
  }
  const had = lstatSync(join(directory, "config"), { throwIfNoEntry: false }) !== undefined;
  for (const name of ["config", MADE_SSH]) rmSync(join(directory, name), { force: true });
  removeIfEmpty(directory);
  removeIfEmpty(join(home, ".gangway"));
  return had;
}

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Something else is in it, or it is gone.
  }
}
