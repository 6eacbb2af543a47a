import { fstatSync, read, write } from "node:fs";
import { Readable, Transform, type TransformCallback, Writable } from "node:stream";
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

/** Of /dev/null, /dev/zero and the like, which always have an answer at once (devices.txt of the kernel's documentation). */
const MEMORY_DEVICES = 1;

/**
 * Standard input. Of a file, or a device such as /dev/null, process.stdin would load more of Node itself, in the
 * moment in which all wait for the command.
 */
function standardInput(): Readable {
  const kind = fstatSync(0);
  const atOnce = kind.isFile() || (kind.isCharacterDevice() && majorOf(kind.rdev) === MEMORY_DEVICES);
  return atOnce ? descriptorSource(0) : process.stdin;
}

/** As makedev(3) of the GNU C library puts it together. */
function majorOf(device: number): number {
  return (device >>> 8) & 0xfff;
}

/** More than what a pipe holds, and less than what a stream keeps in memory. */
const READ_BYTES = 64 * 1024;

/** A descriptor of our own, of what never has to be waited for, as a stream. */
function descriptorSource(descriptor: number): Readable {
  return new Readable({
    highWaterMark: READ_BYTES,
    read() {
      const bytes = Buffer.allocUnsafeSlow(READ_BYTES);
      read(descriptor, bytes, 0, READ_BYTES, null, (error, count) => {
        if (error !== null) this.destroy(error);
        else this.push(count === 0 ? null : bytes.subarray(0, count));
      });
    },
  });
}

export interface StdioEvents {
  /** Standard output or error takes no more: EPIPE, when nobody reads it any more; ENOSPC, when the disk is full. */
  onOutputError(descriptor: number, error: NodeJS.ErrnoException): void;
}

/** Puts a label before every line; a last line without an end gets one, since another label may follow. */
class Labelled extends Transform {
  readonly #label: Buffer;
  #pending: Buffer[] = [];

  constructor(label: string) {
    super();
    this.#label = Buffer.from(`${label}: `);
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      this.#line(chunk.subarray(start, end + 1));
      start = end + 1;
    }
    if (start < chunk.length) this.#pending.push(chunk.subarray(start));
    // A line without an end must not fill the memory.
    if (this.#pending.reduce((sum, { length }) => sum + length, 0) > LONGEST_LABELLED) this.#line(Buffer.from("\n"));
    done();
  }

  override _flush(done: TransformCallback): void {
    if (this.#pending.length > 0) this.#line(Buffer.from("\n"));
    done();
  }

  #line(rest: Buffer): void {
    this.push(Buffer.concat([this.#label, ...this.#pending, rest]));
    this.#pending = [];
  }
}

const NEWLINE = 0x0a;
const LONGEST_LABELLED = 64 * 1024;

/** The streams of a command on one node, and what its lines are labelled with, where several nodes run it. */
export interface Outlet {
  readonly attachment: Attachment;
  readonly label?: string;
}

/** The standard streams of the command, or of all commands, joined to the launcher's own. */
export class StdioBridge {
  readonly #outlets: readonly Outlet[];
  readonly #events: StdioEvents;
  readonly #drained: readonly Promise<void>[];
  /** There from when standard input is handed over. */
  #input: Readable | undefined;
  /** Settled when the last byte of output has been written. */
  readonly drained: Promise<void>;

  constructor(outlets: readonly Outlet[], events: StdioEvents) {
    this.#outlets = outlets;
    this.#events = events;
    // One for each descriptor, so that the lines of several nodes come one behind the other.
    const sinks = [1, 2].map((descriptor) => this.#sink(descriptor, outlets.length));
    this.#drained = outlets.map(async ({ attachment, label }) => {
      attachment.stdin.on("error", () => undefined);
      const [out, err] = sinks;
      if (out === undefined || err === undefined) throw new TypeError("no sinks");
      await Promise.all([copy(attachment.stdout, out, label), copy(attachment.stderr, err, label)]);
    });
    this.drained = Promise.all(this.#drained).then(() => undefined);
  }

  /** Settled when the last byte of the output of one of the outlets has been written. */
  async drainedOf(index: number): Promise<void> {
    await this.#drained[index];
  }

  /** Starts to hand standard input over; without it, and for several commands, it is at its end from the start. */
  openInput(forward: boolean, tty: boolean, terminal: Terminal): void {
    const [first, ...others] = this.#outlets;
    if (first === undefined || others.length > 0 || !forward || isInBackground()) {
      for (const { attachment } of this.#outlets) attachment.stdin.end();
      return;
    }
    // Without a terminal of the job's own, this one goes on making signals of ^C and ^Z, and lines of keys.
    if (tty) terminal.enterRaw();
    this.#input = standardInput();
    this.#input.on("error", () => first.attachment.stdin.end());
    this.#input.pipe(first.attachment.stdin);
  }

  /**
   * Stops reading, so that the process can end, and drops the connections. Input that was not opened is left as it is: the
   * launch may be begun anew, on fewer nodes.
   */
  close(): void {
    this.#input?.unpipe();
    this.#input?.destroy();
    for (const { attachment } of this.#outlets) attachment.destroy();
  }

  #sink(descriptor: number, sources: number): Sink {
    const stream = descriptorStream(descriptor);
    // Each source that is joined listens.
    stream.setMaxListeners(10 + 5 * sources);
    const sink: Sink = { stream, failed: false };
    stream.once("error", (error: NodeJS.ErrnoException) => {
      sink.failed = true;
      this.#events.onOutputError(descriptor, error);
    });
    return sink;
  }
}

interface Sink {
  readonly stream: Writable;
  failed: boolean;
}

/** Resolves when all of the source has been written, or nothing can be written any more. */
async function copy(source: Readable, sink: Sink, label: string | undefined): Promise<void> {
  const { stream } = sink;
  const lines = label === undefined ? source : source.pipe(new Labelled(label));
  source.on("error", () => undefined);
  if (lines instanceof Labelled) source.once("close", () => lines.end());
  lines.pipe(stream, { end: false });
  const over = new Promise<void>((resolve) => {
    lines.once("end", resolve);
    lines.once("close", resolve);
  });
  // What still comes when nobody reads is thrown away: the command must not wait for a reader who is gone.
  stream.once("error", () => {
    lines.unpipe(stream);
    lines.resume();
  });
  await over;
  if (sink.failed) return;
  await new Promise<void>((resolve) => {
    stream.once("error", () => resolve());
    stream.write("", () => resolve());
  });
}
