import { spawnSync } from "node:child_process";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { GangwayError } from "../config/errors.ts";
import type { Identity } from "../config/identity.ts";
import { isGone, isWholly, type ProcessIdentity } from "./process.ts";

/** For a child that the user may stop at once. */
const KILL_LIMIT_MS = 1000;
const LOOK_AGAIN_MS = 50;

/**
 * Kills processes of a user's with that user's rights alone, and waits until they are gone. Which processes these are may be
 * the user's own word: what is not wholly that user's is left alone.
 *
 * @param patienceMs how long they are waited for
 * @throws GangwayError for what is no process of the user's on this host, once the others are killed
 */
export async function endProcesses(
  identity: Identity,
  victims: readonly ProcessIdentity[],
  patienceMs = 5000,
): Promise<void> {
  const living = victims.filter((victim) => !isGone(victim));
  const own = living.filter((victim) => victim.host === hostname() && isWholly(identity.uid, victim.pid));
  if (own.length > 0) kill(identity, own);
  const deadline = performance.now() + patienceMs;
  while (own.some((victim) => !isGone(victim)) && performance.now() < deadline) await sleep(LOOK_AGAIN_MS);
  const foreign = living.find((victim) => !own.includes(victim));
  if (foreign === undefined || isGone(foreign)) return;
  throw new GangwayError(
    `process ${foreign.pid} is not killed: it is not wholly a process of uid ${identity.uid} here`,
    {
      hint: "the job's `launcher` file names it; if root launched the job, end that launcher as root",
    },
  );
}

/**
 * Root sends no signal itself: kill(2) goes by the real uid as well, which `asUser` leaves as it is. A child has all of its
 * uids and gids changed, so that the kernel decides as for any process of the user's. The shell's `kill` tries each pid.
 */
function kill({ uid, gid }: Identity, victims: readonly ProcessIdentity[]): void {
  if (process.getuid?.() === uid && process.geteuid?.() === uid) {
    for (const { pid } of victims) killOwn(pid);
    return;
  }
  const { error } = spawnSync("/bin/sh", ["-c", 'kill -s KILL "$@"', "sh", ...victims.map(({ pid }) => String(pid))], {
    uid,
    gid,
    cwd: "/",
    env: {},
    stdio: "ignore",
    timeout: KILL_LIMIT_MS,
    killSignal: "SIGKILL",
  });
  if (error !== undefined) throw new GangwayError(`processes of uid ${uid} could not be killed`, { cause: error });
}

function killOwn(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    // It has ended meanwhile.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
