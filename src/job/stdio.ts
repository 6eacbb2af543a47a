import { write } from "node:fs";
import { type Readable, Writable } from "node:stream";
import type { Attachment } from "../engine/types.ts";
import { isInBackground, type Terminal } from "./terminal.ts";

const RETRY_MS = 5;

/**
 * A descriptor of our own as a stream that never blocks the launcher: a reader who is slow stops the flow (and through
 * it the job), not the launcher's signals and timers, as process.stdout on a pipe would.
 */
export function descriptorStream(descriptor: number): Writable {
  const writeAll = (chunk: Buffer, offset: number, done: (error?: Error | null) => void): void => {
    write(descriptor, chunk, offset, chunk.length - offset, null, (error, written) => {
      if (error !== null) {
        // Somebody who shares this pipe made it non-blocking, and it is full.
        if (error.code === "EAGAIN") setTimeout(() => writeAll(chunk, offset, done), RETRY_MS);
        else done(error);
      } else if (offset + written < chunk.length) {
        writeAll(chunk, offset + written, done);
      } else {
        done();
      }
    });
  };
  return new Writable({
    write: (chunk: Buffer, _encoding, done) => writeAll(chunk, 0, done),
  });
}

export interface StdioEvents {
  /** Standard output or error takes no more: EPIPE, when nobody reads it any more; ENOSPC, when the disk is full. */
  onOutputError(descriptor: number, error: NodeJS.ErrnoException): void;
}

/** The command's standard streams, joined to the launcher's own. */
export class StdioBridge {
  readonly #attachment: Attachment;
  readonly #events: StdioEvents;
  /** Settled when the last byte of output has been written. */
  readonly drained: Promise<void>;

  constructor(attachment: Attachment, events: StdioEvents) {
    this.#attachment = attachment;
    this.#events = events;
    this.drained = Promise.all([this.#copy(attachment.stdout, 1), this.#copy(attachment.stderr, 2)]).then(
      () => undefined,
    );
    attachment.stdin.on("error", () => undefined);
  }

  /** Starts to hand standard input over; without it the command's is at its end from the start. */
  openInput(forward: boolean, tty: boolean, terminal: Terminal): void {
    if (!forward || isInBackground()) {
      this.#attachment.stdin.end();
      return;
    }
    // Without a terminal of the job's own, this one goes on making signals of ^C and ^Z, and lines of keys.
    if (tty) terminal.enterRaw();
    process.stdin.on("error", () => this.#attachment.stdin.end());
    process.stdin.pipe(this.#attachment.stdin);
  }

  /** Stops reading, so that the process can end, and drops the connection. */
  close(): void {
    process.stdin.unpipe(this.#attachment.stdin);
    process.stdin.destroy();
    this.#attachment.destroy();
  }

  #copy(source: Readable, descriptor: number): Promise<void> {
    const sink = descriptorStream(descriptor);
    return new Promise((resolve) => {
      sink.once("finish", resolve);
      sink.once("error", (error: NodeJS.ErrnoException) => {
        // What still comes is thrown away: the command must not wait for a reader who is gone.
        source.unpipe(sink);
        source.resume();
        source.once("close", resolve);
        this.#events.onOutputError(descriptor, error);
      });
      source.once("error", () => sink.end());
      source.pipe(sink);
    });
  }
}
