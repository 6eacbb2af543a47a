/**
 * Does a piece of work for each of some things, so many side by side: how many there are may be another user's word.
 *
 * @throws what the first piece of work that fails throws
 */
export async function inLanes<T>(
  count: number,
  things: readonly T[],
  work: (thing: T) => Promise<void>,
): Promise<void> {
  const left = things.values();
  const lane = async () => {
    for (const thing of left) await work(thing);
  };
  await Promise.all(Array.from({ length: Math.min(count, things.length) }, lane));
}
