import type { TLSSocket } from "node:tls";
import { GangwayError, reasonOf } from "../config/errors.ts";
import { LineSplitter } from "./lines.ts";
import type { Pulse, PulseMember } from "./pulse.ts";

/** Why a kept connection is over. */
export interface EndReason {
  /** `closed`: the other side closed it, or died; `silent`: it said nothing for too long; `error`: anything else. */
  readonly kind: "closed" | "silent" | "error";
  /** For a message: what happened, as in `NODE: TEXT`. */
  readonly text: string;
}

export interface KeptEvents {
  /** A message; nothing of it has been checked but that it is JSON. */
  onMessage(message: unknown): void;
  /** The connection is over, without {@link KeptConnection.close}. Called once, and last. */
  onEnd(reason: EndReason): void;
}

/** A line may have so many bytes. */
export const LONGEST_LINE = 4 * 1024 * 1024;
/** What waits for a peer that reads nothing. */
const MOST_WAITING = 64 * 1024 * 1024;
/**
 * Characters of one write. node:tls keeps, for as long as the connection lives, a buffer as long as its longest write was:
 * with ten thousand connections that counts. What is a little shorter than 1 KiB fits the buffer that it has anyway.
 */
const WRITE_SIZE = 960;
/** How long a closing connection may take to hand over what was said before. */
const CLOSE_LIMIT_MS = 2000;

/** How long a network may be dead under a connection whose silence does not count, before the kernel looks. */
const KEEP_ALIVE_MS = 30_000;

const CLOSED: EndReason = { kind: "closed", text: "the connection was closed by the other side" };

const BEAT = `${JSON.stringify({ kind: "beat" })}\n`;
/** Instead of a beat: it may be stopped any moment, until a beat comes again. */
const RESTING = `${JSON.stringify({ kind: "resting" })}\n`;

/** A message as it is sent: made once, where it goes to many. */
export class Encoded {
  readonly line: string;

  constructor(line: string) {
    this.line = line;
  }
}

/**
 * @returns the message as a line, for {@link KeptConnection.send}
 * @throws GangwayError for one that is longer than a line may be
 */
export function encode(message: object): Encoded {
  const line = `${JSON.stringify(message)}\n`;
  const length = Buffer.byteLength(line);
  if (length > LONGEST_LINE) {
    throw new GangwayError(`what the job's other hosts are told has ${length} bytes, more than ${LONGEST_LINE}`, {
      hint: "make the environment (--env, --env-file) or the command line smaller",
    });
  }
  return new Encoded(line);
}

/**
 * The connection that a node keeps to the launcher, on either side: messages as lines of JSON, and a heartbeat, so that the
 * death of the other side, or of the network between, is noticed (docs/internals.md, section 11).
 */
export class KeptConnection implements PulseMember {
  readonly localAddress: string;
  readonly remoteAddress: string;
  readonly #socket: TLSSocket;
  readonly #pulse: Pulse;
  readonly #splitter: LineSplitter;
  #early: Buffer | undefined;
  #events: KeptEvents | undefined;
  #ended: EndReason | "here" | undefined;
  #queue: string[] = [];
  #waiting = 0;
  #writing = false;
  #drained: (() => void)[] = [];
  #heard: number;
  #said: number;
  /** This process is about to be stopped. */
  #resting = false;
  /** The other side said so of itself: its silence means nothing. */
  #otherRests = false;

  /**
   * Nothing is read until {@link attend}; heartbeats are sent from now on.
   *
   * @param socket whose other side has proven itself; what was read of it beyond the first line is `early`
   */
  constructor(socket: TLSSocket, pulse: Pulse, early: Buffer) {
    this.#socket = socket;
    this.#pulse = pulse;
    this.#early = early;
    this.localAddress = withoutPrefix(socket.localAddress ?? "");
    this.remoteAddress = withoutPrefix(socket.remoteAddress ?? "");
    this.#heard = this.#said = pulse.now;
    this.#splitter = new LineSplitter(LONGEST_LINE, (line) => this.#receive(line));
    socket.pause();
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.on("error", (error) => this.#end(reasonOfError(error)));
    socket.on("end", () => this.#end(CLOSED));
    socket.on("close", () => this.#end({ kind: "closed", text: "the connection was closed" }));
    pulse.add(this);
  }

  /** Begins to read. Called once; an end that was before is told then. */
  attend(events: KeptEvents): void {
    this.#events = events;
    const early = this.#early;
    this.#early = undefined;
    if (this.#ended !== undefined) {
      if (this.#ended !== "here") events.onEnd(this.#ended);
      return;
    }
    this.#heard = this.#pulse.now;
    this.#socket.on("data", (chunk: Buffer) => this.#take(chunk));
    if (early !== undefined && early.length > 0) this.#take(early);
    this.#socket.resume();
  }

  /** Says something; what is said to a connection that is over is dropped. */
  send(message: object | Encoded): void {
    this.#put((message instanceof Encoded ? message : encode(message)).line);
  }

  /** Characters that were said and not sent yet. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Resolves when all that was said is on its way, or the connection is over. */
  drained(): Promise<void> {
    if (this.#waiting === 0 || this.#ended !== undefined) return Promise.resolve();
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  /**
   * Says that this process is about to be stopped: until {@link wake} the other side leaves its silence uncounted. That the
   * other host is dead it notices then by TCP alone.
   *
   * @returns when all that was said is on its way, or the connection is over
   */
  rest(): Promise<void> {
    this.#resting = true;
    this.#put(RESTING);
    return this.drained();
  }

  /** This process goes on: its silence counts again. */
  wake(): void {
    if (!this.#resting) return;
    this.#resting = false;
    this.#put(BEAT);
  }

  /** Ends it from this side, behind what was said, or after two seconds. `onEnd` is not called any more. */
  async close(): Promise<void> {
    if (this.#ended !== undefined) return;
    const limit = setTimeout(() => this.#socket.destroy(), CLOSE_LIMIT_MS);
    const gone = new Promise<void>((resolve) => this.#socket.once("close", () => resolve()));
    const drained = this.drained();
    this.#events = undefined;
    await Promise.race([drained, gone]);
    this.#finish("here");
    this.#socket.end();
    this.#socket.resume();
    await gone;
    clearTimeout(limit);
  }

  /** The heartbeat's: for {@link Pulse} alone. */
  onPulse(now: number): void {
    const { beatMs, silentMs } = this.#pulse.heartbeat;
    if (this.#events !== undefined && !this.#otherRests && now - this.#heard >= silentMs) {
      this.#end({ kind: "silent", text: `nothing was heard for ${Math.round(silentMs / 1000)} s` });
    } else if (now - this.#said >= beatMs) {
      // Behind something that waits, a beat would say nothing new.
      if (this.#waiting === 0) this.#put(this.#resting ? RESTING : BEAT);
    }
  }

  #put(line: string): void {
    if (this.#ended !== undefined) return;
    this.#said = this.#pulse.now;
    this.#queue.push(line);
    this.#waiting += line.length;
    if (this.#waiting > MOST_WAITING) {
      this.#end({ kind: "error", text: `it does not read what it is told (${MOST_WAITING >> 20} MiB wait)` });
    } else if (!this.#writing) {
      this.#writing = true;
      // What is said in one go is written in one go.
      queueMicrotask(() => this.#write());
    }
  }

  /** One short write at a time (see WRITE_SIZE). */
  #write(): void {
    const piece = this.#piece();
    if (piece === undefined) {
      this.#writing = false;
      for (const resolve of this.#drained.splice(0)) resolve();
      return;
    }
    this.#socket.write(piece, () => {
      if (this.#ended !== undefined) return;
      this.#waiting -= piece.length;
      this.#write();
    });
  }

  /** The beginning of what waits. */
  #piece(): string | undefined {
    let piece = "";
    let taken = 0;
    for (const line of this.#queue) {
      const room = WRITE_SIZE - piece.length;
      if (line.length <= room) {
        piece += line;
        taken++;
        continue;
      }
      // Not between the halves of a character: each write is encoded by itself.
      const end = room > 0 && isHighSurrogate(line, room - 1) ? room - 1 : room;
      piece += line.slice(0, end);
      this.#queue[taken] = line.slice(end);
      break;
    }
    this.#queue.splice(0, taken);
    return piece === "" ? undefined : piece;
  }

  #take(chunk: Buffer): void {
    this.#heard = this.#pulse.now;
    this.#splitter.push(chunk);
    if (this.#splitter.overlong) this.#end({ kind: "error", text: "it sent a line that is too long" });
  }

  #receive(line: string): void {
    if (this.#ended !== undefined) return;
    let message: unknown;
    try {
      message = JSON.parse(line);
    } catch {
      this.#end({ kind: "error", text: "it sent what is no JSON" });
      return;
    }
    const kind = kindOf(message);
    if (kind === "beat" || kind === "resting") this.#otherRests = kind === "resting";
    else this.#events?.onMessage(message);
  }

  #end(reason: EndReason): void {
    if (this.#ended !== undefined) return;
    this.#finish(reason);
    this.#socket.destroy();
    this.#events?.onEnd(reason);
  }

  #finish(ended: EndReason | "here"): void {
    if (this.#ended !== undefined) return;
    this.#ended = ended;
    this.#pulse.remove(this);
    this.#queue = [];
    this.#waiting = 0;
    for (const resolve of this.#drained.splice(0)) resolve();
  }
}

/** A process that ends without having read all has its connection reset instead of closed. */
function reasonOfError(error: Error): EndReason {
  if ("code" in error && error.code === "ECONNRESET") return CLOSED;
  return { kind: "error", text: `the connection broke: ${reasonOf(error)}` };
}

function isHighSurrogate(text: string, index: number): boolean {
  return (text.charCodeAt(index) & 0xfc00) === 0xd800;
}

function kindOf(message: unknown): unknown {
  return typeof message === "object" && message !== null && "kind" in message ? message.kind : undefined;
}

/** An IPv4 address as a dual socket names it (`::ffff:10.0.0.1`) is that address. */
export function withoutPrefix(address: string): string {
  return address.toLowerCase().startsWith("::ffff:") && address.includes(".") ? address.slice(7) : address;
}
