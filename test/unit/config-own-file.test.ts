import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readEnvironment, readOwnFile } from "../../src/config/own-file.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "gangway-own-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

it.each([0, 1, 16 * 1024, 16 * 1024 + 1, 100_000])(
  "a file of %i bytes is read whole, one byte more is refused",
  (size) => {
    const path = join(directory, `of-${size}`);
    writeFileSync(path, "x".repeat(size));
    expect(readOwnFile(path, process.geteuid?.(), size)).toBe("x".repeat(size));
    writeFileSync(path, "x".repeat(size + 1));
    expect(() => readOwnFile(path, process.geteuid?.(), size)).toThrow("it is too large");
  },
);

it("what says of itself that it has no bytes is not read to its end", () => {
  expect(() => readOwnFile("/proc/self/environ", undefined, 8)).toThrow("it is too large");
  expect(() => readEnvironment(process.pid, 8)).toThrow("it is too large");
  expect(readEnvironment(process.pid)).toContain("PATH=");
});
