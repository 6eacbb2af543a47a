import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import type { Identity } from "../config/identity.ts";
import { formatIdentity, thisProcess } from "./process.ts";

/**
 * The process that clears up when the launcher is killed: started before there is anything to clear, in a session of
 * its own, holding a pipe from us (docs/internals.md, section 5).
 */
export class Watchdog {
  readonly #child: ChildProcess;

  /**
   * @param containers names of what has to be removed
   * @param also absolute paths of files of the user's that go with the job
   */
  constructor(
    udiImage: string,
    socketPath: string,
    jobDirectory: string,
    identity: Identity,
    containers: readonly string[],
    also: readonly string[],
  ) {
    const user = process.getuid?.() === 0 ? ["--uid", `${identity.uid}`, "--gid", `${identity.gid}`] : [];
    // A successor of the same name, started as soon as we are dead, is not ours.
    const launcher = formatIdentity(thisProcess());
    const named = /^[A-Za-z0-9_.:@+-]{1,400}$/.test(launcher) ? ["--launcher", launcher] : [];
    const ours = [...named, ...also.flatMap((file) => ["--also", file])];
    this.#child = spawn(
      join(udiImage, "libexec/watchdog"),
      ["--socket", socketPath, "--job-dir", jobDirectory, ...user, ...ours, ...containers],
      // An empty environment: it lives longer than anything the user's environment was meant for.
      { stdio: ["pipe", "ignore", "ignore"], detached: true, env: {}, cwd: "/" },
    );
    this.#child.on("error", () => undefined);
    this.#child.stdin?.on("error", () => undefined);
    this.#child.unref();
  }

  /** All is cleared: it may go. Waits for that, so that no zombie of ours is left to somebody else's PID 1. */
  async dismiss(): Promise<void> {
    if (this.#child.pid === undefined || this.#child.exitCode !== null) return;
    const gone = new Promise<void>((resolve) => this.#child.once("exit", () => resolve()));
    // Else nothing would keep this process, and it would end here, with whatever exit code there is.
    this.#child.ref();
    this.#child.stdin?.end("k");
    await gone;
  }

  /** Something could not be cleared by us: it goes on trying when we are gone. */
  takeOver(): void {
    this.#child.stdin?.destroy();
  }
}
