import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GangwayError } from "../../src/config/errors.ts";
import { shellCommand, shellWord } from "../../src/session/ssh-client.ts";
import { parseTarget } from "../../src/session/target.ts";

describe("words for a shell", () => {
  it("arrive as they are", () => {
    const argument = fc.string({ unit: "grapheme", maxLength: 20 }).filter((text) => !text.includes("\0"));
    fc.assert(
      fc.property(fc.array(argument, { maxLength: 8 }), (words) => {
        const command = shellCommand(["printf", "%s\\0", ...words, "end"]);
        const out = execFileSync("/bin/sh", ["-c", command]).toString("utf8");
        expect(out.split("\0").slice(0, -1)).toEqual([...words, "end"]);
      }),
      { numRuns: 60 },
    );
  });

  it("stay readable where they can", () => {
    expect(shellWord("-l")).toBe("-l");
    expect(shellWord("/a/b.c:d@e,f+g")).toBe("/a/b.c:d@e,f+g");
    expect(shellWord("")).toBe("''");
    expect(shellWord("it's")).toBe("'it'\\''s'");
  });

  it.each(["A=b", "if", "for", "!", "{", "time"])("%s in front is a program's name", (name) => {
    expect(shellCommand([name])).toBe(`'${name}'`);
  });

  it("no words are no command: a login shell", () => {
    expect(shellCommand([])).toBe("");
    expect(shellCommand([""])).toBe("''");
  });
});

describe("a target", () => {
  it.each<[string | undefined, string[], string | undefined, string | undefined]>([
    [undefined, ["a"], undefined, undefined],
    ["a", [], "a", undefined],
    ["a.node2", ["a"], "a", "node2"],
    ["a.1", ["a"], "a", "1"],
    ["a.host.domain", [], "a", "host.domain"],
    ["32.0", [], "32.0", undefined],
    ["32.0", ["32.0"], "32.0", undefined],
    ["32.0", ["32"], "32", "0"],
    ["32.0.node2", [], "32.0", "node2"],
    ["32.0.node2", ["32.0"], "32.0", "node2"],
    ["1234_7.n1", [], "1234_7", "n1"],
    ["1234+1", [], "1234+1", undefined],
  ])("%j with %j running", (text, jobs, job, node) => {
    expect(parseTarget(text, jobs)).toEqual({ job, node });
  });

  it.each(["", ".", "a.", ".a", "a..b", "a b", "a/b", "-x", "a.b c", "../x", "a\nb"])("%j is none", (text) => {
    expect(() => parseTarget(text, [])).toThrow(/is no job$/);
  });

  it("is read, or refused in words, whatever it is", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        try {
          parseTarget(text, ["a", "32.0"]);
        } catch (error) {
          expect(error).toBeInstanceOf(GangwayError);
        }
      }),
    );
  });
});
