import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LineSplitter } from "../../src/rendezvous/lines.ts";

function split(chunks: readonly Buffer[], limit: number): [string, boolean][] {
  const lines: [string, boolean][] = [];
  const splitter = new LineSplitter(limit, (line, cut) => lines.push([line, cut]));
  for (const chunk of chunks) splitter.push(chunk);
  splitter.end();
  return lines;
}

describe("lines", () => {
  it("are the same however the bytes are cut into pieces", () => {
    const text = fc.array(
      fc.string({ unit: "grapheme" }).map((line) => line.replaceAll("\n", "")),
      { minLength: 1 },
    );
    fc.assert(
      fc.property(text, fc.array(fc.nat(40)), (lines, sizes) => {
        const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(""));
        const chunks: Buffer[] = [];
        let at = 0;
        for (const size of sizes) {
          chunks.push(bytes.subarray(at, at + size));
          at += size;
        }
        chunks.push(bytes.subarray(at));
        expect(split(chunks, 10_000)).toEqual(lines.map((line) => [line, false]));
      }),
    );
  });

  it("that are too long are cut, said to be, and cost no more memory than the limit", () => {
    expect(split([Buffer.from("abcdefgh"), Buffer.from("ijkl\nabc\nabcde\nab")], 4)).toEqual([
      ["abcd", true],
      ["abc", false],
      ["abcd", true],
      ["ab", false],
    ]);
  });

  it("that are empty are lines, but what is behind the last newline is none", () => {
    expect(split([Buffer.from("\n\na\n")], 4)).toEqual([
      ["", false],
      ["", false],
      ["a", false],
    ]);
  });

  it("are seen to be too long before they end", () => {
    const splitter = new LineSplitter(4, () => undefined);
    splitter.push(Buffer.from("abcd"));
    expect(splitter.overlong).toBe(false);
    splitter.push(Buffer.from("e"));
    expect(splitter.overlong).toBe(true);
  });
});
