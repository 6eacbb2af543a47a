import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { GangwayError } from "../../src/config/errors.ts";
import { type CertificateRequest, signCertificate, USER_EXTENSIONS } from "../../src/udi/certificates.ts";
import { generateAuthority, generateKeyPair } from "../../src/udi/keys.ts";
import { parsePublicKey } from "../../src/udi/public-keys.ts";
import { string } from "../../src/udi/wire.ts";

const dir = mkdtempSync(join(tmpdir(), "udi-cert-"));
afterAll(() => rmSync(dir, { recursive: true }));

const authority = generateAuthority("gangway test");
const node = generateKeyPair("node1");

/** What `ssh-keygen -L` says, by the names it gives; lists as lists. */
function shown(line: string): Record<string, string | string[]> {
  const path = join(dir, "cert.pub");
  writeFileSync(path, `${line}\n`);
  const text = execFileSync("ssh-keygen", ["-L", "-f", path], { encoding: "utf8", env: { ...process.env, TZ: "UTC" } });
  const fields: Record<string, string | string[]> = {};
  let list = "";
  for (const raw of text.split("\n").slice(1)) {
    const [, name, value] = /^ {8}([A-Z][A-Za-z ]*): ?(.*)$/.exec(raw) ?? [];
    if (name !== undefined && value !== undefined) {
      fields[name] = value.trim() === "" ? [] : value.trim();
      list = name;
    } else if (raw.trim() !== "") {
      const before = fields[list];
      if (Array.isArray(before)) before.push(raw.trim());
    }
  }
  return fields;
}

const request: CertificateRequest = {
  kind: "host",
  publicKey: node.publicKey,
  keyId: "gangway 1234 node1",
  serial: 7n,
  principals: ["node1", "node1.1234.job", "10.0.0.1", "2001:db8::1"],
};

describe("signCertificate", () => {
  it("makes a host certificate, every field as asked", () => {
    const line = signCertificate(authority, request);
    expect(line.startsWith("ssh-ed25519-cert-v01@openssh.com AAAA")).toBe(true);
    expect(line.endsWith(" gangway 1234 node1")).toBe(true);
    expect(shown(line)).toEqual({
      Type: "ssh-ed25519-cert-v01@openssh.com host certificate",
      "Public key": `ED25519-CERT ${node.fingerprint}`,
      "Signing CA": `ED25519 ${authority.fingerprint} (using ssh-ed25519)`,
      "Key ID": '"gangway 1234 node1"',
      Serial: "7",
      Valid: "forever",
      Principals: ["node1", "node1.1234.job", "10.0.0.1", "2001:db8::1"],
      "Critical Options": "(none)",
      Extensions: "(none)",
    });
  });

  it("makes a user certificate with times, all extensions, the largest serial", () => {
    const fields = shown(
      signCertificate(authority, {
        ...request,
        kind: "user",
        serial: 2n ** 64n - 1n,
        principals: ["job-1234", "job-1234"],
        validAfter: new Date("2026-01-02T03:04:05.999Z"),
        validBefore: new Date("2026-01-02T03:14:05Z"),
      }),
    );
    expect(fields).toMatchObject({
      Type: "ssh-ed25519-cert-v01@openssh.com user certificate",
      Serial: "18446744073709551615",
      Valid: "from 2026-01-02T03:04:05 to 2026-01-02T03:14:05",
      Principals: ["job-1234"],
      Extensions: [...USER_EXTENSIONS],
    });
  });

  it("takes other extensions, in any order", () => {
    const of = (extensions: string[]) =>
      shown(signCertificate(authority, { ...request, kind: "user", extensions })).Extensions;
    expect(of(["permit-pty", "permit-agent-forwarding"])).toEqual(["permit-agent-forwarding", "permit-pty"]);
    expect(of([])).toBe("(none)");
  });

  it("takes a blob for a line", () => {
    expect(shown(signCertificate(authority, { ...request, publicKey: node.blob }))["Public key"]).toContain(
      node.fingerprint,
    );
  });

  it.each([
    ["rsa", ["-b", "2048"]],
    ["ecdsa", ["-b", "256"]],
    ["ecdsa", ["-b", "384"]],
    ["ecdsa", ["-b", "521"]],
    ["ed25519", []],
  ])("signs a key of type %s %j", (type, size) => {
    const path = join(dir, `${type}${size.join("")}`);
    execFileSync("ssh-keygen", ["-q", "-N", "", "-t", type, ...size, "-f", path]);
    const publicKey = readFileSync(`${path}.pub`, "utf8");
    const fields = shown(signCertificate(authority, { ...request, kind: "user", publicKey }));
    expect(fields["Public key"]).toContain(parsePublicKey(publicKey).fingerprint);
    expect(fields["Signing CA"]).toContain(authority.fingerprint);
  });

  it("signs the keys of security keys", () => {
    const fields = ["sk-ssh-ed25519@openssh.com", Buffer.alloc(32, 7), "ssh:"];
    const blob = Buffer.concat(fields.map((field) => string(field)));
    expect(shown(signCertificate(authority, { ...request, publicKey: blob })).Type).toBe(
      "sk-ssh-ed25519-cert-v01@openssh.com host certificate",
    );
  });

  it("agrees with ssh-keygen's own certificate byte for byte, but for nonce and signature", () => {
    const ca = join(dir, "ca");
    execFileSync("ssh-keygen", ["-q", "-N", "", "-t", "ed25519", "-f", ca]);
    writeFileSync(join(dir, "node.pub"), `${node.publicKey}\n`);
    execFileSync("ssh-keygen", ["-q", "-s", ca, "-I", "id", "-n", "a,b", "-z", "9", join(dir, "node.pub")]);
    const theirs = readFileSync(join(dir, "node-cert.pub"), "utf8");
    const other = { ...authority, blob: parsePublicKey(readFileSync(`${ca}.pub`, "utf8")).blob };
    const ours = signCertificate(other, { ...request, kind: "user", keyId: "id", serial: 9n, principals: ["a", "b"] });
    const comparable = (line: string) => {
      const bytes = Buffer.from(line.split(" ")[1] ?? "", "base64");
      const nonce = string("ssh-ed25519-cert-v01@openssh.com").length;
      return Buffer.concat([bytes.subarray(0, nonce + 4), bytes.subarray(nonce + 36, -64)]).toString("hex");
    };
    expect(comparable(ours)).toBe(comparable(theirs));
  });

  it("names hosts as ssh looks them up, users as they are", () => {
    const principals = ["Node1", "node1", "2001:DB8::1"];
    expect(shown(signCertificate(authority, { ...request, principals })).Principals).toEqual(["node1", "2001:db8::1"]);
    expect(shown(signCertificate(authority, { ...request, kind: "user", principals })).Principals).toEqual(principals);
  });

  it("names every principal it was given, whatever they are, and each nonce is new", () => {
    const principal = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._:+-]{0,30}$/);
    fc.assert(
      fc.property(fc.uniqueArray(principal, { minLength: 1, maxLength: 256 }), (principals) => {
        expect(shown(signCertificate(authority, { ...request, kind: "user", principals })).Principals).toEqual(
          principals,
        );
      }),
      { numRuns: 20 },
    );
    expect(signCertificate(authority, request)).not.toBe(signCertificate(authority, request));
  });

  it.each<[string, Partial<CertificateRequest>]>([
    ["no principal", { principals: [] }],
    ["257 principals", { principals: Array.from({ length: 257 }, (_, i) => `n${i}`) }],
    ["an empty principal", { principals: [""] }],
    ["a pattern", { principals: ["*"] }],
    ["two in one", { principals: ["a,b"] }],
    ["a blank", { principals: ["a b"] }],
    ["a negative serial", { serial: -1n }],
    ["a serial of 65 bits", { serial: 2n ** 64n }],
    ["an end before the beginning", { validAfter: new Date(2000), validBefore: new Date(1000) }],
    ["an empty span", { validAfter: new Date(2000), validBefore: new Date(2999) }],
    ["no time", { validBefore: new Date(Number.NaN) }],
    ["a time before 1970", { validAfter: new Date(-1) }],
    ["a key id of two lines", { keyId: "a\nb" }],
    ["an empty key id", { keyId: "" }],
    ["an extension that is no word", { extensions: [""] }],
    ["a certificate for a key", { publicKey: signCertificate(authority, request) }],
    ["garbage for a blob", { publicKey: Buffer.from("garbage") }],
    ["an empty blob", { publicKey: Buffer.alloc(0) }],
  ])("refuses %s", (_, wrong) => {
    expect(() => signCertificate(authority, { ...request, ...wrong })).toThrow(GangwayError);
  });
});
