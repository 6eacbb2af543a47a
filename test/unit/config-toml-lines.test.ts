import fc from "fast-check";
import { parse, stringify } from "smol-toml";
import { describe, expect, it } from "vitest";
import { TomlLines } from "../../src/config/toml-lines.ts";

const tricky = `# a = 1
a = """
b = 1
[c]
\\""" d = 2
"""""
b = ''' # x
c = "''' # "" '
c = [ # [
  "x = 1", # ]
  [1, 2], { y = 1 },
]
"quo.ted" = 1
'lit"' = 1 ; "esc\\u0041\\t" = 1
d.e . "f g" = { h = 1, i = "}" }
[t] # ]
k = 1
[ t . "u.v" ]
k = 2
[[arr]]
x = 1
[[arr]]
x = 2
last = "end"`;

describe("the lines of keys", () => {
  it("are found through strings, comments, brackets and tables", () => {
    const text = tricky.replace(" ; ", "\n");
    parse(text); // the sample itself is right
    const lines = new TomlLines(text);
    const lineOf = (...path: string[]) => lines.lineOf(path);
    const expected = (start: string): number => text.split("\n").findIndex((line) => line.startsWith(start)) + 1;
    expect(lineOf("a")).toBe(2);
    expect(lineOf("b")).toBe(7);
    expect(lineOf("c")).toBe(9);
    expect(lineOf("quo.ted")).toBe(expected('"quo.ted"'));
    expect(lineOf('lit"')).toBe(expected("'lit"));
    expect(lineOf("escA\t")).toBe(expected('"esc'));
    expect(lineOf("d")).toBe(expected("d.e"));
    expect(lineOf("d", "e", "f g")).toBe(expected("d.e"));
    expect(lineOf("d", "e", "f g", "h")).toBe(expected("d.e"));
    expect(lineOf("t")).toBe(expected("[t]"));
    expect(lineOf("t", "k")).toBe(expected("k = 1"));
    expect(lineOf("t", "u.v", "k")).toBe(expected("k = 2"));
    expect(lineOf("arr")).toBe(expected("[[arr]]"));
    expect(lineOf("nowhere")).toBe(1);
  });

  it("are found in whatever the TOML writer writes", () => {
    const content = fc.oneof(
      fc.string({ unit: fc.constantFrom(..."ab#='\"[]{}\n\\.,") }),
      fc.integer(),
      fc.array(fc.string({ unit: fc.constantFrom(..."a#='\"[]{}\n\\") })),
      fc.boolean(),
    );
    const name = fc.string({ minLength: 1, unit: fc.constantFrom(..."ab#='\"[] .\\é") });
    const table = fc.dictionary(name, fc.oneof(content, fc.dictionary(name, content)), { noNullPrototype: true });
    fc.assert(
      fc.property(table, (document) => {
        const text = stringify(document);
        const lines = new TomlLines(text);
        for (const [key, value] of Object.entries(document)) {
          const line = text.split("\n")[lines.lineOf([key]) - 1] ?? "";
          const isTable = typeof value === "object" && !Array.isArray(value);
          // The line itself, alone, begins with that key.
          const alone = line.startsWith("[") ? line : `${line.slice(0, line.indexOf("=", keyEnd(line)))}= 0`;
          expect(Object.keys(parse(alone))).toEqual([key]);
          expect(line.startsWith("[")).toBe(isTable);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("garbage ends", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."a1=\"'[]{}#\n\\. ") }), (text) => {
        expect(new TomlLines(text).lineOf(["a"])).toBeGreaterThanOrEqual(1);
      }),
      { numRuns: 2000 },
    );
  });
});

/** Where the first key of a line ends; quoted ones may hold "=". */
function keyEnd(line: string): number {
  return /^(?:"(?:\\.|[^"\\])*"|'[^']*'|[^=]*)/.exec(line)?.[0].length ?? 0;
}
