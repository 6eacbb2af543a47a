import { setImmediate as turn } from "node:timers/promises";

/** A message of a few KiB leaves in as many turns of the event loop. */
const DONE_IN_ONE_TURN = 16;

/**
 * Does something for each of many, for some of them in one turn of the event loop: what is sent to these has left before
 * that for the next is made.
 *
 * @throws the signal's reason, when it is aborted meanwhile
 */
export async function inTurns<T>(
  items: readonly T[],
  signal: AbortSignal,
  work: (item: T, index: number) => void | Promise<void>,
): Promise<void> {
  for (const [index, item] of items.entries()) {
    if (index > 0 && index % DONE_IN_ONE_TURN === 0) {
      await turn();
      signal.throwIfAborted();
    }
    await work(item, index);
  }
}
