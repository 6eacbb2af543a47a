import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UsageError } from "../../src/config/errors.ts";
import { getopt } from "../../src/session/shifter/getopt.ts";
import { SHIFTER_OPTIONS } from "../../src/session/shifter/words.ts";

const COLONS = { none: "", required: ":", optional: "::" } as const;
/** The C library's own, by util-linux' getopt(1). `+`: as with POSIXLY_CORRECT. */
const SHORT = `+${Object.entries(SHIFTER_OPTIONS.short)
  .map(([letter, arity]) => `${letter}${COLONS[arity]}`)
  .join("")}`;
const LONG = SHIFTER_OPTIONS.long.map(({ name, arity }) => `${name}${COLONS[arity]}`).join(",");
const MEANS = new Map(SHIFTER_OPTIONS.long.map(({ name, means }) => [`--${name}`, means]));

/** Options and other words as the C library takes them apart; undefined: it refuses them. */
function oracle(words: readonly string[]): { given: (readonly [string, string])[]; rest: string[] } | undefined {
  let output: string;
  try {
    const argv = ["-s", "sh", "-o", SHORT, "-l", LONG, "--", ...words];
    output = execFileSync("getopt", argv, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  } catch {
    return undefined;
  }
  const list: string[] = output.trim().match(/(?:'[^']*'|\\'|[^\s'])+/g) ?? [];
  const plain = list.map((word) => word.replaceAll("'\\''", "\u0000").replaceAll("'", "").replaceAll("\u0000", "'"));
  const end = list.indexOf("--");
  const given: [string, string][] = [];
  for (let at = 0; at < end; at++) {
    const option = plain[at] ?? "";
    const means = MEANS.get(option) ?? option.slice(1);
    const arity =
      SHIFTER_OPTIONS.long.find((each) => `--${each.name}` === option)?.arity ?? SHIFTER_OPTIONS.short[means];
    if (arity === "none") given.push([means, ""]);
    else given.push([means, plain[++at] ?? ""]);
  }
  return { given, rest: plain.slice(end + 1) };
}

function ours(words: readonly string[]): ReturnType<typeof oracle> {
  try {
    const { given, rest } = getopt(words, SHIFTER_OPTIONS);
    // getopt(1) does not tell an empty argument from none.
    return { given: given.map(([means, argument]) => [means, argument ?? ""]), rest: [...rest] };
  } catch (error) {
    if (error instanceof UsageError) return undefined;
    throw error;
  }
}

describe("shifter's options are taken apart as the C library does it", () => {
  it.each([
    [["-vEi", "x", "cmd", "-v"]],
    [["-ix", "--", "-v"]],
    [["-w", "/x"]],
    [["-w/x", "cmd"]],
    [["--workdir", "/x"]],
    [["--entry=x", "--entryp", "a"]],
    [["--env-f", "f", "--vol=a:b", "--verb"]],
    [["--env", "-v", "--env="]],
    [["--e", "x"]],
    [["--v"]],
    [["--help=x"]],
    [["-"]],
    [["-V"]],
    [["--image"]],
    [["-x"]],
    [[]],
  ])("%j", (words) => {
    expect(ours(words)).toEqual(oracle(words));
  });

  it("whatever they are", () => {
    const part = fc.constantFrom(
      ..."-- - -v -h -n -E -V -i -e -w -m -vE -Ev -wx -Vx -w=x -i=x x a:b A=b --x --= --help --volume --verbose --vol".split(
        " ",
      ),
      ..."--image --image= --image=x --entry --entrypoint=x --entryp --workdir --work=x --module --env --env-".split(
        " ",
      ),
      ..."--env-file=f --clear --clearenv=x --e --v --i --i=x -nvEm -hw ' a'b".split(" "),
      "",
      "two words",
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 6 }), (words) => {
        expect(ours(words)).toEqual(oracle(words));
      }),
      { numRuns: 300 },
    );
  });
});
