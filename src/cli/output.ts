import { writeSync } from "node:fs";
import { GangwayError } from "../config/errors.ts";

/** 128 and the number of SIGPIPE, by which a program ends that writes to a pipe without a reader. */
const READER_GONE = 141;
const RETRY_MS = 5;

/** Nobody reads our output any more (`gangway ps | head -1`): no reason for a message. */
export class ReaderGone extends GangwayError {}

/**
 * Writes to standard output, whole, before it returns. (process.stdout tells of an error only later, if ever: a full
 * disk would go unnoticed.)
 *
 * @throws GangwayError when it cannot be written
 */
export function print(output: string | Uint8Array): void {
  const bytes = typeof output === "string" ? Buffer.from(output) : output;
  for (let written = 0; written < bytes.length; ) {
    try {
      written += writeSync(1, bytes, written);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === "EPIPE") throw new ReaderGone("", { exitCode: READER_GONE });
      if (code !== "EAGAIN") {
        throw new GangwayError(`standard output cannot be written: ${message}`, { cause: error });
      }
      // Somebody who shares this pipe made it non-blocking, and it is full.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
    }
  }
}
