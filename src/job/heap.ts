import { setFlagsFromString } from "node:v8";

/** From here on memory counts for more than a little time. */
const MANY_NODES = 256;
/** From here on the launcher works long enough for code that V8 has optimized, and most of its memory is not in the heap that is collected. */
const VERY_MANY_NODES = 4096;

/**
 * Keeps what the launcher of many nodes makes and drops from filling the memory: by default V8 lets the space of new objects
 * grow to 48 MB, and that of old ones to several times what is in use. To be called before anything is made of the nodes;
 * with few nodes it does nothing.
 */
export function keepHeapSmall(nodes: number): void {
  if (nodes < MANY_NODES) return;
  setFlagsFromString("--semi-space-growth-factor=1");
  // What OpenSSL has of each connection counts as growth, too, and nothing of it can be collected.
  setFlagsFromString(`--heap-growing-percent=${nodes < VERY_MANY_NODES ? 150 : 100}`);
  // So small a space is collected sooner by one thread than by several that must be woken. Of marking that must not be said:
  // it may be under way, and V8 ends the process when it finds its own threads at it then.
  setFlagsFromString("--no-parallel-scavenge");
  // A second or two of work is over before optimized code has earned the time, and a tenth of all memory, that making it takes.
  if (nodes < VERY_MANY_NODES) setFlagsFromString("--no-opt");
}

/**
 * As {@link keepHeapSmall}, for the time of the membership, whose texts are long and soon dropped. While nodes come, most
 * stays in use, and collecting so often would take a quarter of the launcher's time.
 */
export function keepHeapSmaller(nodes: number): void {
  if (nodes >= MANY_NODES) setFlagsFromString("--heap-growing-percent=20");
}
