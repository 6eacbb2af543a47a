import { spawn } from "node:child_process";
import { statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { asUser } from "../config/identity.ts";

/** Longer than anyone keeps his turn: who waited so long goes ahead. */
const PATIENCE_SECONDS = 60;

let last: Promise<unknown> = Promise.resolve();

/**
 * Does a piece of work while no other launcher does one at the same engine.
 *
 * Podman looks the user's ranges of ids up for each container with "keep-id", in threads, by a library that is not made
 * for them (libsubid): two at once end the service by SIGSEGV or give a container wrong ids (Podman issue 23264; seen
 * with 4.3.1 at two containers). So these are created one after the other, by this process and by all others.
 *
 * @param socketPath of the engine; the lock lies beside it and belongs to the engine's user
 */
export async function inTurn<T>(socketPath: string, work: () => Promise<T>): Promise<T> {
  const before = last;
  const mine = (async () => {
    await before.catch(() => undefined);
    const release = await takeTurn(socketPath);
    try {
      return await work();
    } finally {
      release();
    }
  })();
  last = mine;
  return await mine;
}

/** Node.js has no file locks: flock(1) keeps this one until its input ends, which it does with this process at the latest. */
async function takeTurn(socketPath: string): Promise<() => void> {
  const file = join(dirname(socketPath), "gangway.lock");
  const { uid, gid } = statSync(socketPath);
  try {
    asUser({ uid, gid, groups: [] }, () => writeFileSync(file, "", { flag: "a", mode: 0o600 }));
  } catch {
    // Not a place for files: the lock is only a help.
    return () => undefined;
  }
  const flock = spawn("flock", ["-x", "-w", String(PATIENCE_SECONDS), file, "cat"], {
    stdio: ["pipe", "pipe", "ignore"],
    ...(process.geteuid?.() === 0 ? { uid, gid } : {}),
  });
  await new Promise<void>((resolve) => {
    flock.once("error", () => resolve());
    flock.once("exit", () => resolve());
    flock.stdout.once("data", () => resolve());
    flock.stdin.on("error", () => resolve());
    flock.stdin.write("\n");
  });
  return () => flock.stdin.end();
}
