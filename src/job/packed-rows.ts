import { deflateRawSync, inflateRawSync } from "node:zlib";
import { ProtocolError } from "./shape.ts";

/*
 * Rows of as many bytes each, as short as they can be as text: column by column, since the first bytes of a cluster's
 * addresses are mostly the same; deflated (RFC 1951); in base64.
 */

/** @param rows each of `width` bytes */
export function packRows(rows: readonly Uint8Array[], width: number): string {
  const columns = Buffer.alloc(rows.length * width);
  for (const [index, row] of rows.entries()) {
    for (let column = 0; column < width; column++) columns[column * rows.length + index] = row[column] ?? 0;
  }
  return deflateRawSync(columns).toString("base64");
}

/**
 * The inverse of {@link packRows}.
 *
 * @param count how many rows there must be
 * @throws ProtocolError for anything else, however much it would be
 */
export function unpackRows(packed: string, width: number, count: number): Buffer[] {
  const columns = inflated(packed, count * width);
  return Array.from({ length: count }, (_, index) =>
    Buffer.from(Array.from({ length: width }, (_byte, column) => columns[column * count + index] ?? 0)),
  );
}

function inflated(packed: string, length: number): Buffer {
  try {
    // The limit is what keeps a few words from becoming gigabytes.
    const bytes = inflateRawSync(Buffer.from(packed, "base64"), { maxOutputLength: Math.max(length, 1) });
    if (bytes.length === length) return bytes;
  } catch {
    // Said below.
  }
  throw new ProtocolError("a packed list that is none, or of another length");
}
