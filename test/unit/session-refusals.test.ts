import { describe, expect, it } from "vitest";
import { refusalsIn } from "../../src/session/refusals.ts";

/** Lines as OpenSSH 10.0 wrote them. */
const OURS = "SHA256:l8XhI/kXCRbg42/dZjj8m9hxG3jd5vJzmFaD6d/ranA";
const KEY = "SHA256:JV+2MT1NOxkc5AgR9CFOV6z2IKCiJ6xkvM8Zj2+ryis";
const FROM = "from UNKNOWN port 65535 ssh2";

function reasons(...lines: string[]): string[] {
  return refusalsIn(lines.map((line) => `${line}\r\n`).join(""), OURS, 5).map(({ reason }) => reason);
}

describe("sshd's refusals in words", () => {
  it.each([
    [
      "User root not allowed because this sshd belongs to uid 20000, not to uid 0",
      /log in as root: only the job's own/,
    ],
    ["Invalid user nobodyx from UNKNOWN port 65535", /log in as nobodyx, whom the job does not know/],
    ["Certificate invalid: expired", /certificate had expired/],
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
  });

  it("says nothing of those who got in", () => {
    expect(
      reasons(`Accepted publickey for me ${FROM}: ED25519-CERT ${KEY} ID x (serial 1) CA ED25519 ${OURS}`),
    ).toEqual([]);
  });
});
