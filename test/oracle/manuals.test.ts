import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { COMMANDS } from "../../src/cli/main.ts";
import { type Manual, manualOf, manualOfHelp } from "../../src/cli/manual-model.ts";
import { renderManual } from "../../src/cli/manual-roff.ts";

const NAMES = Object.keys(COMMANDS).filter((name) => COMMANDS[name]?.hidden === undefined);

async function manual(name: string): Promise<Manual> {
  const module = await COMMANDS[name]?.load();
  if (module === undefined) throw new Error(`no command ${name}`);
  return "help" in module ? manualOfHelp(module.help, name, "x") : manualOf(module.command(), name, "x");
}

/** What a formatter makes of a page; it has to go well. */
function formatted(argv: readonly string[], page: string): { text: string; complaints: string } {
  const [program = "", ...words] = argv;
  const env = { PATH: process.env.PATH, LC_ALL: "C.UTF-8", MANWIDTH: "100" };
  const { stdout, stderr, status, error } = spawnSync(program, words, { input: page, encoding: "utf8", env });
  if (error !== undefined) throw error;
  expect([0, 2]).toContain(status);
  return { text: stdout, complaints: stderr };
}

const MAN = ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", "-"];
const GROFF = ["groff", "-ww", "-man", "-Tutf8", "-z"];
const LINT = ["mandoc", "-T", "lint", "-W", "style"];

/** What is to be read, without weights. */
const TEXT = ["groff", "-ww", "-man", "-Tutf8", "-K", "utf8", "-rLL=400n", "-P-cbou"];

/** mandoc wishes for a date; the pages are those of a version. */
const WISHED = /missing date, using ""|^mandoc: see above/;

describe.each(NAMES)("gangway man %s", (name) => {
  it("is taken by man, groff and mandoc without a complaint", async () => {
    const page = renderManual(await manual(name), "1.0", ["gangway"]);
    expect(formatted(MAN, page).complaints).toBe("");
    expect(formatted(GROFF, page).complaints).toBe("");
    const lint = formatted(LINT, page).text.split("\n");
    expect(lint.filter((line) => line !== "" && !WISHED.test(line))).toEqual([]);
  });

  it("has every option of the help", async () => {
    const page = renderManual(await manual(name), "1.0", ["gangway"]);
    const { text } = formatted(TEXT, page);
    const module = await COMMANDS[name]?.load();
    if (module === undefined) throw new Error("no such command");
    const help = "help" in module ? module.help : module.command().helpInformation();
    const options = [...help.matchAll(/^ {2,}(?:-\w, +)?(--?[a-z][a-z-]+)/gm)].map(([, option = ""]) => option);
    for (const option of options.filter((each) => each !== "--help" && !each.startsWith("--no-"))) {
      expect(text).toContain(option);
    }
  });
});

describe("a manual page", () => {
  it("says any text as it is, whatever roff would make of it", () => {
    const text = fc
      .string({ unit: fc.constantFrom(..."\\.'\"`-^~*{}[]()|&@#%$ abA…\n\t"), minLength: 1, maxLength: 30 })
      // Lines are filled, so blanks are no text; what is between grave accents is told by its weight alone.
      .map((raw) => raw.replace(/`/g, "").replace(/\s+/g, " ").trim())
      .filter((each) => each !== "");
    fc.assert(
      fc.property(text, text, text, (paragraph, term, line) => {
        const page = renderManual(
          {
            name: "gangway-x",
            summary: paragraph,
            usage: ["gangway x"],
            sections: [
              {
                title: "test",
                blocks: [
                  { kind: "paragraph", text: paragraph },
                  { kind: "entry", term, text: paragraph },
                  { kind: "lines", lines: [line] },
                ],
              },
            ],
          },
          "1",
          ["gangway"],
        );
        const groff = formatted(TEXT, page);
        expect(groff.complaints).toBe("");
        const seen = groff.text.replace(/\s+/g, " ");
        const expected = [`gangway-x - ${paragraph}`, paragraph, term, line].map((each) => each.replaceAll("…", "..."));
        for (const each of expected) expect(seen).toContain(each);
      }),
      { numRuns: 60 },
    );
  });
});
