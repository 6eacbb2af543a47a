import { constants } from "node:os";

/** One signal to the whole job comes from every host. */
const SAME_SIGNAL_MS = 1000;

/** Makes one signal of that which the processes of a job get at about the same time. */
export class SharedSignal {
  readonly #onSignal: (name: NodeJS.Signals) => void;
  readonly #now: () => number;
  readonly #since = new Map<number, number>();

  /**
   * @param onSignal called once for each
   * @param now milliseconds that only grow (tests)
   */
  constructor(onSignal: (name: NodeJS.Signals) => void, now: () => number = () => performance.now()) {
    this.#onSignal = onSignal;
    this.#now = now;
  }

  /** One of the processes got it. A number that is no signal's is ignored. */
  hear(signal: number): void {
    const now = this.#now();
    const since = this.#since.get(signal) ?? Number.NEGATIVE_INFINITY;
    if (now - since < SAME_SIGNAL_MS) return;
    // From the first on: of one that comes again and again, the next counts when the time is over.
    this.#since.set(signal, now);
    const [name] = Object.entries(constants.signals).find(([, number]) => number === signal) ?? [];
    if (name !== undefined) this.#onSignal(name as NodeJS.Signals);
  }
}
