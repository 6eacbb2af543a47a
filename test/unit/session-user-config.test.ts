import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { GangwayError } from "../../src/config/errors.ts";
import { installBlock, removeBlock } from "../../src/session/user-config.ts";

const INCLUDE = ["Include ~/.gangway/ssh/config"];

let home: string;
let path: string;

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "gangway-user-config-"));
  path = join(home, ".ssh/config");
});

afterEach(() => {
  rmSync(home, { recursive: true, force: true });
});

function put(content: string | Buffer, mode = 0o600): void {
  mkdirSync(join(home, ".ssh"), { recursive: true, mode: 0o700 });
  writeFileSync(path, content);
  chmodSync(path, mode);
}

describe("installing into ~/.ssh/config", () => {
  it("stands at the very top, where no Host block can swallow it", () => {
    put("Host a\n  User b\n");
    installBlock(path, INCLUDE);
    const lines = readFileSync(path, "utf8").split("\n");
    expect(lines.indexOf(INCLUDE[0] ?? "")).toBeLessThan(lines.indexOf("Host a"));
  });

  it("changes nothing the second time", () => {
    put("Host a\n");
    expect(installBlock(path, INCLUDE)).toBe(true);
    const once = readFileSync(path);
    expect(installBlock(path, INCLUDE)).toBe(false);
    expect(readFileSync(path)).toEqual(once);
  });

  it("brings an older block up to date", () => {
    put("Host a\n");
    installBlock(path, ["Include /old"]);
    installBlock(path, INCLUDE);
    expect(readFileSync(path, "utf8")).not.toContain("/old");
    expect(readFileSync(path, "utf8").match(/>>> gangway/g)).toHaveLength(1);
  });

  it.each([
    ["a usual file", "Host a\n  User b\n"],
    ["CRLF", "Host a\r\n  User b\r\n"],
    ["no newline at its end", "Host a\n  User b"],
    ["an empty file", ""],
    ["bytes that are no UTF-8", Buffer.from([0x23, 0xff, 0xfe, 0x0a, 0x00])],
  ])("%s is the same, byte for byte, after install and undo", (_name, content) => {
    put(content);
    installBlock(path, INCLUDE);
    removeBlock(path);
    expect(readFileSync(path)).toEqual(Buffer.from(content));
  });

  it("any file is the same, byte for byte, after install and undo", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        put(Buffer.from(bytes));
        installBlock(path, INCLUDE);
        removeBlock(path);
        expect(readFileSync(path)).toEqual(Buffer.from(bytes));
      }),
    );
  });

  it("a file that was not there is not there after undo", () => {
    expect(installBlock(path, INCLUDE)).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(home, ".ssh")).mode & 0o777).toBe(0o700);
    expect(removeBlock(path)).toBe(true);
    expect(existsSync(path)).toBe(false);
    expect(removeBlock(path)).toBe(false);
  });

  it("a file that was not there and got lines since stays with these", () => {
    installBlock(path, INCLUDE);
    writeFileSync(path, `${readFileSync(path, "utf8")}Host mine\n`);
    installBlock(path, ["Include /new"]);
    removeBlock(path);
    expect(readFileSync(path, "utf8")).toBe("Host mine\n");
  });

  it("a link stays a link, and the file behind it is changed", () => {
    mkdirSync(join(home, ".ssh"));
    mkdirSync(join(home, "dotfiles"));
    writeFileSync(join(home, "dotfiles/ssh"), "Host a\n");
    symlinkSync("../dotfiles/ssh", path);
    installBlock(path, INCLUDE);
    expect(lstatSync(path).isSymbolicLink()).toBe(true);
    expect(readFileSync(join(home, "dotfiles/ssh"), "utf8")).toContain("Include");
    removeBlock(path);
    expect(lstatSync(path).isSymbolicLink()).toBe(true);
    expect(readFileSync(join(home, "dotfiles/ssh"), "utf8")).toBe("Host a\n");
  });

  it("a read-only file keeps its mode", () => {
    put("Host a\n", 0o400);
    installBlock(path, INCLUDE);
    expect(statSync(path).mode & 0o777).toBe(0o400);
    removeBlock(path);
    expect(statSync(path).mode & 0o777).toBe(0o400);
  });

  it.each([
    [
      "its end is missing",
      (text: string) => text.replace("# <<< gangway <<<\n", ""),
      [
        'line 1 "# >>> gangway >>>"',
        'its end "# <<< gangway <<<" is gone: remove line 1 and gangway\'s Include lines below',
      ],
    ],
    [
      "its begin is missing",
      (text: string) => text.replace("# >>> gangway >>>\n", ""),
      [
        'line 3 "# <<< gangway <<<"',
        'its begin "# >>> gangway >>>" is gone: remove line 3 and gangway\'s Include lines above',
      ],
    ],
    [
      "it stands there twice",
      (text: string) => text + text,
      ['line 1 "# >>> gangway >>>", line 4', "remove these lines"],
    ],
  ])("a block damaged by hand (%s) is refused, and nothing is changed", (_name, damage, [where = "", hint = ""]) => {
    put("Host a\n");
    installBlock(path, INCLUDE);
    const damaged = damage(readFileSync(path, "utf8"));
    writeFileSync(path, damaged);
    expect(() => installBlock(path, INCLUDE)).toThrow(GangwayError);
    try {
      removeBlock(path);
      expect.unreachable("it was taken for a block");
    } catch (error) {
      expect((error as GangwayError).message).toContain(`do not match (${where}`);
      expect((error as GangwayError).hint).toContain(hint);
    }
    expect(readFileSync(path, "utf8")).toBe(damaged);
  });
});
