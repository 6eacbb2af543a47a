import { type ChildProcess, spawn } from "node:child_process";
import { lstatSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { GangwayError } from "../config/errors.ts";
import { readOwnFile } from "../config/own-file.ts";
import { openRunBase, type Places, runBaseCandidates, temporaryBases } from "../config/paths.ts";
import { formatIdentity, isGone, parseIdentity, thisProcess } from "../job/process.ts";

/** No job's id begins so: what looks for jobs in a run base passes these by. */
const PREFIX = ".session-";
/** As in a job's directory: by it `gangway gc` sees whose maker is dead. */
const OWNER_FILE = "launcher";

/** How a session's directory is made. */
export interface PrivacyOptions {
  /** Also against SIGKILL: a process that outlives this one removes the directory then. For where a key lies in it. */
  readonly guarded?: boolean;
  /**
   * Starts, before there is a directory, what removes it where this process is killed: instead of that other process, until
   * {@link PrivateDirectory.guard}. False: it did not.
   *
   * @param path absolute
   */
  readonly guard?: (path: string) => boolean;
}

/**
 * A directory in memory that nobody but the user can enter, in the same bases as the jobs' directories
 * (docs/internals.md, section 3), for the key and the configuration of one session. Who opens it closes it; what
 * a killed process could not remove, the next call does, and `gangway gc`.
 */
export class PrivateDirectory {
  /** Absolute. */
  readonly path: string;
  #guard: ChildProcess | undefined;

  private constructor(path: string, guard: ChildProcess | undefined) {
    this.path = path;
    this.#guard = guard;
  }

  /**
   * @param places whose; this process must be that user's. A directory of the user's own below $TMPDIR is tried first: it does only
   *   where that is in memory
   * @throws GangwayError where it cannot be made
   */
  static open(
    places: Places,
    configured: string | undefined,
    { guarded = false, guard: startOther = () => false }: PrivacyOptions = {},
  ): PrivateDirectory {
    const candidates = [...temporaryBases(places), ...runBaseCandidates(places, configured)];
    const base = openRunBase({ ...places, configured, candidates, job: `${PREFIX}${process.pid}`, nodes: 1 }).path;
    removeAbandoned(base, places.user.uid);
    const me = thisProcess();
    const path = join(base, `${PREFIX}${me.pid}-${me.start.split("@")[0]}`);
    // Before there is anything for it to remove: there is no moment without it.
    const guard = !startOther(path) && guarded ? startGuard(path) : undefined;
    try {
      mkdirSync(path, { mode: 0o700 });
      writeFileSync(join(path, OWNER_FILE), `${formatIdentity(me)}\n`, { flag: "wx", mode: 0o600 });
    } catch (error) {
      guard?.stdin?.end("k");
      throw new GangwayError(`${path} cannot be made`, { hint: "is there room in that file system?", cause: error });
    }
    const directory = new PrivateDirectory(path, guard);
    // Also where something calls process.exit.
    process.once("exit", directory.#remove);
    return directory;
  }

  /** Starts the process that removes it where this one is killed, unless there is one. */
  guard(): void {
    this.#guard ??= startGuard(this.path);
  }

  /** What ran in it may be taking its own files away at this moment. */
  readonly #remove = (): void => rmSync(this.path, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 });

  /** Removes it with all that is in it. */
  async close(): Promise<void> {
    process.off("exit", this.#remove);
    this.#remove();
    if (this.#guard !== undefined) await dismiss(this.#guard);
  }
}

/** Runs work with a {@link PrivateDirectory}, which is removed whatever happens. */
export async function withPrivateDirectory<T>(
  places: Places,
  configured: string | undefined,
  work: (path: string) => Promise<T>,
  options: PrivacyOptions = {},
): Promise<T> {
  const directory = PrivateDirectory.open(places, configured, options);
  try {
    return await work(directory.path);
  } finally {
    await directory.close();
  }
}

/** Waits for the end of its input: without the letter before it, whoever made the directory was killed. */
const GUARD = 'trap "" HUP INT QUIT TERM; read -r word; [ "$word" = k ] || rm -rf -- "$1"';

function startGuard(path: string): ChildProcess {
  const guard = spawn("/bin/sh", ["-c", GUARD, "gangway-guard", path], {
    stdio: ["pipe", "ignore", "ignore"],
    // A session of its own: what ends the terminal's does not end it.
    detached: true,
    env: { PATH: "/usr/bin:/bin" },
    cwd: "/",
  });
  // Without it the next call, and `gangway gc`, remove what a killed one left.
  guard.on("error", () => undefined);
  guard.stdin?.on("error", () => undefined);
  guard.unref();
  return guard;
}

/** Waits for its end, so that no zombie is left to somebody else's PID 1. */
async function dismiss(guard: ChildProcess): Promise<void> {
  if (guard.pid === undefined || guard.exitCode !== null || guard.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => guard.once("exit", () => resolve()));
  guard.ref();
  guard.stdin?.end("k");
  await gone;
}

function removeAbandoned(base: string, uid: number): void {
  for (const name of readdirSync(base).filter((entry) => entry.startsWith(PREFIX))) {
    const path = join(base, name);
    try {
      if (lstatSync(path).uid !== uid) continue;
      const maker = parseIdentity(readOwnFile(join(path, OWNER_FILE), uid).trim());
      if (maker !== undefined && isGone(maker)) rmSync(path, { recursive: true, force: true });
    } catch {
      // Being made or removed by another call at this moment.
    }
  }
}
