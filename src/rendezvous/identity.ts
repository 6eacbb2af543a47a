import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign, type X509Certificate } from "node:crypto";

/** What one end of the launcher's connections proves itself by: made for one launch, and forgotten with the process. */
export interface ChannelIdentity {
  /** PKCS #8. It never leaves the process that made it. */
  readonly privateKeyPem: string;
  readonly certificatePem: string;
  /** Of the certificate: what the other end is told beforehand ({@link fingerprintOf}). */
  readonly fingerprint: string;
}

// DER, ITU-T X.690: tag, length, content. Only what this one certificate needs.
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OBJECT_IDENTIFIER = 0x06;
const UTF8_STRING = 0x0c;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
const SEQUENCE = 0x30;
const SET = 0x31;

function der(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  if (body.length > 0xffff) throw new RangeError("longer than two bytes of length can say");
  const length = body.length < 0x80 ? [body.length] : [0x82, body.length >> 8, body.length & 0xff];
  // The shortest form of a length is the only one: between 128 and 255 that is a single byte behind its count.
  if (body.length >= 0x80 && body.length <= 0xff) length.splice(0, 3, 0x81, body.length);
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

const text = (tag: number, value: string): Buffer => der(tag, Buffer.from(value, "utf8"));

/** id-Ed25519, 1.3.101.112 (RFC 8410, section 3), without parameters. */
const ED25519 = der(SEQUENCE, der(OBJECT_IDENTIFIER, Buffer.from([0x2b, 0x65, 0x70])));
/** id-at-commonName, 2.5.4.3 (RFC 5280, appendix A.1). */
const COMMON_NAME = der(OBJECT_IDENTIFIER, Buffer.from([0x55, 0x04, 0x03]));
const NAME = der(SEQUENCE, der(SET, der(SEQUENCE, COMMON_NAME, text(UTF8_STRING, "gangway"))));
/**
 * From 1970 to the end that RFC 5280, section 4.1.2.5, has for a certificate without one: clocks do not matter. (Years
 * from 1950 to 2049 must be UTCTime, later ones GeneralizedTime.)
 */
const VALIDITY = der(SEQUENCE, text(UTC_TIME, "700101000000Z"), text(GENERALIZED_TIME, "99991231235959Z"));

/** RFC 5280, section 4.1. Without extensions it is of version 1, which is not written down. */
function selfSigned(publicKey: Buffer, privateKey: KeyObject): Buffer {
  const serial = randomBytes(8);
  // Positive, and not zero, in the shortest form: the first byte is 0x40 to 0x7f.
  serial.writeUInt8((serial.readUInt8() & 0x3f) | 0x40);
  const toBeSigned = der(SEQUENCE, der(INTEGER, serial), ED25519, NAME, VALIDITY, NAME, publicKey);
  const signature = sign(null, toBeSigned, privateKey);
  return der(SEQUENCE, toBeSigned, ED25519, der(BIT_STRING, Buffer.from([0]), signature));
}

function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** Makes a new ed25519 key, and a certificate of it that it signed itself (docs/internals.md, section 11). */
export function generateChannelIdentity(): ChannelIdentity {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const certificate = selfSigned(publicKey.export({ type: "spki", format: "der" }), privateKey);
  return {
    privateKeyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    certificatePem: pem("CERTIFICATE", certificate),
    fingerprint: createHash("sha256").update(certificate).digest("base64url"),
  };
}

/** How a fingerprint is written: 43 characters of base64url. */
export function isFingerprint(text: string): boolean {
  return /^[A-Za-z0-9_-]{43}$/.test(text);
}

/**
 * The base64url SHA-256 of a certificate's DER. That the other end has the key in it is TLS's to prove; to take the key out
 * of it as well would double what OpenSSL 3 needs for a certificate, which counts for ten thousand nodes.
 */
export function fingerprintOf({ fingerprint256 }: X509Certificate): string {
  return Buffer.from(fingerprint256.replaceAll(":", ""), "hex").toString("base64url");
}
