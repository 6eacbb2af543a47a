/*
 * As much of the tar format (POSIX.1-1988 "ustar", with GNU's numbers in base 256) as it takes to hand an engine some
 * files, and to read of an archive what it begins with. tar-stream, which reads images' archives, cannot write
 * ids above 262143 and costs 8 ms to load.
 */

const BLOCK = 512;

/** What is to be in an archive. Paths are relative, without a slash in front. */
export type TarEntry = { readonly path: string; readonly mode: number } & (
  | { readonly type: "directory" }
  | { readonly type: "file"; readonly content: Buffer }
  | { readonly type: "link"; readonly target: string }
  | { readonly type: "hardlink"; readonly target: string }
);

const TYPE_FLAGS = { file: "0", hardlink: "1", link: "2", directory: "5" } as const;

export interface TarOwner {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Writes an archive, all of it owned by one user, of the beginning of time.
 *
 * @throws RangeError for a path or a target of more than 100 bytes
 */
export function writeTar(entries: readonly TarEntry[], owner: TarOwner): Buffer {
  const parts: Buffer[] = [];
  for (const entry of entries) {
    const content = entry.type === "file" ? entry.content : Buffer.alloc(0);
    parts.push(headerOf(entry, content.length, owner), content, Buffer.alloc(-content.length & (BLOCK - 1)));
  }
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]);
}

function headerOf(entry: TarEntry, size: number, { uid, gid }: TarOwner): Buffer {
  const header = Buffer.alloc(BLOCK);
  writeName(header, 0, entry.type === "directory" ? `${entry.path}/` : entry.path);
  writeNumber(header, 100, 8, entry.mode);
  writeNumber(header, 108, 8, uid);
  writeNumber(header, 116, 8, gid);
  writeNumber(header, 124, 12, size);
  writeNumber(header, 136, 12, 0);
  header.write("        ", 148, "latin1");
  header.write(TYPE_FLAGS[entry.type], 156, "latin1");
  if ("target" in entry) writeName(header, 157, entry.target);
  header.write("ustar\0" + "00", 257, "latin1");
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return header;
}

function writeName(header: Buffer, at: number, name: string): void {
  if (Buffer.byteLength(name) > 100) throw new RangeError(`too long for an archive: ${name}`);
  header.write(name, at, "utf8");
}

function writeNumber(header: Buffer, at: number, width: number, value: number): void {
  const digits = value.toString(8);
  if (digits.length < width) {
    header.write(`${digits.padStart(width - 1, "0")}\0`, at, "latin1");
    return;
  }
  // GNU's: the first bit set, then the number in bytes, the most significant first.
  header.writeUInt8(0x80, at);
  header.writeUIntBE(value, at + width - 6, 6);
}

/** What the first entry of an archive says of itself. */
export interface TarHeader extends TarOwner {
  readonly type: "directory" | "file" | "other";
  readonly mode: number;
  readonly size: number;
  /** Where its content begins. */
  readonly end: number;
}

/** @returns undefined where more has to come, or it is no archive */
export function firstTarHeader(bytes: Buffer): TarHeader | undefined {
  let extended: ReadonlyMap<string, string> = new Map();
  for (let at = 0; at + BLOCK <= bytes.length; ) {
    const block = bytes.subarray(at, at + BLOCK);
    if (block.toString("latin1", 257, 262) !== "ustar") return undefined;
    const flag = block.toString("latin1", 156, 157);
    const size = readNumber(block, 124, 12);
    const end = at + BLOCK;
    if (flag === "x" || flag === "g") {
      const next = end + size + (-size & (BLOCK - 1));
      if (next + BLOCK > bytes.length) return undefined;
      extended = readExtended(bytes.subarray(end, end + size));
      at = next;
      continue;
    }
    const number = (key: string, plain: number) => Number(extended.get(key) ?? plain);
    return {
      type: flag === "5" ? "directory" : flag === "0" || flag === "\0" ? "file" : "other",
      mode: readNumber(block, 100, 8) & 0o7777,
      uid: number("uid", readNumber(block, 108, 8)),
      gid: number("gid", readNumber(block, 116, 8)),
      size: number("size", size),
      end,
    };
  }
  return undefined;
}

function readNumber(block: Buffer, at: number, width: number): number {
  if (((block[at] ?? 0) & 0x80) !== 0) return block.readUIntBE(at + width - 6, 6);
  const digits = block.toString("latin1", at, at + width).replace(/[\0 ]+/g, "");
  return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : Number.NaN;
}

/** Records `LENGTH KEY=VALUE\n` (pax, POSIX.1-2001). */
function readExtended(bytes: Buffer): Map<string, string> {
  const records = new Map<string, string>();
  for (let at = 0; at < bytes.length; ) {
    const length = Number.parseInt(bytes.toString("latin1", at, at + 12), 10);
    if (!(length > 0)) break;
    const record = bytes.toString("utf8", at, at + length);
    const match = /^\d+ ([^=]+)=(.*)\n$/s.exec(record);
    if (match?.[1] !== undefined && match[2] !== undefined) records.set(match[1], match[2]);
    at += length;
  }
  return records;
}
