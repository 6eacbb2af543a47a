import { closeSync, constants, openSync } from "node:fs";

/** Whether there is a terminal whose ^Z reaches this process: it has a controlling one (tty(4)). */
export function hasControllingTerminal(): boolean {
  try {
    closeSync(openSync("/dev/tty", constants.O_RDONLY | constants.O_NOCTTY | constants.O_NONBLOCK));
    return true;
  } catch {
    return false;
  }
}

/** What a {@link Suspension} does to the containers: told to each node's init; what it returns is waited for before the stop. */
export type TellNodes = (word: "suspend" | "resume") => Promise<void> | void;

/**
 * A manager that suspends a job sends its processes SIGTSTP, some seconds later SIGSTOP, and SIGCONT in the end. What runs in
 * the job's containers it does not reach, unless they are below the step's freezer: so their inits are told, and stop
 * every process, the sessions' too. An engine's pause would not do: a paused init could not end its container when the job is
 * cancelled meanwhile. On a terminal nothing is changed: there ^Z stops the launcher alone, or is the job's own.
 */
export class Suspension {
  readonly #tell: TellNodes;
  readonly #stopSelf: () => void;
  #suspended = false;

  /** @param stopSelf (tests) */
  constructor(tell: TellNodes, stopSelf: () => void = () => process.kill(process.pid, "SIGSTOP")) {
    this.#tell = tell;
    this.#stopSelf = stopSelf;
  }

  /** Heeds the signals from here on, unless they may be those of a terminal. @returns what ends that */
  listen(): () => void {
    return hasControllingTerminal() ? () => undefined : this.listenAnyway();
  }

  /** Heeds the signals from here on, whoever sends them. @returns what ends that */
  listenAnyway(): () => void {
    const suspend = () => this.suspend();
    const resume = () => this.resume();
    process.on("SIGTSTP", suspend);
    process.on("SIGCONT", resume);
    return () => {
      process.off("SIGTSTP", suspend);
      process.off("SIGCONT", resume);
    };
  }

  /** Stops the containers' processes, and then this one, as it would have been without us. */
  suspend(): void {
    if (this.#suspended) return;
    this.#suspended = true;
    // The word is on its way by then. And SIGCONT may have come: nobody would send another.
    const stop = () =>
      setImmediate(() => {
        if (this.#suspended) this.#stopSelf();
      });
    const told = this.#tell("suspend");
    if (told === undefined) stop();
    else void told.then(stop, stop);
  }

  resume(): void {
    if (!this.#suspended) return;
    this.#suspended = false;
    void this.#tell("resume");
  }
}
