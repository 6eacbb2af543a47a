import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { distance, nearest } from "../../src/config/suggest.ts";

describe("the nearest name", () => {
  const names = ["run", "shell", "udiImagePath", "memory", "network", "ps"];

  it.each([
    ["rum", "run"],
    ["shlel", "shell"],
    ["udi_image_path", "udiImagePath"],
    ["UDI-IMAGE-PATH", "udiImagePath"],
    ["memmory", "memory"],
    ["netwrok", "network"],
  ])("of %s is %s", (word, name) => {
    expect(nearest(word, names)).toBe(name);
  });

  it.each(["", "x", "elephant", "zz", "-", "a".repeat(10_000)])("of %j is none", (word) => {
    expect(nearest(word, names)).toBeUndefined();
  });

  it("distance is a metric where no neighbours are swapped", () => {
    expect(distance("kitten", "sitting")).toBe(3);
    expect(distance("ab", "ba")).toBe(1);
    const word = fc.string({ maxLength: 12 });
    fc.assert(
      fc.property(word, word, (a, b) => {
        expect(distance(a, b)).toBe(distance(b, a));
        expect(distance(a, b) === 0).toBe(a === b);
        expect(distance(a, b)).toBeLessThanOrEqual(Math.max(a.length, b.length));
      }),
    );
  });
});
