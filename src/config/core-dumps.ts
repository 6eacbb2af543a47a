import { readFileSync, writeFileSync } from "node:fs";

/** Which kinds of memory a core dump of this process has: core(5). What a program starts inherits it. */
const FILTER = "/proc/self/coredump_filter";
const NO_MEMORY = "0";

let inherited: string | undefined;

/**
 * From here on a core dump of this process, written by the system to a disk, has none of its memory, in which private keys are
 * (design, invariant 4). Its registers, open files and threads are still told.
 */
export function keepMemoryOutOfCores(): void {
  try {
    const before = readFileSync(FILTER, "latin1").trim();
    writeFileSync(FILTER, NO_MEMORY);
    inherited = before;
  } catch {
    // A kernel without it, or a /proc that is not ours to write: then cores are as they were.
  }
}

/** Starts what runs a job's command, or becomes a launcher itself: its core dumps are as the user wants them. */
export function withCoresAsBefore<T>(start: () => T): T {
  if (inherited === undefined) return start();
  try {
    writeFileSync(FILTER, `0x${inherited}`);
    return start();
  } finally {
    writeFileSync(FILTER, NO_MEMORY);
  }
}
