import { Readable, Writable } from "node:stream";
import type { TLSSocket } from "node:tls";
import { GangwayError, reasonOf } from "../config/errors.ts";

/**
 * A connection that carries the bytes of one direction to their end: a command's standard input, output or error. Which
 * direction that is, its name says to those who made it: one side calls {@link receive}, the other {@link send}.
 */
export class StreamLink {
  readonly #socket: TLSSocket;
  readonly #early: Buffer;

  /** @param early what was read of it already */
  constructor(socket: TLSSocket, early: Buffer) {
    this.#socket = socket;
    this.#early = early;
    socket.pause();
    // Whoever takes the link hears of it by what he takes.
    socket.on("error", () => undefined);
  }

  /** The bytes the other side sends. */
  receive(): Incoming {
    return new Incoming(this.#socket, this.#early);
  }

  /** Where the bytes for the other side go. */
  send(): Outgoing {
    return new Outgoing(this.#socket);
  }

  /** Nobody wants it. */
  refuse(): void {
    this.#socket.destroy();
  }
}

/**
 * What comes in, to its end. A connection that is cut may look like an end: whether all was there is told by `bytes`, against
 * what the other side says it sent.
 */
export class Incoming extends Readable {
  /** Received so far. */
  bytes = 0;
  readonly #socket: TLSSocket;

  constructor(socket: TLSSocket, early: Buffer) {
    super();
    this.#socket = socket;
    if (early.length > 0) this.#take(early);
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    const end = () => {
      this.push(null);
      // Only now: for the other side, this is the receipt for all of it.
      socket.end();
    };
    // A stream without a byte may have come to its end together with its first line.
    if (socket.readableEnded) end();
    else socket.on("end", end);
    socket.on("error", (error) => this.destroy(cut(reasonOf(error))));
    socket.on("close", () => {
      if (!this.readableEnded && !socket.readableEnded) this.destroy(cut("it was closed"));
    });
    if (socket.destroyed) this.destroy(cut("it was closed"));
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    // What was read to its end closes by itself, once the receipt is on its way.
    if (!this.#socket.readableEnded) this.#socket.destroy();
    done(error);
  }

  #take(chunk: Buffer): void {
    this.bytes += chunk.length;
    if (!this.push(chunk)) this.#socket.pause();
  }
}

/** What goes out. `finish` comes when the other side has received all of it. */
export class Outgoing extends Writable {
  /** Handed to the connection so far. */
  bytes = 0;
  readonly #socket: TLSSocket;
  #finished: ((error?: Error | null) => void) | undefined;

  constructor(socket: TLSSocket) {
    super({ decodeStrings: true });
    this.#socket = socket;
    socket.on("error", (error) => this.#over(cut(reasonOf(error))));
    socket.on("end", () => this.#over(this.#finished === undefined ? unread() : undefined));
    socket.on("close", () => this.#over(cut("it was closed")));
    if (socket.destroyed) this.destroy(cut("it was closed"));
    // The other side sends nothing but its end.
    socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.bytes += chunk.length;
    this.#socket.write(chunk, (error) => done(error === null || error === undefined ? null : cut(reasonOf(error))));
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#finished = done;
    this.#socket.end();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }

  #over(error: Error | undefined): void {
    const finished = this.#finished;
    if (finished !== undefined) {
      this.#finished = () => undefined;
      finished(error);
    } else this.destroy(error);
  }
}

function cut(reason: string): GangwayError {
  return new GangwayError(`the stream was cut: ${reason}`);
}

/** The other side has closed it before the end: as EPIPE is for a pipe. */
function unread(): GangwayError {
  return new GangwayError("the stream's other end reads no more");
}
