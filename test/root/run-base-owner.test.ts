import { chmodSync, chownSync, existsSync, lstatSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { GangwayError } from "../../src/config/errors.ts";
import { callerIdentity } from "../../src/config/identity.ts";
import { openRunBase } from "../../src/config/paths.ts";

const own = callerIdentity();
const nobody = { uid: 65534, gid: 65534, groups: [65534] };
const places = { user: own, home: "/home/u", env: {} };
let memory: string;

beforeEach(() => {
  memory = mkdtempSync("/dev/shm/gangway-test-");
});
afterEach(() => {
  rmSync(memory, { recursive: true });
});

function open(candidates: readonly string[], more: object = {}) {
  return openRunBase({ ...places, job: "1234", nodes: 3, candidates, ...more });
}
function reasonAgainst(path: string, more: object = {}): string {
  try {
    open([path], more);
  } catch (error) {
    if (error instanceof GangwayError) return error.message;
    throw error;
  }
  throw new Error(`${path} was taken`);
}

describe("a run base", () => {
  it("is the user's", () => {
    const path = join(memory, "base");
    mkdirSync(path, { mode: 0o700 });
    chownSync(path, 65534, 65534);
    expect(reasonAgainst(path)).toContain(`belongs to uid 65534, not 0`);
    chmodSync(memory, 0o711);
    expect(open([path], { user: nobody }).path).toBe(path);
    // What root could make, but not the user, is not made for the user.
    const other = join(memory, "other");
    expect(reasonAgainst(other, { user: nobody })).toContain("permission denied");
    expect(existsSync(other)).toBe(false);
    chmodSync(memory, 0o1777);
    open([other], { user: nobody });
    expect(lstatSync(other)).toMatchObject({ uid: 65534, gid: 65534 });
  });

  it("is not below what a third user could put something else in the place of", () => {
    const theirs = join(memory, "theirs");
    mkdirSync(theirs);
    mkdirSync(join(theirs, "mine"), { mode: 0o700 });
    for (const mode of [0o755, 0o1777]) {
      chmodSync(theirs, mode);
      chownSync(theirs, 65534, 65534);
      for (const path of [join(theirs, "base"), join(theirs, "mine/base")]) {
        expect(reasonAgainst(path)).toContain(`others can replace it, since ${theirs} belongs to uid 65534`);
      }
    }
  });
});
