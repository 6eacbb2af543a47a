import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isatty } from "node:tty";

/** The terminal the launcher was started on, as far as a job with a terminal of its own needs it. */
export class Terminal {
  readonly #udiImage: string;
  #raw = false;

  /** @param udiImage the tree on the host */
  constructor(udiImage: string) {
    this.#udiImage = udiImage;
  }

  get size(): { rows: number; columns: number } {
    return { rows: process.stdout.rows ?? 24, columns: process.stdout.columns ?? 80 };
  }

  /** Every key goes to the job: its terminal makes ^C and ^Z of them, not this one. */
  enterRaw(): void {
    if (process.stdin.isTTY && !this.#raw) {
      process.stdin.setRawMode(true);
      this.#raw = true;
      // Node's raw mode still makes CR LF of LF on output, where it is the job's terminal that decides: an editor moves
      // down by a bare LF.
      spawnSync(join(this.#udiImage, "tools/stty"), ["-opost"], { stdio: ["inherit", "ignore", "ignore"], env: {} });
    }
  }

  restore(): void {
    if (!this.#raw) return;
    this.#raw = false;
    try {
      process.stdin.setRawMode(false);
    } catch {
      // The terminal went away: there is nothing to restore.
    }
  }

  onResize(listener: (size: { rows: number; columns: number }) => void): () => void {
    const report = () => listener(this.size);
    process.stdout.on("resize", report);
    return () => process.stdout.off("resize", report);
  }

  /**
   * The job's command was stopped by ^Z: so is the launcher, as any local command would be. Returns when the shell has
   * brought it back to the foreground.
   */
  suspendSelf(): void {
    this.restore();
    process.kill(0, "SIGSTOP");
    this.enterRaw();
    // Meanwhile another process was told of new sizes: that makes Node look, and tell who listens.
    process.kill(process.pid, "SIGWINCH");
  }
}

/**
 * Whether reading from standard input would stop us: it is a terminal, and we are in the background (`gangway run … &`).
 * Fields 5 and 8 of /proc/self/stat, proc(5).
 */
export function isInBackground(): boolean {
  if (!isatty(0)) return false;
  const stat = readFileSync("/proc/self/stat", "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[2] !== fields[5];
}
