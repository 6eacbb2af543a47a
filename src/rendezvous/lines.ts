const NEWLINE = 0x0a;

/** Takes a stream of bytes apart into lines, and keeps no more of one than its limit. */
export class LineSplitter {
  readonly #limit: number;
  readonly #onLine: (line: string, cut: boolean) => void;
  #parts: Buffer[] = [];
  #length = 0;

  /**
   * @param limit bytes of a line that are kept, without the newline
   * @param onLine called with each line, read as UTF-8, and whether it was longer than the limit
   */
  constructor(limit: number, onLine: (line: string, cut: boolean) => void) {
    this.#limit = limit;
    this.#onLine = onLine;
  }

  push(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      if (this.#length === 0 && end - start <= this.#limit) this.#onLine(chunk.toString("utf8", start, end), false);
      else {
        this.#keep(chunk.subarray(start, end));
        this.#emit();
      }
      start = end + 1;
    }
    if (start < chunk.length) this.#keep(chunk.subarray(start));
  }

  /** Whether the line that is under way is longer than the limit already. */
  get overlong(): boolean {
    return this.#length > this.#limit;
  }

  /** The end of the stream: what has no newline is a line too. */
  end(): void {
    if (this.#length > 0) this.#emit();
  }

  #keep(part: Buffer): void {
    const room = this.#limit - this.#length;
    // A copy, since a chunk may be part of something much longer that would be held by it.
    if (room > 0 && part.length > 0) this.#parts.push(Buffer.from(part.subarray(0, room)));
    this.#length += part.length;
  }

  #emit(): void {
    const cut = this.overlong;
    const [only] = this.#parts;
    const bytes = this.#parts.length === 1 && only !== undefined ? only : Buffer.concat(this.#parts);
    this.#parts = [];
    this.#length = 0;
    this.#onLine(bytes.toString("utf8"), cut);
  }
}
