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

/**
 * Runs work with a directory in memory that nobody but the user can enter, in the same bases as the jobs' directories
 * (docs/internals.md, section 3), for the key and the configuration of one session. It is removed whatever happens; what
 * a killed process could not remove, the next call does, and `gangway gc`.
 *
 * @param places whose; this process must be that user's. A directory of the user's own below $TMPDIR is tried first: it does only
 *   where that is in memory
 * @param guarded also against SIGKILL: a process that outlives this one removes the directory then. For where a key lies in it
 */
export async function withPrivateDirectory<T>(
  places: Places,
  configured: string | undefined,
  work: (path: string) => Promise<T>,
  { guarded = false }: { readonly guarded?: boolean } = {},
): Promise<T> {
  const candidates = [...temporaryBases(places), ...runBaseCandidates(places, configured)];
  const base = openRunBase({ ...places, configured, candidates, job: `${PREFIX}${process.pid}`, nodes: 1 }).path;
  removeAbandoned(base, places.user.uid);
  const me = thisProcess();
  const path = join(base, `${PREFIX}${me.pid}-${me.start.split("@")[0]}`);
  // Before there is anything for it to remove: there is no moment without it.
  const guard = guarded ? startGuard(path) : undefined;
  try {
    mkdirSync(path, { mode: 0o700 });
    writeFileSync(join(path, OWNER_FILE), `${formatIdentity(me)}\n`, { flag: "wx", mode: 0o600 });
  } catch (error) {
    guard?.stdin?.end("k");
    throw new GangwayError(`${path} cannot be made`, { hint: "is there room in that file system?", cause: error });
  }
  // What ran in it may be taking its own files away at this moment.
  const remove = () => rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 });
  // Also where something calls process.exit.
  process.once("exit", remove);
  try {
    return await work(path);
  } finally {
    process.off("exit", remove);
    remove();
    if (guard !== undefined) await dismiss(guard);
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
