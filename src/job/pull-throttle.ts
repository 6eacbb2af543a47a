import type { PullProgress } from "../engine/types.ts";

/** Of each node the launcher hears at most once in so long for each node there is, milliseconds. */
const EACH_NODE_MS = 10;
const LEAST_MS = 100;

/** Thins out what a node tells of its pull, so that a launcher of many nodes has no more to read than one of few. */
export class PullThrottle {
  readonly #intervalMs: number;
  readonly #send: (progress: PullProgress) => void;
  readonly #now: () => number;
  /** The newest of each layer that was not told; the one that waits longest is first. */
  readonly #waiting = new Map<string, PullProgress>();
  #last = Number.NEGATIVE_INFINITY;

  /**
   * @param nodes how many tell the launcher
   * @param now milliseconds that only grow (tests)
   */
  constructor(nodes: number, send: (progress: PullProgress) => void, now: () => number = () => performance.now()) {
    this.#intervalMs = Math.max(LEAST_MS, nodes * EACH_NODE_MS);
    this.#send = send;
    this.#now = now;
  }

  /** Tells it, or what waits longest, when it is time. */
  push(progress: PullProgress): void {
    this.#waiting.set(progress.layer, progress);
    const now = this.#now();
    if (now - this.#last < this.#intervalMs) return;
    this.#last = now;
    for (const [layer, oldest] of this.#waiting) {
      this.#waiting.delete(layer);
      this.#send(oldest);
      return;
    }
  }
}
