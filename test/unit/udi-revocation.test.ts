import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { signCertificate } from "../../src/udi/certificates.ts";
import { generateAuthority, generateKeyPair } from "../../src/udi/keys.ts";
import { renderRevocationList } from "../../src/udi/revocation.ts";

const scratch = mkdtempSync(join(tmpdir(), "gangway-unit-"));
afterAll(() => rmSync(scratch, { recursive: true }));
const authority = generateAuthority("a");
const generated = new Date("2026-01-02T03:04:05Z");

function certificate(serial: bigint, by = authority): string {
  const { publicKey } = generateKeyPair("k");
  const path = join(scratch, `${serial}-${by.fingerprint.slice(7, 12).replaceAll("/", "_")}.pub`);
  const line = signCertificate(by, { kind: "user", publicKey, keyId: "k", serial, principals: ["p"] });
  writeFileSync(path, `${line}\n`);
  return path;
}

/** OpenSSH's own word: whether a list revokes a certificate. */
function isRevoked(serials: readonly bigint[], path: string): boolean {
  const list = join(scratch, "list");
  writeFileSync(list, renderRevocationList({ authority: authority.blob, serials, version: 3n, generated }));
  const { status, stdout, stderr } = spawnSync("ssh-keygen", ["-Q", "-f", list, path], { encoding: "utf8" });
  expect(`${stdout}${stderr}`).toMatch(status === 1 ? /REVOKED/ : /: ok/);
  return status === 1;
}

describe("a key revocation list", () => {
  it("is read by ssh-keygen: version, authority, serials", () => {
    const list = join(scratch, "shown");
    writeFileSync(
      list,
      renderRevocationList({ authority: authority.blob, serials: [9n, 7n, 9n], version: 3n, generated }),
    );
    const shown = execFileSync("ssh-keygen", ["-Q", "-l", "-f", list], {
      encoding: "utf8",
      env: { ...process.env, TZ: "UTC" },
    });
    expect(shown).toContain("# KRL version 3\n");
    expect(shown).toContain("# Generated at 20260102T030405\n");
    expect(shown).toContain(authority.fingerprint);
    expect(shown.match(/^serial: .*$/gm)).toEqual(["serial: 7", "serial: 9"]);
  });

  it("revokes what it names, of this authority, and nothing else", () => {
    const other = generateAuthority("b");
    const largest = 2n ** 64n - 1n;
    expect(isRevoked([7n, largest], certificate(7n))).toBe(true);
    expect(isRevoked([7n, largest], certificate(largest))).toBe(true);
    expect(isRevoked([7n, largest], certificate(8n))).toBe(false);
    expect(isRevoked([7n], certificate(7n, other))).toBe(false);
  });

  it("of no keys is a list as well", () => {
    expect(isRevoked([], certificate(7n))).toBe(false);
  });

  it("holds for any serials", () => {
    const serial = fc.bigInt({ min: 1n, max: 2n ** 64n - 1n });
    fc.assert(
      fc.property(fc.uniqueArray(serial, { minLength: 1, maxLength: 50 }), serial, (serials, probe) => {
        const [first = 1n] = serials;
        expect(isRevoked(serials, certificate(first))).toBe(true);
        expect(isRevoked(serials, certificate(probe))).toBe(serials.includes(probe));
      }),
      { numRuns: 20 },
    );
  });

  it("the serial 0 means none", () => {
    expect(() => renderRevocationList({ authority: authority.blob, serials: [0n], version: 1n, generated })).toThrow(
      RangeError,
    );
  });
});
