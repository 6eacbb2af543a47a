import { describe, expect, it } from "vitest";
import { refusalsIn, type SignedBefore } from "../../src/session/refusals.ts";

/** Lines as OpenSSH 10.0 wrote them. */
const OURS = "SHA256:l8XhI/kXCRbg42/dZjj8m9hxG3jd5vJzmFaD6d/ranA";
const KEY = "SHA256:JV+2MT1NOxkc5AgR9CFOV6z2IKCiJ6xkvM8Zj2+ryis";
const FROM = "from UNKNOWN port 65535 ssh2";

const NOW = new Date("2026-01-02T00:00:00Z");

function refusals(lines: readonly string[], keys: readonly SignedBefore[] = []) {
  return refusalsIn(lines.map((line) => `${line}\r\n`).join(""), { job: "17", authority: OURS, keys, now: NOW }, 5);
}

function reasons(...lines: string[]): string[] {
  return refusals(lines).map(({ reason }) => reason);
}

function signed(expires: string, revoked = false): SignedBefore {
  return { serial: "2", fingerprint: KEY, comment: "laptop", expires, revoked };
}

describe("sshd's refusals in words", () => {
  it.each([
    [
      "User root not allowed because this sshd belongs to uid 20000, not to uid 0",
      /log in as root: only the job's own/,
    ],
    ["Invalid user nobodyx from UNKNOWN port 65535", /log in as nobodyx, whom the job does not know/],
    ["Certificate invalid: expired", /certificate had expired/],
    ["Certificate invalid: not yet valid", /not valid yet/],
    ["Certificate does not contain an authorized principal", /for another job/],
    ["error: Certificate invalid: name is not a listed principal", /for another job/],
    [`error: Authentication key ED25519-CERT ${KEY} revoked by file /run/gangway/revoked_keys`, /was revoked/],
    [`Failed publickey for me ${FROM}: ED25519-CERT ${KEY} ID x (serial 0) CA ED25519 SHA256:x`, /another authority/],
    [`Failed publickey for me ${FROM}: ED25519 ${KEY}`, /never signed for this job/],
  ])("%s", (line, expected) => {
    expect(reasons(line)).toEqual([expect.stringMatching(expected)]);
  });

  it("says one thing once: the key without its certificate is the same key", () => {
    const lines = [
      "Certificate invalid: expired",
      `Failed publickey for me ${FROM}: ED25519-CERT ${KEY} ID x (serial 2) CA ED25519 ${OURS}`,
      `Failed publickey for me ${FROM}: ED25519 ${KEY}`,
    ];
    expect(reasons(...lines, ...lines)).toEqual(["a key's certificate had expired"]);
    expect(reasons(...lines.toReversed())).toEqual(["a key's certificate had expired"]);
  });

  it("names the certificate that had expired, where the launcher remembers it", () => {
    const lines = [
      "Certificate invalid: expired",
      `Failed publickey for me ${FROM}: ED25519-CERT ${KEY} ID x (serial 2) CA ED25519 ${OURS}`,
      `Failed publickey for me ${FROM}: ED25519 ${KEY}`,
    ];
    expect(refusals(lines, [signed("2026-01-01T00:00:00Z")])).toEqual([
      {
        reason: "the certificate of key 2 (laptop) had expired, at 2026-01-01T00:00:00Z",
        hint: "have it signed again: gangway key authorize 17 < KEY.pub > KEY-cert.pub",
      },
    ]);
  });

  it("does not say of a key that was signed that it never was", () => {
    const line = `Failed publickey for me ${FROM}: ED25519 ${KEY}`;
    for (const expires of ["2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z"]) {
      expect(refusals([line], [signed(expires)])).toEqual([
        {
          reason: "key 2 (laptop) came without its certificate",
          hint: "give it to ssh beside the key: -i KEY -o CertificateFile=KEY-cert.pub",
        },
      ]);
    }
  });

  it("does not believe a certificate of another authority that has one of our serial numbers", () => {
    const line = `Failed publickey for me ${FROM}: ED25519-CERT ${KEY} ID (serial 2) CA ED25519 ${OURS} (serial 2) CA ED25519 SHA256:x`;
    const [refusal, ...others] = refusals([line], [signed("2026-01-01T00:00:00Z")]);
    expect(refusal?.reason).toMatch(/another authority/);
    expect(others).toEqual([]);
  });

  it("says nothing of those who got in", () => {
    expect(
      reasons(`Accepted publickey for me ${FROM}: ED25519-CERT ${KEY} ID x (serial 1) CA ED25519 ${OURS}`),
    ).toEqual([]);
  });
});
