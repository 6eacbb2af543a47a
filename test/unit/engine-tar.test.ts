import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { firstTarHeader, type TarEntry, writeTar } from "../../src/engine/tar.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "gangway-tar-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

/** What GNU tar makes of an archive. */
function listed(archive: Buffer): string[] {
  const file = join(directory, "archive.tar");
  writeFileSync(file, archive);
  const words = ["--numeric-owner", "--full-time", "--utc", "-tvf", file];
  return execFileSync("tar", words, { encoding: "utf8" }).trimEnd().split("\n");
}

const ENTRIES: TarEntry[] = [
  { path: "opt", mode: 0o755, type: "directory" },
  { path: "opt/program", mode: 0o755, type: "file", content: Buffer.alloc(1000, "x") },
  { path: "opt/again", mode: 0o755, type: "hardlink", target: "opt/program" },
  { path: "opt/link", mode: 0o777, type: "link", target: "program" },
  { path: "opt/empty", mode: 0o600, type: "file", content: Buffer.alloc(0) },
];

describe("an archive", () => {
  it("is read by tar as it was meant", () => {
    const lines = listed(writeTar(ENTRIES, { uid: 1000, gid: 20 })).map((line) => line.replace(/ +/g, " "));
    expect(lines).toEqual([
      "drwxr-xr-x 1000/20 0 1970-01-01 00:00:00 opt/",
      "-rwxr-xr-x 1000/20 1000 1970-01-01 00:00:00 opt/program",
      "hrwxr-xr-x 1000/20 0 1970-01-01 00:00:00 opt/again link to opt/program",
      "lrwxrwxrwx 1000/20 0 1970-01-01 00:00:00 opt/link -> program",
      "-rw------- 1000/20 0 1970-01-01 00:00:00 opt/empty",
    ]);
  });

  it("has any owner, content and size, and tells them again", () => {
    const id = fc.integer({ min: 0, max: 2 ** 31 - 1 });
    fc.assert(
      fc.property(
        id,
        id,
        fc.uint8Array({ maxLength: 2000 }),
        fc.integer({ min: 0, max: 0o777 }),
        (uid, gid, bytes, mode) => {
          const content = Buffer.from(bytes);
          const archive = writeTar([{ path: "a", mode, type: "file", content }], { uid, gid });
          const header = firstTarHeader(archive);
          expect(header).toMatchObject({ type: "file", uid, gid, mode, size: content.length });
          expect(archive.subarray(header?.end, (header?.end ?? 0) + content.length).equals(content)).toBe(true);
        },
      ),
    );
    expect(listed(writeTar(ENTRIES.slice(0, 1), { uid: 2 ** 31 - 2, gid: 2_097_152 }))[0]).toContain(
      "2147483646/2097152",
    );
  });

  it("refuses a path that would be cut", () => {
    expect(() => writeTar([{ path: "x".repeat(101), mode: 0, type: "directory" }], { uid: 0, gid: 0 })).toThrow(
      /too long/,
    );
  });
});

describe("what an archive begins with", () => {
  it.each(["ustar", "pax", "gnu"])("is read of tar's own, format %s", (format) => {
    writeFileSync(join(directory, "file"), "some words");
    const owner = ["--owner=somebody:3000000", "--group=some:4000000"];
    const words = [`--format=${format}`, "--mode=0640", ...(format === "ustar" ? ["--owner=0", "--group=0"] : owner)];
    const archive = execFileSync("tar", ["-C", directory, ...words, "-cf", "-", "file"]);
    const ids = format === "ustar" ? { uid: 0, gid: 0 } : { uid: 3_000_000, gid: 4_000_000 };
    expect(firstTarHeader(archive)).toMatchObject({ type: "file", mode: 0o640, size: 10, ...ids });
  });

  it("is not made of anything else, nor of a part", () => {
    const whole = writeTar(ENTRIES, { uid: 0, gid: 0 });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), (bytes) => firstTarHeader(Buffer.from(bytes)) === undefined),
    );
    for (const length of [0, 1, 511]) expect(firstTarHeader(whole.subarray(0, length))).toBeUndefined();
  });
});
