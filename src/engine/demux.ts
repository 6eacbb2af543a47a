/** 1: standard output, 2: standard error. */
export type OutputStream = 1 | 2;

export interface Piece {
  readonly stream: OutputStream;
  readonly data: Buffer;
}

const HEADER_BYTES = 8;

/** Frames of a type above 2 carry a message of the engine itself (moby's stdcopy calls it Systemerr). */
const ENGINE_ERROR = 3;

/** A message is at most this long; more than that is no message but a stream that is not framed. */
const MESSAGE_LIMIT_BYTES = 65_536;

/**
 * Takes the two outputs of a container apart again, which engines interleave in frames: one byte of stream number, three of
 * zero, four of length (big-endian), then so many bytes of data
 * (Docker Engine API, "Attach to a container", "Stream format").
 *
 * dockerode's own never ends its outputs, ignores backpressure and falls back to raw on a bad header (codebases.md 4).
 */
export class FrameParser {
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  #type = 0;
  /** Bytes of data that the current frame still has to bring. */
  #missing = 0;
  #message: Buffer[] = [];

  /**
   * Takes the next bytes off the wire, cut anywhere.
   *
   * @returns the data in them, without copying: the pieces are views of `chunk`
   * @throws Error when the bytes are no frames, or the engine reports an error
   */
  feed(chunk: Buffer): Piece[] {
    const pieces: Piece[] = [];
    let offset = 0;
    while (offset < chunk.length) {
      offset = this.#missing === 0 ? this.#readHeader(chunk, offset) : this.#readData(chunk, offset, pieces);
    }
    return pieces;
  }

  #readHeader(chunk: Buffer, offset: number): number {
    const taken = chunk.copy(this.#header, this.#headerBytes, offset, offset + HEADER_BYTES - this.#headerBytes);
    this.#headerBytes += taken;
    if (this.#headerBytes === HEADER_BYTES) {
      this.#headerBytes = 0;
      this.#beginFrame();
    }
    return offset + taken;
  }

  #beginFrame(): void {
    this.#type = this.#header.readUInt8(0);
    this.#missing = this.#header.readUInt32BE(4);
    const padding = this.#header.readUIntBE(1, 3);
    const tooLong = this.#type === ENGINE_ERROR && this.#missing > MESSAGE_LIMIT_BYTES;
    if (this.#type > ENGINE_ERROR || padding !== 0 || tooLong) {
      throw new Error("the engine's stream is damaged: what should be a frame's header is none");
    }
  }

  #readData(chunk: Buffer, offset: number, pieces: Piece[]): number {
    const data = chunk.subarray(offset, offset + this.#missing);
    this.#missing -= data.length;
    if (this.#type === ENGINE_ERROR) this.#readMessage(data);
    // Type 0 is an echo of standard input, which stdcopy sends to the output too.
    else pieces.push({ stream: this.#type === 2 ? 2 : 1, data });
    return offset + data.length;
  }

  #readMessage(data: Buffer): void {
    this.#message.push(Buffer.from(data));
    if (this.#missing === 0)
      throw new Error(`the engine reports: ${Buffer.concat(this.#message).toString("utf8").trim()}`);
  }

  /** Whether the bytes so far end where a frame ends; if not, something was cut off. */
  get complete(): boolean {
    return this.#missing === 0 && this.#headerBytes === 0;
  }
}
