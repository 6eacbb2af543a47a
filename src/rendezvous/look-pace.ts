import { monotonicMs } from "../config/clock.ts";

/** Between two looks at least, milliseconds: those that come meanwhile are looked up together. */
const SHORTEST_PAUSE_MS = 20;
/** Nobody waits longer, milliseconds. */
const LONGEST_PAUSE_MS = 1000;
/** Looks may take so long without a pause that they have to earn, milliseconds. */
const AT_ONCE_MS = 50;
/** From then on they may take this share of all time where few come. */
const SHARE = 0.02;
/** Where many come a look is worth this for each, milliseconds: a small part of what it takes to let one in. */
const WORTH_MS = 0.05;

/**
 * When the system's tables of sockets are worth another look. One takes some milliseconds, however few are looked for, and
 * more where this host has many sockets: so the few share a small part of the time, and as many as make it worthwhile are
 * not kept waiting.
 */
export class LookPace {
  readonly #most: number;
  /** What might be spent when the last look ended, milliseconds; what was spent too much is below zero. */
  #left = AT_ONCE_MS;
  #since = Number.NEGATIVE_INFINITY;
  /** So many are worth a look. */
  #enough = 1;
  #wake: (() => void) | undefined;

  /** @param most how many may wait for a look, whatever it takes: with more there might be no place for all */
  constructor(most: number) {
    this.#most = most;
  }

  /**
   * Resolves when it is time for the next look.
   *
   * @param waiting how many wait for it
   */
  async pause(waiting: () => number): Promise<void> {
    await this.#until(SHORTEST_PAUSE_MS, false);
    if (waiting() >= this.#enough) return;
    await this.#until(Math.min(-this.#left / SHARE, LONGEST_PAUSE_MS), true);
  }

  /** @param cpuMs of the look that has just ended, milliseconds; what others did meanwhile is not its */
  looked(cpuMs: number): void {
    const now = monotonicMs();
    this.#left = Math.min(AT_ONCE_MS, this.#left + (now - this.#since) * SHARE) - cpuMs;
    this.#since = now;
    this.#enough = Math.min(this.#most, cpuMs / WORTH_MS);
  }

  /** Another has come. @param waiting how many wait for a look now */
  came(waiting: number): void {
    if (waiting >= this.#enough) this.#wake?.();
  }

  /** Nobody is waited for any more: ends the pause, if there is one. */
  stop(): void {
    this.#enough = 0;
    this.#wake?.();
  }

  /** @param milliseconds behind the last look @param mayEnd whether enough who come end it */
  async #until(milliseconds: number, mayEnd: boolean): Promise<void> {
    const rest = this.#since + milliseconds - monotonicMs();
    if (rest <= 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, rest);
      if (!mayEnd) return;
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }
}
