import { describe, expect, it } from "vitest";
import { renderAge, renderTable } from "../../src/cli/table.ts";

describe("a table", () => {
  it("has columns as wide as they need to be, and no blanks at the end of lines", () => {
    const rows = [
      ["A", "LONG", "C"],
      ["aaaa", "", "x y"],
      ["b", "l", ""],
    ];
    expect(renderTable(rows)).toBe("A     LONG  C\naaaa        x y\nb     l\n");
  });

  it("of nothing is nothing", () => expect(renderTable([])).toBe(""));

  it("may have rows of any length", () => expect(renderTable([["a"], ["b", "c"]])).toBe("a\nb  c\n"));
});

describe("an age", () => {
  it.each([
    [0, "0s"],
    [-5, "0s"],
    [0.9, "0s"],
    [59, "59s"],
    [60, "1m"],
    [312, "5m12s"],
    [3600, "1h"],
    [3661, "1h1m"],
    [273_600, "3d4h"],
    [86_401, "1d1s"],
  ])("%d s", (seconds, text) => expect(renderAge(seconds)).toBe(text));
});
