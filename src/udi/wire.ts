/** The data types of RFC 4251, section 5, as keys and certificates are made of them. */

/** `uint32`, big-endian. */
export function uint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** `uint64`, big-endian. */
export function uint64(value: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}

/** `string`: a length and the bytes. Text is encoded as UTF-8. */
export function string(value: string | Uint8Array): Buffer {
  const length = typeof value === "string" ? Buffer.byteLength(value) : value.length;
  const bytes = Buffer.allocUnsafe(4 + length);
  bytes.writeUInt32BE(length);
  if (typeof value === "string") bytes.write(value, 4);
  else bytes.set(value, 4);
  return bytes;
}

/** Reads what `string` wrote. Every read is checked against the end; a short buffer is a `RangeError`. */
export class WireReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** The bytes not read yet. */
  get rest(): Buffer {
    return this.#bytes.subarray(this.#at);
  }

  string(): Buffer {
    const left = this.rest;
    if (left.length < 4) throw new RangeError("it ends inside a length");
    const length = left.readUInt32BE();
    if (length > left.length - 4) throw new RangeError("it ends inside a field");
    this.#at += 4 + length;
    return left.subarray(4, 4 + length);
  }

  end(): void {
    if (this.rest.length > 0) throw new RangeError("bytes follow its end");
  }
}
