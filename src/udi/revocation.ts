import { string, uint32, uint64 } from "./wire.ts";

/** Source of everything here: OpenSSH's PROTOCOL.krl. */
const MAGIC = Buffer.from("SSHKRL\n\0", "latin1");
const FORMAT_VERSION = 1;
const SECTION_CERTIFICATES = 1;
const SECTION_SERIAL_LIST = 0x20;

export interface RevocationList {
  /** The blob of the authority whose certificates are meant. */
  readonly authority: Uint8Array;
  /** Serial numbers, 1 to 2^64-1 (0 cannot be revoked: it means "none"). */
  readonly serials: readonly bigint[];
  /** Counts up with each list of this authority. */
  readonly version: bigint;
  readonly generated: Date;
}

/**
 * A key revocation list, as `RevokedKeys` of sshd_config takes it: certificates of one authority, by serial number.
 *
 * @returns the file's bytes
 */
export function renderRevocationList({ authority, serials, version, generated }: RevocationList): Buffer {
  const sorted = [...new Set(serials)].sort((a, b) => (a < b ? -1 : 1));
  if (sorted[0] === 0n) throw new RangeError("the serial number 0 means none, and cannot be revoked");
  const certificates = Buffer.concat([
    string(authority),
    string(""), // reserved
    Buffer.from([SECTION_SERIAL_LIST]),
    string(Buffer.concat(sorted.map(uint64))),
  ]);
  return Buffer.concat([
    MAGIC,
    uint32(FORMAT_VERSION),
    uint64(version),
    uint64(BigInt(Math.floor(generated.getTime() / 1000))),
    uint64(0n), // flags
    string(""), // reserved
    string(""), // comment
    ...(sorted.length === 0 ? [] : [Buffer.from([SECTION_CERTIFICATES]), string(certificates)]),
  ]);
}
