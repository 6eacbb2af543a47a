import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { GangwayError } from "../../src/config/errors.ts";
import { generateAuthority, generateKeyPair } from "../../src/udi/keys.ts";
import { renderKnownHosts, renderPlainKnownHosts } from "../../src/udi/known-hosts.ts";
import { renderSshdConfig } from "../../src/udi/sshd-config.ts";

const dir = mkdtempSync(join(tmpdir(), "udi-known-"));
afterAll(() => rmSync(dir, { recursive: true }));

/** Lines that `ssh-keygen -F` finds for a host. */
function found(file: string, host: string): string {
  const path = join(dir, "known_hosts");
  writeFileSync(path, file);
  return spawnSync("ssh-keygen", ["-F", host, "-f", path], { encoding: "utf8" }).stdout;
}

const authority = generateAuthority("job 1234");

describe("renderKnownHosts", () => {
  it("is one line that trusts the authority for every host", () => {
    const file = renderKnownHosts(authority.publicKey);
    expect(file).toBe(`@cert-authority * ${authority.publicKey.replace(" job 1234", "")}\n`);
    expect(found(file, "node1")).toContain("CA");
    expect(found(file, "[node1]:2222")).toContain("CA");
  });

  it("can be held to some hosts", () => {
    const file = renderKnownHosts(authority.publicKey, ["node1.1234.job", "1234.job"]);
    expect(found(file, "1234.job")).toContain("CA");
    expect(found(file, "1235.job")).toBe("");
  });

  it("takes neither a pattern nor an injected line", () => {
    for (const pattern of ["*.job", "!a", "a b", "a\nb", ""])
      expect(() => renderKnownHosts(authority.publicKey, [pattern])).toThrow(GangwayError);
    expect(() => renderKnownHosts(authority.publicKey, [])).toThrow(GangwayError);
    expect(() => renderKnownHosts("ssh-ed25519 AAAA\n* ssh-ed25519 AAAA")).toThrow(GangwayError);
  });
});

describe("renderPlainKnownHosts", () => {
  const { publicKey } = generateKeyPair("c");

  it("has both forms of every name and address", () => {
    const file = renderPlainKnownHosts([{ names: ["node1.1.job"], addresses: ["10.0.0.1"], port: 2222, publicKey }]);
    expect(file.split("\n")).toHaveLength(5);
    for (const host of ["node1.1.job", "[node1.1.job]:2222", "10.0.0.1", "[10.0.0.1]:2222"])
      expect(found(file, host)).toContain("found");
    expect(found(file, "[10.0.0.1]:2223")).toBe("");
  });

  it("a node that does not listen has its names alone", () => {
    const file = renderPlainKnownHosts([{ names: ["1.job"], addresses: [], port: 0, publicKey }]);
    expect(file).toBe(`1.job ${publicKey.replace(" c", "")}\n`);
  });

  it("an address that two nodes share stands for neither, but with its port", () => {
    const other = generateKeyPair("d").publicKey;
    const file = renderPlainKnownHosts([
      { names: ["a.1.job"], addresses: ["10.0.0.1"], port: 2222, publicKey },
      { names: ["b.1.job"], addresses: ["10.0.0.1"], port: 2223, publicKey: other },
    ]);
    expect(found(file, "10.0.0.1")).toBe("");
    expect(found(file, "[10.0.0.1]:2223")).toContain(other.split(" ")[1]);
  });
});

describe("renderSshdConfig", () => {
  it("allows the user alone, then includes the settings of every job", () => {
    expect(renderSshdConfig("alice").split("\n").slice(1)).toEqual([
      "AllowUsers alice",
      "Include /opt/udiImage/etc/sshd_config",
      "",
    ]);
  });

  it.each([
    ["alice smith", "alice?smith"],
    ["DOM\\alice", "DOM?alice"],
    ["alice@site.org", "alice?site.org"],
    ["müller", "m??ller"],
    ["a*!#\"'", "a?????"],
    ["x\nPermitRootLogin yes", "x?PermitRootLogin?yes"],
  ])("writes %j as one word that matches its bytes", (name, pattern) => {
    expect(renderSshdConfig(name).split("\n")[1]).toBe(`AllowUsers ${pattern}`);
  });
});
