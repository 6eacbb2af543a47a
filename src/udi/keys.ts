import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { GangwayError } from "../config/errors.ts";
import { hasControl } from "./names.ts";
import { string, uint32 } from "./wire.ts";

/** Source of the file format: OpenSSH's PROTOCOL.key. */
const MAGIC = Buffer.from("openssh-key-v1\0", "latin1");
const TYPE = "ssh-ed25519";
/** DER of a PKCS #8 and of a SubjectPublicKeyInfo ed25519 key up to the 32 bytes of the key itself (RFC 8410). */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");
const CIPHER_BLOCK = 8;
const BASE64_COLUMNS = 70;

/** An ed25519 key pair in OpenSSH's forms. */
export interface KeyPair {
  /** The private key file, unencrypted; write it with mode 0600. */
  readonly privateKey: string;
  /** The public key line, `ssh-ed25519 BASE64 COMMENT`, without a newline. */
  readonly publicKey: string;
  /** The public key as it goes over the wire (RFC 4253, section 6.6; RFC 8709). */
  readonly blob: Buffer;
  /** `SHA256:…`, as `ssh-keygen -l` prints it. */
  readonly fingerprint: string;
}

/** A job's certificate authority. Its private key can be used and cannot be had. */
export interface Authority {
  /** The public key line, as in a `TrustedUserCAKeys` file or after `@cert-authority *`; without a newline. */
  readonly publicKey: string;
  readonly blob: Buffer;
  readonly fingerprint: string;
  /** An ssh signature (RFC 8709, section 6) over `data`. */
  sign(data: Uint8Array): Buffer;
}

/**
 * Makes an ed25519 key pair.
 *
 * ssh2's generator is not used: it strips leading zero bytes and so makes a bad key in 0.3 % of the cases. Here the
 * key's bytes are taken at fixed places of a DER encoding of fixed length.
 *
 * @param comment one line, printable; it stands in both files
 * @throws GangwayError if the comment has control characters
 */
export function generateKeyPair(comment: string): KeyPair {
  checkComment(comment);
  const pair = generateKeyPairSync("ed25519");
  const point = publicPoint(pair.publicKey);
  const seed = privateSeed(pair.privateKey);
  const blob = publicBlob(point);
  const privateKey = privateKeyFile(blob, point, seed, comment);
  seed.fill(0);
  return {
    privateKey,
    publicKey: publicKeyLine(TYPE, blob, comment),
    blob,
    // Rarely asked for: not worth a hash for each key of a launch.
    get fingerprint() {
      return fingerprintOf(blob);
    },
  };
}

/**
 * Makes a certificate authority whose private key stays inside this process: it is never encoded, so it cannot end in
 * a file, a log or an environment.
 *
 * @param comment one line, printable; it stands after the public key
 * @throws GangwayError if the comment has control characters
 */
export function generateAuthority(comment: string): Authority {
  checkComment(comment);
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const blob = publicBlob(publicPoint(publicKey));
  return {
    publicKey: publicKeyLine(TYPE, blob, comment),
    blob,
    get fingerprint() {
      return fingerprintOf(blob);
    },
    sign: (data) => Buffer.concat([string(TYPE), string(sign(null, data, privateKey))]),
  };
}

/** `SHA256:…` of a public key's blob, as `ssh-keygen -l` prints it. */
export function fingerprintOf(blob: Uint8Array): string {
  return `SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/, "")}`;
}

/** `TYPE BASE64 COMMENT`, without a newline. */
export function publicKeyLine(type: string, blob: Uint8Array, comment: string): string {
  const base64 = Buffer.from(blob).toString("base64");
  return comment === "" ? `${type} ${base64}` : `${type} ${base64} ${comment}`;
}

function publicBlob(point: Uint8Array): Buffer {
  return Buffer.concat([string(TYPE), string(point)]);
}

function privateSeed(key: KeyObject): Buffer {
  return afterPrefix(key.export({ format: "der", type: "pkcs8" }), PKCS8_PREFIX);
}

function publicPoint(key: KeyObject): Buffer {
  return afterPrefix(key.export({ format: "der", type: "spki" }), SPKI_PREFIX);
}

function afterPrefix(der: Buffer, prefix: Buffer): Buffer {
  if (der.length !== prefix.length + 32 || !der.subarray(0, prefix.length).equals(prefix))
    throw new Error("node:crypto encoded an ed25519 key in a form that is not RFC 8410's");
  return der.subarray(prefix.length);
}

function privateKeyFile(blob: Buffer, point: Buffer, seed: Buffer, comment: string): string {
  // Written twice, so that a wrong passphrase would show; here nothing is encrypted.
  const check = randomBytes(4);
  const secret = [check, check, string(TYPE), string(point), string(Buffer.concat([seed, point])), string(comment)];
  const length = secret.reduce((sum, part) => sum + part.length, 0);
  const padding = Buffer.from(Array.from({ length: -length & (CIPHER_BLOCK - 1) }, (_, i) => i + 1));
  const bytes = Buffer.concat([
    MAGIC,
    string("none"), // cipher
    string("none"), // key derivation
    string(""), // its options
    uint32(1), // number of keys
    string(blob),
    string(Buffer.concat([...secret, padding])),
  ]);
  const base64 = bytes.toString("base64");
  const lines: string[] = [];
  for (let at = 0; at < base64.length; at += BASE64_COLUMNS) lines.push(base64.slice(at, at + BASE64_COLUMNS));
  return ["-----BEGIN OPENSSH PRIVATE KEY-----", ...lines, "-----END OPENSSH PRIVATE KEY-----", ""].join("\n");
}

function checkComment(comment: string): void {
  if (hasControl(comment)) throw new GangwayError("the comment of a key must not have control characters");
}
