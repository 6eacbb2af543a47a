import { execFileSync, spawnSync } from "node:child_process";
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { GangwayError } from "../../src/config/errors.ts";
import { fingerprintOf, generateAuthority, generateKeyPair } from "../../src/udi/keys.ts";
import { parsePublicKey, readPublicKeyBlob } from "../../src/udi/public-keys.ts";
import { string, WireReader } from "../../src/udi/wire.ts";

const dir = mkdtempSync(join(tmpdir(), "udi-keys-"));
afterAll(() => rmSync(dir, { recursive: true }));

function keygen(...args: string[]): string {
  return execFileSync("ssh-keygen", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
}

let count = 0;
function write(text: string): string {
  const path = join(dir, `f${count++}`);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

describe("generateKeyPair", () => {
  it("makes files that ssh-keygen reads, with the same public key, comment and fingerprint", () => {
    const pair = generateKeyPair("gangway 1234 node1");
    const path = write(pair.privateKey);
    expect(keygen("-y", "-f", path)).toBe(pair.publicKey);
    expect(keygen("-l", "-f", write(pair.publicKey))).toBe(`256 ${pair.fingerprint} gangway 1234 node1 (ED25519)`);
    expect(pair.privateKey.endsWith("-----END OPENSSH PRIVATE KEY-----\n")).toBe(true);
    expect(Math.max(...pair.privateKey.split("\n").map((line) => line.length))).toBeLessThanOrEqual(70);
  });

  it("makes no bad key among 200, with comments of every length that padding depends on", () => {
    const files = Array.from({ length: 200 }, (_, i) => {
      const pair = generateKeyPair("c".repeat(i % 16));
      return { pair, path: write(pair.privateKey) };
    });
    // One shell for all: 200 processes of their own would take longer than they need.
    const script = 'for f; do ssh-keygen -y -P "" -f "$f" </dev/null || exit 1; done';
    const lines = execFileSync("sh", ["-c", script, "sh", ...files.map(({ path }) => path)], { encoding: "utf8" });
    expect(lines.trim().split("\n")).toEqual(files.map(({ pair }) => pair.publicKey));
  });

  it("keeps every byte of a key, 2000 times", () => {
    // ssh2's generator strips leading zero bytes: 7 bad keys in 2000.
    for (let i = 0; i < 2000; i++) {
      const { blob, privateKey } = generateKeyPair("");
      const bytes = Buffer.from(privateKey.split("\n").slice(1, -2).join(""), "base64");
      const file = new WireReader(bytes.subarray("openssh-key-v1\0".length));
      for (let field = 0; field < 3; field++) file.string();
      const keys = new WireReader(file.rest.subarray(4));
      expect(keys.string().equals(blob)).toBe(true);
      const secret = new WireReader(keys.string().subarray(8));
      secret.string();
      const point = secret.string();
      const pair = secret.string();
      expect([point.length, pair.length]).toEqual([32, 64]);
      expect(point.equals(blob.subarray(-32)) && pair.subarray(32).equals(point)).toBe(true);
      const d = pair.subarray(0, 32).toString("base64url");
      const jwk = { kty: "OKP", crv: "Ed25519", x: point.toString("base64url") };
      const signature = sign(null, blob, createPrivateKey({ key: { ...jwk, d }, format: "jwk" }));
      expect(verify(null, blob, createPublicKey({ key: jwk, format: "jwk" }), signature)).toBe(true);
    }
  });

  it("refuses a comment that would be a second line", () => {
    expect(() => generateKeyPair("a\nssh-ed25519 AAAA")).toThrow(GangwayError);
    expect(() => generateAuthority("a\0")).toThrow(GangwayError);
  });
});

describe("generateAuthority", () => {
  it("signs, and shows no private key", () => {
    const authority = generateAuthority("gangway 1234");
    const reader = new WireReader(authority.sign(Buffer.from("data")));
    expect(reader.string().toString()).toBe("ssh-ed25519");
    const x = authority.blob.subarray(-32).toString("base64url");
    const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
    expect(verify(null, Buffer.from("data"), key, reader.string())).toBe(true);
    expect(keygen("-l", "-f", write(authority.publicKey))).toContain(authority.fingerprint);
    expect(`${inspect(authority, { depth: 9, showHidden: true })}${JSON.stringify(authority)}`).not.toMatch(/private/i);
  });
});

describe("parsePublicKey", () => {
  const made: [string, string[]][] = [
    ["ssh-ed25519", ["-t", "ed25519"]],
    ["ssh-rsa", ["-t", "rsa", "-b", "2048"]],
    ["ssh-rsa", ["-t", "rsa", "-b", "3072"]],
    ["ecdsa-sha2-nistp256", ["-t", "ecdsa", "-b", "256"]],
    ["ecdsa-sha2-nistp384", ["-t", "ecdsa", "-b", "384"]],
    ["ecdsa-sha2-nistp521", ["-t", "ecdsa", "-b", "521"]],
  ];

  function brought(args: string[]): string {
    const path = join(dir, `k${count++}`);
    keygen("-q", "-N", "", "-C", "me at home", "-f", path, ...args);
    return execFileSync("cat", [`${path}.pub`], { encoding: "utf8" });
  }

  it.each(made)("reads %s by %j as ssh-keygen does", (type, args) => {
    const line = brought(args);
    const key = parsePublicKey(line);
    expect(key).toMatchObject({ type, comment: "me at home" });
    expect(keygen("-l", "-f", write(line))).toContain(key.fingerprint);
    expect(readPublicKeyBlob(key.blob)).toEqual({ ...key, comment: "" });
  });

  // No security key is at hand: what one would give is put together, and ssh-keygen has to agree with it.
  const point = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ format: "der", type: "spki" });
  const securityKeys: [string, Buffer[]][] = [
    ["sk-ssh-ed25519@openssh.com", [Buffer.alloc(32, 7), Buffer.from("ssh:")]],
    ["sk-ecdsa-sha2-nistp256@openssh.com", [Buffer.from("nistp256"), point.subarray(-65), Buffer.from("ssh:work")]],
  ];

  it.each(securityKeys)("reads %s", (type, fields) => {
    const blob = Buffer.concat([type, ...fields].map((field) => string(field)));
    const line = `${type} ${blob.toString("base64")} token`;
    const key = parsePublicKey(line);
    expect(key.type).toBe(type);
    expect(keygen("-l", "-f", write(line))).toContain(key.fingerprint);
  });

  const line = generateKeyPair("c").publicKey;
  const base64 = line.split(" ")[1] ?? "";
  const ed25519 = (...fields: (string | Buffer)[]) => {
    const blob = Buffer.concat(fields.map((field) => string(field)));
    return `ssh-ed25519 ${blob.toString("base64")}`;
  };
  const rsa = (e: Buffer, n: Buffer) =>
    `ssh-rsa ${Buffer.concat([string("ssh-rsa"), string(e), string(n)]).toString("base64")}`;
  const three = Buffer.from([3]);
  const modulus = Buffer.concat([Buffer.from([0]), Buffer.alloc(256, 0xff)]);

  it.each([
    ["nothing", "", "empty"],
    ["two lines", `${line}\n${line}`, "one line"],
    ["options", `restrict,pty ${line}`, "options"],
    ["a command", `command="/bin/sh" ${line}`, "options"],
    ["an option without a value", `restrict ${line}`, "options"],
    ["a principal marker", `cert-authority ${line}`, "options"],
    ["a NUL", `${line}\0`, "control characters"],
    ["only a type", "ssh-ed25519", "TYPE BASE64"],
    ["a private key", generateKeyPair("").privateKey.split("\n")[0] ?? "", "private key"],
    ["an unknown type", `ssh-foo ${base64}`, "not known"],
    ["a name of Object's", `constructor ${base64}`, "not known"],
    ["DSA", `ssh-dss ${base64}`, "DSA"],
    ["a certificate", `ssh-ed25519-cert-v01@openssh.com ${base64}`, "certificate"],
    ["another type within", `ssh-rsa ${base64}`, "not the ssh-rsa"],
    ["blanks within base64", `ssh-ed25519 ${base64.slice(0, 20)} ${base64.slice(20)}`, "ends"],
    ["url base64", `ssh-ed25519 ${base64.slice(0, -2)}-_`, "base64"],
    ["base64 with bits left over", `ssh-ed25519 ${base64}A`, "base64"],
    ["a short key", ed25519("ssh-ed25519", Buffer.alloc(31)), "32 bytes"],
    ["a long key", ed25519("ssh-ed25519", Buffer.alloc(33)), "32 bytes"],
    ["a field more", ed25519("ssh-ed25519", Buffer.alloc(32), ""), "follow"],
    ["a field less", ed25519("ssh-ed25519"), "ends"],
    ["a huge length", `ssh-ed25519 ${Buffer.from("ffffffff00", "hex").toString("base64")}`, "ends"],
    ["weak RSA", rsa(three, Buffer.concat([Buffer.from([0]), Buffer.alloc(128, 0xff)])), "weak"],
    ["RSA of 2047 bits", rsa(three, Buffer.concat([Buffer.from([0x7f]), Buffer.alloc(255, 0xff)])), "2047 bits"],
    ["a negative modulus", rsa(three, Buffer.alloc(256, 0xff)), "not positive"],
    ["a padded exponent", rsa(Buffer.from([0, 3]), modulus), "canonical"],
    ["an even modulus", rsa(three, Buffer.concat([modulus.subarray(0, -1), Buffer.from([0xfe])])), "even"],
    ["an exponent of 1", rsa(Buffer.from([1]), modulus), "exponent"],
    ["an exponent of 0", rsa(Buffer.alloc(0), modulus), "not positive"],
    ["a very long line", `${line} ${"c".repeat(20_000)}`, "too long"],
  ])("refuses %s", (_, text, reason) => {
    expect(() => parsePublicKey(text)).toThrow(GangwayError);
    expect(() => parsePublicKey(text)).toThrow(reason);
  });

  it("refuses a point that is not on its curve", () => {
    for (const bytes of [Buffer.alloc(64, 1), Buffer.alloc(64)]) {
      const fields = ["ecdsa-sha2-nistp256", "nistp256", Buffer.concat([Buffer.from([4]), bytes])];
      const blob = Buffer.concat(fields.map((field) => string(field)));
      expect(() => parsePublicKey(`ecdsa-sha2-nistp256 ${blob.toString("base64")}`)).toThrow("not a point");
    }
  });

  it("says GangwayError to any garbage, and nothing else", () => {
    const types = fc.constantFrom("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp521", "sk-ssh-ed25519@openssh.com");
    const fields = fc.array(fc.uint8Array({ maxLength: 140 }), { maxLength: 4 });
    const lookalike = fc.tuple(types, fields, fc.uint8Array({ maxLength: 5 })).map(([type, parts, tail]) => {
      const blob = Buffer.concat([string(type), ...parts.map((part) => string(part)), tail]);
      return `${type} ${blob.toString("base64")} x`;
    });
    const bitFlipped = fc.tuple(fc.nat(50), fc.integer({ min: 1, max: 255 })).map(([at, mask]) => {
      const blob = Buffer.from(base64, "base64");
      blob[at] = (blob[at] ?? 0) ^ mask;
      return `ssh-ed25519 ${blob.toString("base64")}`;
    });
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: "binary", maxLength: 200 }), lookalike, bitFlipped), (text) => {
        try {
          const key = parsePublicKey(text);
          expect(key.fingerprint).toBe(fingerprintOf(key.blob));
        } catch (error) {
          expect(error).toBeInstanceOf(GangwayError);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("accepts no line that ssh-keygen refuses", () => {
    const text = `${line} with a comment\t and a tab`;
    expect(parsePublicKey(text).comment).toBe("c with a comment\t and a tab");
    expect(spawnSync("ssh-keygen", ["-l", "-f", write(text)]).status).toBe(0);
  });
});
