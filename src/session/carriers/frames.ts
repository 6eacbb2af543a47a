import type { Duplex, Readable, Writable } from "node:stream";

/**
 * Over a carrier the bytes of a connection go in frames, each way: a byte that says what it is, three of length (big-endian),
 * then so many bytes. Only so can a side tell that the other has closed from that it is dead, and be heard while it has
 * nothing to say: a workload manager keeps the process on the node when its own client there is killed.
 */
const HEADER_BYTES = 4;
const KIND = {
  /** Bytes of the connection. */
  data: 0x64,
  /** No more of them; the other direction goes on. */
  fin: 0x66,
  /** Bytes that mean nothing. */
  padding: 0x70,
  /** Nothing: I live. */
  beat: 0x62,
  /** I am about to be stopped (^Z): my silence is no death. */
  resting: 0x72,
} as const;
const KINDS: ReadonlySet<number> = new Set(Object.values(KIND));
/** Those that have bytes. */
const LONG: ReadonlySet<number> = new Set([KIND.data, KIND.padding]);
/** Bytes of one frame; what a pipe gives at once is 64 KiB. */
const LONGEST = 1024 * 1024;

function header(kind: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES);
  bytes.writeUInt32BE(kind * 0x1000000 + length);
  return bytes;
}

/** For who waits, before there is a {@link Pump}. */
export const BEAT: Buffer = header(KIND.beat, 0);
/** For who is about to be stopped; what comes after it ends the rest. */
export const RESTING: Buffer = header(KIND.resting, 0);

function paddingOf(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  bytes.write("\n", length - 1);
  return Buffer.concat([header(KIND.padding, length), bytes]);
}

/** See {@link Carried}. */
const NEWLINE = paddingOf(1);

/** What a stream of frames is taken apart into. */
export interface FrameEvents {
  data(bytes: Buffer): void;
  fin(): void;
  beat(): void;
  resting(): void;
}

/** Takes frames apart, wherever the chunks they come in begin and end. */
export class FrameReader {
  readonly #events: FrameEvents;
  /** The beginning of a header. */
  #head: Buffer = Buffer.alloc(0);
  /** Bytes of data that are still to come of this frame. */
  #left = 0;
  /** What they are. */
  #kind: number = KIND.data;

  constructor(events: FrameEvents) {
    this.#events = events;
  }

  /** Bytes that are still to come of the frame that is under way. */
  get lacks(): number {
    return this.#left;
  }

  /** @throws Error for what is no frame */
  push(chunk: Buffer): void {
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#left > 0) {
        const part = rest.subarray(0, this.#left);
        this.#left -= part.length;
        rest = rest.subarray(part.length);
        if (this.#kind === KIND.data) this.#events.data(part);
        continue;
      }
      const needed = HEADER_BYTES - this.#head.length;
      const head = Buffer.concat([this.#head, rest.subarray(0, needed)]);
      rest = rest.subarray(needed);
      this.#head = head.length < HEADER_BYTES ? head : Buffer.alloc(0);
      if (head.length === HEADER_BYTES) this.#begin(head.readUInt8(0), head.readUIntBE(1, 3));
    }
  }

  #begin(kind: number, length: number): void {
    if (!KINDS.has(kind) || length > LONGEST || (!LONG.has(kind) && length > 0))
      throw new Error("what came is no frame");
    this.#kind = kind;
    if (LONG.has(kind)) this.#left = length;
    else if (kind === KIND.fin) this.#events.fin();
    else if (kind === KIND.beat) this.#events.beat();
    else this.#events.resting();
  }
}

/** One side of a carrier. */
export interface Carried {
  readonly incoming: Readable;
  readonly outgoing: Writable;
  /** So long without a word from the other side, it is dead. */
  readonly silenceMs: number;
  /**
   * Bytes that mean nothing, behind each small piece; undefined: none. Slurm takes a stream apart into messages of 1024 bytes, and its
   * TCP connections have Nagle's algorithm: the second of two waits until the first is acknowledged, which the other kernel delays by
   * 40 ms, unless it has something to send, or more than one segment has come. The last of these bytes is a newline, and so is what
   * stands behind each larger piece and each beat: what has none waits in a buffer of Slurm's.
   */
  readonly padding?: number | undefined;
}

/** How a connection over a carrier ended. */
export type CarriedEnd =
  /** Both directions, by themselves. */
  | "closed"
  /** The local side went before that. */
  | "left"
  /** The carrier, or the other side, went before that. */
  | "cut";

/** Beats that may be missed. */
const BEATS = 4;
/**
 * Bytes of a frame that are put together before the local side gets them. A carrier may give 1 KiB at a time, and ssh can do nothing
 * before it has a whole packet: to be woken for each piece takes more of the processor than the rest.
 */
const TOGETHER = 32 * 1024;
/** Somebody who has stopped a session comes back within a day, or never. */
const LONGEST_REST_MS = 24 * 3600 * 1000;

/**
 * Copies between a local connection and a carrier, each direction to its own end and no faster than its reader reads.
 * Afterwards the local connection is closed; the carrier's streams are the caller's to close.
 */
export class Pump {
  readonly #local: Duplex;
  readonly #carried: Carried;
  /** Never rejects. */
  readonly ended: Promise<CarriedEnd>;
  #settle: (end: CarriedEnd) => void = () => undefined;
  #over = false;
  #sentFin = false;
  #gotFin = false;
  #quiet = true;
  #missed = 0;
  #resting = false;
  /** The local side takes no more now. */
  #full = false;
  readonly #padding: Buffer | undefined;

  constructor(local: Duplex, carried: Carried) {
    this.#local = local;
    this.#carried = carried;
    const { padding = 0 } = carried;
    if (padding > 0) this.#padding = paddingOf(padding);
    let timer: NodeJS.Timeout | undefined;
    this.ended = new Promise<CarriedEnd>((resolve) => {
      this.#settle = resolve;
    }).finally(() => clearInterval(timer));
    timer = setInterval(() => this.#tick(), carried.silenceMs / BEATS);
    this.#up();
    this.#down();
  }

  #up(): void {
    const { outgoing } = this.#carried;
    const local = this.#local;
    local.on("data", (chunk: Buffer) => {
      this.#quiet = false;
      let room = true;
      outgoing.cork();
      for (let at = 0; at < chunk.length; at += LONGEST) {
        const part = chunk.subarray(at, at + LONGEST);
        outgoing.write(header(KIND.data, part.length));
        room = outgoing.write(part);
      }
      room = this.#pad(chunk.length) && room;
      outgoing.uncork();
      if (room) return;
      local.pause();
      outgoing.once("drain", () => local.resume());
    });
    const ended = () => {
      this.#sentFin = true;
      outgoing.write(header(KIND.fin, 0));
      this.#pad(0);
      this.#perhapsClosed();
    };
    // A socket says so even while it is paused: then there was nothing more in it.
    if (local.readableEnded) ended();
    else local.on("end", ended);
    local.on("error", () => this.#end("left"));
    local.on("close", () => this.#end("left"));
    outgoing.on("error", () => this.#end("cut"));
  }

  /** What stands behind so many bytes. @returns whether there is room for more */
  #pad(length: number): boolean {
    if (this.#padding === undefined) return true;
    return this.#carried.outgoing.write(length < this.#padding.length ? this.#padding : NEWLINE);
  }

  #down(): void {
    const { incoming } = this.#carried;
    const local = this.#local;
    let pieces: Buffer[] = [];
    let held = 0;
    const reader = new FrameReader({
      data: (bytes) => {
        pieces.push(bytes);
        held += bytes.length;
        if (reader.lacks > 0 && held < TOGETHER) return;
        this.#give(pieces.length === 1 ? bytes : Buffer.concat(pieces));
        pieces = [];
        held = 0;
      },
      fin: () => {
        this.#gotFin = true;
        local.end();
        this.#perhapsClosed();
      },
      beat: () => undefined,
      resting: () => {
        this.#resting = true;
      },
    });
    incoming.on("data", (chunk: Buffer) => {
      if (this.#over) return;
      this.#missed = 0;
      this.#resting = false;
      try {
        reader.push(chunk);
      } catch {
        this.#end("cut");
      }
    });
    if (incoming.readableEnded || incoming.destroyed) this.#end("cut");
    incoming.on("end", () => this.#end("cut"));
    incoming.on("error", () => this.#end("cut"));
    incoming.on("close", () => this.#end("cut"));
    incoming.resume();
    // Both may have been paused, so that nothing of theirs was lost.
    local.resume();
  }

  /** Bytes for the local side, as they came. */
  #give(bytes: Buffer): void {
    const { incoming } = this.#carried;
    if (this.#local.write(bytes)) return;
    this.#full = true;
    incoming.pause();
    this.#local.once("drain", () => {
      this.#full = false;
      incoming.resume();
    });
  }

  /** It counts this process's own running time: one that was stopped itself could not hear. */
  #tick(): void {
    const { outgoing, silenceMs } = this.#carried;
    if (this.#quiet && outgoing.writableLength === 0) {
      outgoing.write(BEAT);
      this.#pad(Number.POSITIVE_INFINITY);
    }
    this.#quiet = true;
    // Nothing is heard either while it is the local side that does not read.
    if (this.#full) return;
    this.#missed += 1;
    const most = this.#resting ? (LONGEST_REST_MS / silenceMs) * BEATS : BEATS;
    if (this.#missed > most) this.#end("cut");
  }

  #perhapsClosed(): void {
    if (this.#sentFin && this.#gotFin) this.#end("closed");
  }

  #end(how: CarriedEnd): void {
    if (this.#over) return;
    this.#over = true;
    // What is on its way to the local side still gets there.
    if (how === "closed") this.#local.end();
    else this.#local.destroy();
    this.#settle(how);
  }
}
