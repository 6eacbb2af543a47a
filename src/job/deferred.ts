type Outcome<T> = { readonly value: T } | { readonly error: Error };

interface Waiting<T> {
  readonly promise: Promise<T>;
  readonly settle: (outcome: Outcome<T>) => void;
}

/**
 * A promise that is settled from outside (Node 20 has no Promise.withResolvers). Its rejection may go unheard.
 *
 * The promise itself is made when somebody asks for it, and let go when it is settled: of ten thousand nodes with ten of
 * these each, that is 40 MB.
 */
export class Deferred<T> {
  #outcome: Outcome<T> | undefined;
  #waiting: Waiting<T> | undefined;

  get promise(): Promise<T> {
    if (this.#outcome !== undefined) return settled(this.#outcome);
    this.#waiting ??= waiting();
    return this.#waiting.promise;
  }

  /** The first of `resolve` and `reject` counts. */
  resolve(value: T): void {
    this.#settle({ value });
  }

  reject(error: Error): void {
    this.#settle({ error });
  }

  #settle(outcome: Outcome<T>): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = outcome;
    this.#waiting?.settle(outcome);
    this.#waiting = undefined;
  }
}

function waiting<T>(): Waiting<T> {
  let settle: Waiting<T>["settle"] = () => undefined;
  const promise = new Promise<T>((resolve, reject) => {
    settle = (outcome) => ("value" in outcome ? resolve(outcome.value) : reject(outcome.error));
  });
  promise.catch(() => undefined);
  return { promise, settle };
}

function settled<T>(outcome: Outcome<T>): Promise<T> {
  if ("value" in outcome) return Promise.resolve(outcome.value);
  const promise = Promise.reject<T>(outcome.error);
  promise.catch(() => undefined);
  return promise;
}

/** The longest time Node's timers take (2^31-1 ms); they fire at once for a longer one. */
const LONGEST_TIMER_MS = 2_147_483_647;

/** A timer for any length of time. */
export class LongTimer {
  #timer: NodeJS.Timeout | undefined;

  constructor(milliseconds: number, onTime: () => void) {
    const wait = (rest: number) => {
      const part = Math.min(rest, LONGEST_TIMER_MS);
      this.#timer = setTimeout(() => (rest > part ? wait(rest - part) : onTime()), part);
    };
    wait(milliseconds);
  }

  clear(): void {
    clearTimeout(this.#timer);
  }
}

/**
 * Waits for a promise for a limited time.
 *
 * @param onTimeout makes the error
 */
export async function within<T>(promise: Promise<T>, milliseconds: number, onTimeout: () => Error): Promise<T> {
  let timer: LongTimer | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = new LongTimer(milliseconds, () => reject(onTimeout()));
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer?.clear();
  }
}

/** The promise's value, or the signal's reason thrown as soon as it is aborted. */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason as Error);
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    if (onAbort !== undefined) signal.removeEventListener("abort", onAbort);
  }
}

/** Resolves when requests that were just made are on their way: a connection is made in one turn and written to in the next. */
export async function requestsToLeave(): Promise<void> {
  for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
}
