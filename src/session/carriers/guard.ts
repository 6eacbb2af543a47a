import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";

/** A manager's own client, which carries bytes to a process on the job's host. */
export interface CarrierCommand {
  /** For messages: `srun`. */
  readonly title: string;
  /** The program, by its absolute path, and its words. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** What it says where the job is there and cannot be entered yet. */
  readonly notYet?: RegExp;
}

/**
 * A shell that outlives this process, however that ends: then it gives the carrier a second to end by itself, since its
 * standard input has ended, sends SIGTERM to all that belongs to it, and after two more SIGKILL, and removes the carrier's
 * directory, or, where this process was killed, the session's. Descriptor 3 is the pipe by which it knows: a first letter says
 * that the directories are there, another one, before the end of file, that this process lives. What a terminal sends to the
 * foreground does not reach either, since they are a session of their own; a carrier gets the default actions of signals, which
 * this shell traps. The PATH is the caller's, for the carrier: this shell's own programs are not looked for in it.
 */
const GUARD = `dir=$1 all=$2; shift 2
trap : HUP INT TERM
exec 4<&0 </dev/null
read -r word <&3
case $word in g) ;; k) exit ;; *) /bin/rm -rf -- "$all"; exit ;; esac
cd -- "$dir" || exit
"$@" <&4 4<&- 3<&- &
carrier=$!
exec >/dev/null 2>&1 4<&-
read -r word <&3
trap '' HUP INT TERM
[ "$word" = k ] || dir=$all
{ /bin/sleep 1; kill -TERM 0; /bin/sleep 2; kill -KILL $carrier; /bin/rm -rf -- "$dir"; kill -KILL 0; } &
wait $carrier
/bin/rm -rf -- "$dir"
kill -KILL 0`;

let count = 0;

/** Bytes of what a carrier says on its standard error that are kept: for a message, where it fails. */
const KEPT_STDERR = 16 * 1024;

/** A running carrier. */
export class GuardedCarrier {
  readonly #child: ChildProcess;
  readonly #pipe: Writable;
  /** Absolute path of its directory. */
  readonly #own: string;
  readonly incoming: Readable;
  readonly outgoing: Writable;
  /** Resolves when it and its guard are gone. */
  readonly gone: Promise<void>;
  #said: Buffer = Buffer.alloc(0);
  #closed = false;

  /**
   * Starts the guard alone.
   *
   * @param session absolute path of the session's private directory, in memory, which is removed if this process does not live to
   *   do it; it need not be there yet
   */
  constructor({ argv, env }: CarrierCommand, session: string) {
    count += 1;
    this.#own = join(session, `carrier-${count}`);
    const child = spawn("/bin/sh", ["-c", GUARD, "sh", this.#own, session, ...argv], {
      cwd: "/",
      env,
      detached: true,
      stdio: ["pipe", "pipe", "pipe", "pipe"],
    });
    this.#child = child;
    this.incoming = child.stdout as Readable;
    this.outgoing = child.stdin as Writable;
    this.#pipe = child.stdio[3] as Writable;
    this.#pipe.on("error", () => undefined);
    this.outgoing.on("error", () => undefined);
    child.stderr?.on("data", (chunk: Buffer) => {
      this.#said = Buffer.concat([this.#said, chunk]).subarray(-KEPT_STDERR);
    });
    this.gone = new Promise((resolve) => {
      child.once("error", () => resolve());
      child.once("exit", () => resolve());
    });
    void this.gone.then(() => {
      this.#unguarded();
    });
  }

  /**
   * Starts the carrier, in a directory of its own in the session's.
   *
   * @throws Error where that cannot be made; it is to be closed then, too
   */
  start(): void {
    mkdirSync(this.#own, { mode: 0o700 });
    this.#pipe.write("g\n");
  }

  /** Somebody has killed the guard: what it would have ended goes now. */
  #unguarded(): void {
    const { pid } = this.#child;
    if (this.#closed || pid === undefined) return;
    try {
      // The carrier, while it lives, keeps the number of this group from being given to others.
      process.kill(-pid, "SIGKILL");
    } catch {
      // It had ended, too.
    }
    this.incoming.destroy();
  }

  /** The last of what it said on its standard error. */
  said(): string {
    return this.#said.toString("utf8");
  }

  /** Ends its standard input, of which most carriers end; its guard stays. */
  end(): void {
    this.outgoing.end();
    this.incoming.on("error", () => undefined).resume();
  }

  /** Ends it: its standard input first, then as {@link GUARD} says. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.end();
    this.#pipe.end("k\n");
    this.#child.unref();
  }
}
