import { execFileSync } from "node:child_process";
import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { fingerprintOf, generateChannelIdentity, isFingerprint } from "../../src/rendezvous/identity.ts";

const dir = mkdtempSync(join(tmpdir(), "rendezvous-identity-"));
afterAll(() => rmSync(dir, { recursive: true }));

const identity = generateChannelIdentity();
const path = join(dir, "cert.pem");
writeFileSync(path, identity.certificatePem);

function openssl(...args: string[]): string {
  return execFileSync("openssl", args, { encoding: "utf8" });
}

describe("a certificate of the channel, as openssl reads it", () => {
  it("is an ed25519 key's, signed by itself", () => {
    const text = openssl("x509", "-in", path, "-noout", "-text");
    expect(text).toContain("Signature Algorithm: ED25519");
    expect(text).toContain("Public Key Algorithm: ED25519");
    expect(text).toContain("Version: 1 (0x0)");
    expect(text).toContain("Subject: CN = gangway");
    expect(openssl("verify", "-check_ss_sig", "-CAfile", path, path)).toBe(`${path}: OK\n`);
  });

  it("is valid from 1970 to 9999: clocks do not matter", () => {
    const dates = openssl("x509", "-in", path, "-noout", "-dates");
    expect(dates).toBe("notBefore=Jan  1 00:00:00 1970 GMT\nnotAfter=Dec 31 23:59:59 9999 GMT\n");
  });

  it("is DER: openssl writes the same bytes", () => {
    const der = execFileSync("openssl", ["x509", "-in", path, "-outform", "DER"]);
    expect(new X509Certificate(identity.certificatePem).raw.equals(der)).toBe(true);
    const parsed = openssl("asn1parse", "-in", path);
    expect(parsed).toContain("UTCTIME           :700101000000Z");
    expect(parsed).toContain("GENERALIZEDTIME   :99991231235959Z");
  });

  it("has the fingerprint that openssl makes of it", () => {
    const [, hex = ""] =
      /=([0-9A-F:]+)\n$/.exec(openssl("x509", "-in", path, "-noout", "-fingerprint", "-sha256")) ?? [];
    expect(identity.fingerprint).toBe(Buffer.from(hex.replaceAll(":", ""), "hex").toString("base64url"));
  });
});

describe("an identity of the channel", () => {
  it("has the private key of its certificate, whatever random numbers it was made of", () => {
    for (let n = 0; n < 100; n++) {
      const { privateKeyPem, certificatePem, fingerprint } = generateChannelIdentity();
      const certificate = new X509Certificate(certificatePem);
      expect(certificate.checkPrivateKey(createPrivateKey(privateKeyPem))).toBe(true);
      expect(certificate.verify(createPublicKey(privateKeyPem))).toBe(true);
      expect(fingerprintOf(certificate)).toBe(fingerprint);
      expect(isFingerprint(fingerprint)).toBe(true);
      // RFC 5280, section 4.1.2.2: positive, at most 20 octets.
      expect(certificate.serialNumber).toMatch(/^[4-7][0-9A-F]{15}$/);
    }
  });

  it("is another each time", () => {
    expect(generateChannelIdentity().fingerprint).not.toBe(identity.fingerprint);
  });
});
