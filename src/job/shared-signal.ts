import { constants } from "node:os";

/** One signal to the whole job comes from every host. */
const SAME_SIGNAL_MS = 1000;

/** Makes one signal of that which the launcher and the processes on a job's hosts get at about the same time. */
export class SharedSignal {
  readonly #onSignal: (name: NodeJS.Signals) => void;
  readonly #now: () => number;
  readonly #since = new Map<number, number>();
  /** Those that the others have told of, and this process has not got itself yet. */
  readonly #expected = new Set<number>();

  /**
   * @param onSignal called once for each
   * @param now milliseconds that only grow (tests)
   */
  constructor(onSignal: (name: NodeJS.Signals) => void, now: () => number = () => performance.now()) {
    this.#onSignal = onSignal;
    this.#now = now;
  }

  /** One of the processes on the hosts got it. A number that is no signal's is ignored. */
  hear(signal: number): void {
    if (this.#justNow(signal)) return;
    this.#expected.add(signal);
    this.#pass(signal);
  }

  /**
   * This process got it: each one counts, as somebody may press ^C thrice; but for the one that the others have told of already,
   * when the manager signals the whole job.
   */
  hearHere(signal: number): void {
    const told = this.#expected.delete(signal) && this.#justNow(signal);
    if (!told) this.#pass(signal);
  }

  #justNow(signal: number): boolean {
    return this.#now() - (this.#since.get(signal) ?? Number.NEGATIVE_INFINITY) < SAME_SIGNAL_MS;
  }

  #pass(signal: number): void {
    // From the first on: of one that comes again and again, the next counts when the time is over.
    this.#since.set(signal, this.#now());
    const [name] = Object.entries(constants.signals).find(([, number]) => number === signal) ?? [];
    if (name !== undefined) this.#onSignal(name as NodeJS.Signals);
  }
}
