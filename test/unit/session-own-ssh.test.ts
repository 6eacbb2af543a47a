import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { STATUS } from "../../src/config/errors.ts";
import { ownSsh, sshProgram } from "../../src/session/ssh-client.ts";

/* Where the tree's own ssh is taken for a session, and where the host's. */

const UID = 4711;
const PASSWD = `root:x:0:0::/root:/bin/sh\nada:x:${UID}:${UID}:Ada:/home/ada:/bin/sh\n`;

let place = "";
let own = "";
let caller = { uid: UID, passwd: "" };

function makeProgram(path: string): string {
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, "#!/bin/sh\n", { mode: 0o755 });
  return path;
}

beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), "gangway-own-ssh-"));
  own = makeProgram(join(place, "bin/ssh"));
  caller = { uid: UID, passwd: join(place, "passwd") };
  writeFileSync(caller.passwd, PASSWD);
  vi.stubEnv("PATH", "/usr/local/bin:/usr/bin:/bin");
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(place, { recursive: true });
});

describe("the tree's own ssh", () => {
  it.each([
    { options: [] },
    { options: ["-t", "-q", "-v", "-v"] },
    { options: ["-L", "8080:localhost:80", "-N", "-D", "7777", "-e", "none", "-W", "host:1"] },
    { options: ["-A"] },
  ])("is taken with options that mean the same to every build: $options", ({ options }) => {
    expect(ownSsh(place, options, caller)).toBe(own);
  });

  it.each([
    { options: ["-X"] },
    { options: ["-Y"] },
    { options: ["-o", "GSSAPIAuthentication=yes"] },
    { options: ["-i", "key"] },
    { options: ["-I", "pkcs11.so"] },
    { options: ["-K"] },
    { options: ["-J", "host"] },
    { options: ["-t", "-c", "aes128-ctr"] },
    // What looks like one that is known is the argument of one that is not.
    { options: ["-b", "-t"] },
  ])("is not with others: $options", ({ options }) => {
    expect(ownSsh(place, options, caller)).toBeUndefined();
  });

  it("is not where the account is in no file: LDAP's, or SSSD's", () => {
    expect(ownSsh(place, [], { ...caller, uid: UID + 1 })).toBeUndefined();
    expect(ownSsh(place, [], { ...caller, uid: 471 })).toBeUndefined();
    expect(ownSsh(place, [], { ...caller, passwd: join(place, "none") })).toBeUndefined();
  });

  it("is not where the user has an ssh of their own before the system's", () => {
    makeProgram(join(place, "mine/ssh"));
    vi.stubEnv("PATH", `${join(place, "mine")}:/usr/bin:/bin`);
    expect(ownSsh(place, [], caller)).toBeUndefined();
  });

  it("is not where the site has one of its own", () => {
    vi.stubEnv("PATH", `${join(place, "usr/local/bin")}:/usr/bin:/bin`);
    makeProgram(join(place, "usr/local/bin/ssh"));
    expect(ownSsh(place, [], caller)).toBeUndefined();
  });

  it("is where the host has none", () => {
    vi.stubEnv("PATH", join(place, "empty"));
    expect(ownSsh(place, [], caller)).toBe(own);
  });

  it("is not where it cannot be executed", () => {
    chmodSync(own, 0o644);
    expect(ownSsh(place, [], caller)).toBeUndefined();
  });
});

describe("ssh for what goes through another host", () => {
  it("is the first in the PATH, by its absolute path", () => {
    const mine = makeProgram(join(place, "mine/ssh"));
    vi.stubEnv("PATH", `relative:.::${join(place, "mine")}:/usr/bin`);
    expect(sshProgram(undefined)).toBe(mine);
  });

  it("is nothing of the working directory's where the PATH has none", () => {
    vi.stubEnv("PATH", join(place, "empty"));
    expect(() => sshProgram(undefined)).toThrow(expect.objectContaining({ exitCode: STATUS.unreachable }));
    expect(sshProgram(place)).toBe(own);
  });
});
