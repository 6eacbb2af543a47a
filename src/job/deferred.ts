/** A promise that is settled from outside (Node 20 has no Promise.withResolvers). Its rejection may go unheard. */
export class Deferred<T> {
  readonly promise: Promise<T>;
  resolve!: (value: T) => void;
  reject!: (error: Error) => void;

  constructor() {
    this.promise = new Promise<T>((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.promise.catch(() => undefined);
  }
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
