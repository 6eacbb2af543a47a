import fc from "fast-check";
import { expect, it } from "vitest";
import { printable, printableLines } from "../../src/config/printable.ts";

it("no text of others makes a terminal do anything", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      expect(printable(text)).not.toMatch(/[\p{Cc}\u2028\u2029]/u);
      expect(printableLines(text).replaceAll("\n", "")).not.toMatch(/[\p{Cc}\u2028\u2029]/u);
    }),
  );
  expect(printable("n1: \x1b]0;owned\x07 done")).toBe("n1: ?]0;owned? done");
  // Nor shows it in another order than it stands.
  expect(printable("a\u202Etxt.exe\u2069")).toBe("a?txt.exe?");
});

it("lines stay lines where there may be several", () => {
  expect(printableLines("a\tb\n  c\r")).toBe("a?b\n  c?");
});
