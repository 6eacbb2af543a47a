import { createPublicKey } from "node:crypto";
import { GangwayError } from "../config/errors.ts";
import { fingerprintOf } from "./keys.ts";
import { hasControl, quoted } from "./names.ts";
import { string, WireReader } from "./wire.ts";

/** A public key that was checked field by field. */
export interface PublicKey {
  /** As it stands first in the line: "ssh-ed25519", "ssh-rsa", … */
  readonly type: string;
  readonly blob: Buffer;
  /** The rest of the line; may be empty. */
  readonly comment: string;
  readonly fingerprint: string;
}

const CURVES: Readonly<Record<string, { crv: string; bytes: number }>> = {
  nistp256: { crv: "P-256", bytes: 32 },
  nistp384: { crv: "P-384", bytes: 48 },
  nistp521: { crv: "P-521", bytes: 66 },
};

/** What follows the type in the blob of each type of key; throws where it is not that. */
const FIELDS: Readonly<Record<string, (reader: WireReader) => void>> = {
  "ssh-ed25519": ed25519,
  "ssh-rsa": rsa,
  "ecdsa-sha2-nistp256": (reader) => ecdsa(reader, "nistp256"),
  "ecdsa-sha2-nistp384": (reader) => ecdsa(reader, "nistp384"),
  "ecdsa-sha2-nistp521": (reader) => ecdsa(reader, "nistp521"),
  "sk-ssh-ed25519@openssh.com": (reader) => {
    ed25519(reader);
    application(reader);
  },
  "sk-ecdsa-sha2-nistp256@openssh.com": (reader) => {
    ecdsa(reader, "nistp256");
    application(reader);
  },
};

/** Of certificate types: `ssh-rsa-cert-v01@openssh.com`. */
const CERTIFICATE = /-cert-v[0-9]+@openssh\.com$/;
/** A key of 16384 bits with a long comment stays well below. */
const LONGEST_LINE = 16 * 1024;
const RSA_BITS = { least: 2048, most: 16_384 };
const LONGEST_APPLICATION = 255;

/**
 * Reads one public key line, `TYPE BASE64 [COMMENT]`, as `id_*.pub` and `authorized_keys` have it. Nothing is guessed:
 * options in front, a second line, certificates, unknown types, padding that is not canonical, fields that are short
 * or followed by more, points that are not on their curve are each refused.
 *
 * @param line with or without the newline at its end
 * @throws GangwayError that says what is wrong with it
 */
export function parsePublicKey(line: string): PublicKey {
  if (line.length > LONGEST_LINE) throw bad("it is too long");
  const text = line.replace(/\r?\n$/, "").trim();
  if (hasControl(text.replaceAll("\t", " "))) throw bad("it must be one line without control characters");
  if (text === "") throw bad("it is empty");
  if (text.startsWith("-----BEGIN"))
    throw bad("this is the file of a private key, or not in OpenSSH's form", "give the contents of the .pub file");
  const match = /^([^ \t]+)[ \t]+([^ \t]+)(?:[ \t]+(.*))?$/.exec(text);
  const [, type, base64, comment = ""] = match ?? [];
  if (type === undefined || base64 === undefined) throw bad("it is not of the form TYPE BASE64 [COMMENT]");
  checkType(type, text);
  const blob = Buffer.from(base64, "base64");
  if (blob.toString("base64") !== base64) throw bad("its second field is not base64");
  checkBlob(blob, type);
  return publicKey(type, blob, comment);
}

/** @param line of a public key @returns TYPE BASE64, as it stands there */
export function withoutComment(line: string): string {
  return line
    .trim()
    .split(/[ \t]+/, 2)
    .join(" ");
}

/**
 * Reads a public key's blob, as it goes over the wire, with the same checks as `parsePublicKey`.
 *
 * @throws GangwayError that says what is wrong with it
 */
export function readPublicKeyBlob(blob: Buffer): PublicKey {
  let type: string;
  try {
    type = new WireReader(blob).string().toString("latin1");
  } catch {
    throw bad("it ends inside its type");
  }
  checkType(type, type);
  checkBlob(blob, type);
  return publicKey(type, blob, "");
}

function publicKey(type: string, blob: Buffer, comment: string): PublicKey {
  return {
    type,
    blob,
    comment,
    get fingerprint() {
      return fingerprintOf(blob);
    },
  };
}

function checkType(type: string, text: string): void {
  if (Object.hasOwn(FIELDS, type)) return;
  if (CERTIFICATE.test(type)) throw bad("this is a certificate", "give the public key that it certifies");
  if (type === "ssh-dss" || type === "ssh-dss@openssh.com") throw bad("DSA keys are no longer accepted by OpenSSH");
  if (/[ \t](?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+[ \t]+AAAA/.test(text) || /[=,"]/.test(type))
    throw bad("options before the key are not accepted", "give TYPE BASE64 COMMENT alone");
  throw bad(`keys of the type ${quoted(type)} are not known`, `known are ${Object.keys(FIELDS).join(", ")}`);
}

function checkBlob(blob: Buffer, type: string): void {
  try {
    const reader = new WireReader(blob);
    if (reader.string().toString("latin1") !== type) throw new RangeError(`it is not the ${type} it says it is`);
    FIELDS[type]?.(reader);
    reader.end();
  } catch (error) {
    if (error instanceof RangeError) throw bad(error.message);
    throw error;
  }
}

function ed25519(reader: WireReader): void {
  if (reader.string().length !== 32) throw new RangeError("an ed25519 key has 32 bytes");
}

function rsa(reader: WireReader): void {
  const exponent = positive(reader, "exponent");
  const modulus = positive(reader, "modulus");
  const bits = modulus.length * 8 - Math.clz32(modulus[0] ?? 0) + 24;
  if (bits < RSA_BITS.least)
    throw new RangeError(`an RSA key of ${bits} bits is too weak; ${RSA_BITS.least} are needed`);
  if (bits > RSA_BITS.most) throw new RangeError(`an RSA key of ${bits} bits is longer than OpenSSH accepts`);
  if (!isOdd(modulus)) throw new RangeError("its modulus is even");
  if (!isOdd(exponent) || (exponent.length === 1 && exponent[0] === 1))
    throw new RangeError("its exponent is unusable");
  if (exponent.length > 32) throw new RangeError("its exponent is too long");
}

/** A positive `mpint` in its only right form: no needless leading zero, and one where the sign bit would be set. */
function positive(reader: WireReader, name: string): Buffer {
  const bytes = reader.string();
  const [first, second] = bytes;
  if (first === undefined || first >= 0x80) throw new RangeError(`its ${name} is not positive`);
  if (first !== 0) return bytes;
  if (second === undefined || second < 0x80) throw new RangeError(`its ${name} is not in canonical form`);
  return bytes.subarray(1);
}

function isOdd(bytes: Buffer): boolean {
  return ((bytes.at(-1) ?? 0) & 1) === 1;
}

function ecdsa(reader: WireReader, curve: string): void {
  const { crv, bytes } = CURVES[curve] ?? { crv: "", bytes: 0 };
  if (reader.string().toString("latin1") !== curve) throw new RangeError(`its curve is not ${curve}`);
  const point = reader.string();
  if (point.length !== 1 + 2 * bytes || point[0] !== 0x04) throw new RangeError(`it is not a point of ${curve}`);
  const x = point.subarray(1, 1 + bytes).toString("base64url");
  const y = point.subarray(1 + bytes).toString("base64url");
  try {
    createPublicKey({ key: { kty: "EC", crv, x, y }, format: "jwk" });
  } catch (cause) {
    throw new RangeError(`it is not a point of ${curve}`, { cause });
  }
}

/** The application a security key was made for: "ssh:" or "ssh:SOMETHING". */
function application(reader: WireReader): void {
  const bytes = reader.string();
  if (bytes.length === 0 || bytes.length > LONGEST_APPLICATION || bytes.some((byte) => byte < 0x21 || byte > 0x7e))
    throw new RangeError("its application is not a printable word");
}

function bad(reason: string, hint?: string): GangwayError {
  return new GangwayError(`not a usable public key: ${reason}`, hint === undefined ? {} : { hint });
}

/** The blob's fields without its type: what a certificate repeats (PROTOCOL.certkeys). */
export function keyFields(key: PublicKey): Buffer {
  return key.blob.subarray(string(key.type).length);
}
