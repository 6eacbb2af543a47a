import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { GangwayError } from "../../src/config/errors.ts";
import { asUser, callerIdentity } from "../../src/config/identity.ts";

const own = callerIdentity();
const nobody = { uid: 65534, gid: 65534, groups: [65534, 4711] };
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "gangway-identity-"));
  chmodSync(directory, 0o755);
});
afterEach(() => rmSync(directory, { recursive: true }));

describe("as another user", () => {
  it("files are the user's, and root is itself again afterwards", () => {
    const shared = join(directory, "shared");
    mkdirSync(shared);
    chmodSync(shared, 0o1777);
    const inside = asUser(nobody, () => {
      writeFileSync(join(shared, "file"), "");
      return callerIdentity();
    });
    expect(inside.uid).toBe(65534);
    expect(inside.gid).toBe(65534);
    expect([...inside.groups].sort()).toEqual([4711, 65534]);
    expect(statSync(join(shared, "file"))).toMatchObject({ uid: 65534, gid: 65534 });
    expect(callerIdentity()).toEqual(own);
  });

  it("what the user may not do fails, also through a link", () => {
    const secret = join(directory, "secret");
    writeFileSync(secret, "x", { mode: 0o600 });
    const link = join(directory, "link");
    symlinkSync(secret, link);
    expect(() => asUser(nobody, () => writeFileSync(link, "y"))).toThrow("EACCES");
    expect(() => asUser(nobody, () => mkdirSync(join(directory, "x")))).toThrow("EACCES");
    expect(callerIdentity()).toEqual(own);
    expect(existsSync(join(directory, "x"))).toBe(false);
  });

  it("groups count", () => {
    const file = join(directory, "group");
    writeFileSync(file, "x");
    chmodSync(file, 0o640);
    asUser({ ...nobody, groups: [0] }, () => statSync(file));
    expect(() => asUser(nobody, () => writeFileSync(file, "y"))).toThrow("EACCES");
  });

  it("within, the same user is nothing new and a third is refused", () => {
    const third = { uid: 65533, gid: 65533, groups: [] };
    asUser(nobody, () => {
      expect(asUser(nobody, () => process.geteuid?.())).toBe(65534);
      expect(() => asUser(third, () => undefined)).toThrow(GangwayError);
      expect(() => asUser(third, () => undefined)).toThrow("a process of uid 65534 cannot act for uid 65533");
      expect(process.geteuid?.()).toBe(65534);
    });
    expect(callerIdentity()).toEqual(own);
  });

  it("a promise is refused by the compiler and at run time", () => {
    // @ts-expect-error work must be synchronous
    expect(() => asUser(nobody, async () => Promise.reject(new Error("late")))).toThrow("must be synchronous");
    expect(callerIdentity()).toEqual(own);
  });
});
