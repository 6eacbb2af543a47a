import { spawn } from "node:child_process";
import { statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { asUser } from "../config/identity.ts";
import { programNamed } from "../config/program-path.ts";

/** Longer than anyone keeps his turn: who waited so long goes ahead. */
const PATIENCE_SECONDS = 60;
/** flock(1) runs as the engine's user, who could stop it: what it should have said by now it will not say. */
const SPARE_MS = 2000;

let last: Promise<unknown> = Promise.resolve();
/** Locks that could not be had in time: they are waited for once. */
const givenUp = new Set<string>();

/**
 * Does a piece of work while no other launcher does one at the same engine.
 *
 * Podman looks the user's ranges of ids up for each container with "keep-id", in threads, by a library that is not made
 * for them (libsubid): two at once end the service by SIGSEGV or give a container wrong ids (Podman issue 23264; seen
 * with 4.3.1 at two containers). So these are created one after the other, by this process and by all others.
 *
 * @param socketPath of the engine; the lock lies beside it and belongs to the engine's user
 * @param patienceSeconds how long the others' turns may take; then the work is done all the same
 */
export async function inTurn<T>(
  socketPath: string,
  work: () => Promise<T>,
  patienceSeconds = PATIENCE_SECONDS,
): Promise<T> {
  const before = last;
  const mine = (async () => {
    await before.catch(() => undefined);
    const release = await takeTurn(socketPath, patienceSeconds);
    try {
      return await work();
    } finally {
      release();
    }
  })();
  last = mine;
  return await mine;
}

const nothing = () => undefined;

/** Node.js has no file locks: flock(1) keeps this one until its input ends, which it does with this process at the latest. */
async function takeTurn(socketPath: string, patienceSeconds: number): Promise<() => void> {
  const file = join(dirname(socketPath), "gangway.lock");
  if (givenUp.has(file)) return nothing;
  const { uid, gid } = statSync(socketPath);
  try {
    asUser({ uid, gid, groups: [] }, () => writeFileSync(file, "", { flag: "a", mode: 0o600 }));
  } catch {
    // Not a place for files: the lock is only a help.
    return nothing;
  }
  const flock = spawn(programNamed("flock"), ["-x", "-w", String(patienceSeconds), file, programNamed("cat")], {
    stdio: ["pipe", "pipe", "ignore"],
    // Nothing of this process's, which may be root's, is for one that runs as the engine's user.
    env: { PATH: process.env.PATH },
    ...(process.geteuid?.() === 0 ? { uid, gid } : {}),
  });
  const taken = await new Promise<boolean>((resolve) => {
    const limit = setTimeout(() => resolve(false), patienceSeconds * 1000 + SPARE_MS);
    const settle = (outcome: boolean) => () => {
      clearTimeout(limit);
      resolve(outcome);
    };
    flock.once("error", settle(false));
    flock.once("exit", settle(false));
    flock.stdout.once("data", settle(true));
    flock.stdin.on("error", nothing);
    flock.stdin.write("\n");
  });
  if (!taken) givenUp.add(file);
  return () => {
    flock.stdin.end();
    // This process's end does not wait for one that somebody stopped.
    flock.stdout.destroy();
    flock.unref();
  };
}
