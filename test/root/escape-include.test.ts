import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { includableEscapeConfig } from "../../src/job/escape.ts";

const UID = 65534;
const made: string[] = [];

afterEach(() => {
  for (const path of made.splice(0)) rmSync(path, { recursive: true });
});

/** A job's directory as a launcher leaves it, in BASE below `above`. */
function jobBelow(above: string): { directory: string; file: string } {
  const directory = join(above, "gangway/1");
  mkdirSync(join(directory, "kit"), { recursive: true, mode: 0o700 });
  const file = join(directory, "kit/escape_config");
  writeFileSync(file, "EnableEscapeCommandline yes\n");
  for (const path of [join(above, "gangway"), directory, join(directory, "kit"), file]) chownSync(path, UID, UID);
  return { directory, file };
}

function makeIn(parent: string, mode: number, uid = UID): string {
  const path = mkdtempSync(join(parent, "gangway-escape-"));
  made.push(path);
  chmodSync(path, mode);
  chownSync(path, uid, uid);
  return path;
}

describe("the index includes a file of the run base", () => {
  it("below a directory of the user's in one of root's", () => {
    const { directory, file } = jobBelow(makeIn("/run", 0o700));
    expect(includableEscapeConfig(directory)).toBe(file);
  });

  it("not where anybody can make the path once it is gone, however deep", () => {
    for (const parent of ["/dev/shm", "/tmp"]) {
      expect(includableEscapeConfig(jobBelow(makeIn(parent, 0o700)).directory)).toBeUndefined();
    }
    expect(includableEscapeConfig(jobBelow(makeIn("/run", 0o1777, 0)).directory)).toBeUndefined();
    expect(includableEscapeConfig(jobBelow(makeIn("/run", 0o770)).directory)).toBeUndefined();
  });

  it("not below another user's directory, and not through a link", () => {
    expect(includableEscapeConfig(jobBelow(makeIn("/run", 0o755, 65533)).directory)).toBeUndefined();
    const above = makeIn("/run", 0o700);
    jobBelow(above);
    const link = join(makeIn("/run", 0o700), "link");
    symlinkSync(above, link);
    expect(includableEscapeConfig(join(link, "gangway/1"))).toBeUndefined();
  });
});
