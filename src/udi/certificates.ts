import { randomBytes } from "node:crypto";
import { GangwayError } from "../config/errors.ts";
import { type Authority, publicKeyLine } from "./keys.ts";
import { hasControl, quoted } from "./names.ts";
import { keyFields, type PublicKey, parsePublicKey, readPublicKeyBlob } from "./public-keys.ts";
import { string, uint32, uint64 } from "./wire.ts";

/** Source of everything here: OpenSSH's PROTOCOL.certkeys. */
const KIND = { user: 1, host: 2 } as const;
const FOREVER = 2n ** 64n - 1n;
const NONCE_BYTES = 32;
/** `SSHKEY_CERT_MAX_PRINCIPALS`: a certificate with more is invalid to every OpenSSH. */
const MOST_PRINCIPALS = 256;
const LONGEST_KEY_ID = 1024;

/** What `ssh-keygen -s` gives a user certificate. It is the user's own container: nothing is held back. */
export const USER_EXTENSIONS: readonly string[] = [
  "permit-X11-forwarding",
  "permit-agent-forwarding",
  "permit-port-forwarding",
  "permit-pty",
  "permit-user-rc",
];

export interface CertificateRequest {
  readonly kind: "host" | "user";
  /** A public key line, or the key's blob. */
  readonly publicKey: string | Buffer;
  /** What sshd's log calls the certificate; printable, one line. */
  readonly keyId: string;
  /** 0 to 2^64-1; what a key is revoked and its sessions are ended by. */
  readonly serial: bigint;
  /**
   * For a host the names and addresses it is connected to by, which are written in small letters; for a user the accounts
   * or roles. Never empty.
   */
  readonly principals: readonly string[];
  /** Whole seconds count. Absent: since ever. */
  readonly validAfter?: Date;
  /** Exclusive; whole seconds count. Absent: for ever. */
  readonly validBefore?: Date;
  /** Names of flags without a value; absent: `USER_EXTENSIONS` for a user, none for a host. */
  readonly extensions?: readonly string[];
}

/**
 * Signs a certificate.
 *
 * @returns the certificate line, `TYPE-cert-v01@openssh.com BASE64 KEYID`, without a newline
 * @throws GangwayError if the key cannot be read, or the request would make a certificate that is invalid or means more
 *   than it says (no principals: valid for everybody)
 */
export function signCertificate(authority: Authority, request: CertificateRequest): string {
  const key = readKey(request.publicKey);
  // ssh turns what was typed, and an alias, into small letters before it compares them, letter by letter.
  const named = request.kind === "host" ? request.principals.map((name) => name.toLowerCase()) : request.principals;
  const principals = checkPrincipals(named);
  const { validAfter, validBefore } = validity(request);
  if (request.serial < 0n || request.serial > FOREVER) throw bad("its serial number is not one of 64 bits");
  checkKeyId(request.keyId);
  const extensions = request.extensions === undefined ? usual(request.kind) : encodeExtensions(request.extensions);
  const type = certificateType(key.type);
  const signed = Buffer.concat([
    string(type),
    string(randomBytes(NONCE_BYTES)),
    keyFields(key),
    uint64(request.serial),
    uint32(KIND[request.kind]),
    string(request.keyId),
    string(Buffer.concat(principals.map((principal) => string(principal)))),
    uint64(validAfter),
    uint64(validBefore),
    string(""), // critical options
    string(extensions),
    string(""), // reserved
    string(authority.blob),
  ]);
  const blob = Buffer.concat([signed, string(authority.sign(signed))]);
  return publicKeyLine(type, blob, request.keyId);
}

function readKey(key: string | Buffer): PublicKey {
  return typeof key === "string" ? parsePublicKey(key) : readPublicKeyBlob(key);
}

/** `ssh-ed25519` -> `ssh-ed25519-cert-v01@openssh.com`; those of security keys have the domain already. */
function certificateType(type: string): string {
  return `${type.replace(/@openssh\.com$/, "")}-cert-v01@openssh.com`;
}

function checkPrincipals(principals: readonly string[]): string[] {
  const unique = [...new Set(principals)];
  if (unique.length === 0) throw bad("it would be valid for everybody: it names no principal");
  if (unique.length > MOST_PRINCIPALS)
    throw bad(`it names ${unique.length} principals; ${MOST_PRINCIPALS} are the most`);
  for (const principal of unique) {
    // Clients match a host's principals as patterns, ssh-keygen separates them by commas, principals files by blanks.
    if (!/^[\x21-\x7e]+$/.test(principal) || /[*?!,]/.test(principal))
      throw bad(`${quoted(principal)} cannot be a principal`);
  }
  return unique;
}

function checkKeyId(keyId: string): void {
  if (keyId === "" || keyId.length > LONGEST_KEY_ID || hasControl(keyId))
    throw bad("its key id must be one printable line of at most 1024 characters");
}

function validity({ validAfter, validBefore }: CertificateRequest): { validAfter: bigint; validBefore: bigint } {
  const after = validAfter === undefined ? 0n : seconds(validAfter);
  const before = validBefore === undefined ? FOREVER : seconds(validBefore);
  if (before <= after) throw bad("it would end before it begins");
  return { validAfter: after, validBefore: before };
}

function seconds(date: Date): bigint {
  const time = Math.floor(date.getTime() / 1000);
  if (!(time >= 0)) throw bad("its validity is not a time after 1970");
  return BigInt(time);
}

let ofUsers: Buffer | undefined;

/** Encoded once: a launch signs two certificates for each of its nodes. */
function usual(kind: CertificateRequest["kind"]): Buffer {
  if (kind === "host") return Buffer.alloc(0);
  ofUsers ??= encodeExtensions(USER_EXTENSIONS);
  return ofUsers;
}

/** Sorted by name, as the format demands; an empty value each. */
function encodeExtensions(names: readonly string[]): Buffer {
  const sorted = [...new Set(names)].sort();
  for (const name of sorted) if (!/^[\x21-\x7e]+$/.test(name)) throw bad(`${quoted(name)} cannot be an extension`);
  return Buffer.concat(sorted.flatMap((name) => [string(name), string("")]));
}

function bad(reason: string): GangwayError {
  return new GangwayError(`no certificate can be made: ${reason}`);
}
