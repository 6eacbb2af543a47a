import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { foldHostlist, unfoldHostlist } from "../../src/allocation/hostlist.ts";

// Slurm's own program decides what its grammar means. It asks no controller for this, but wants a slurm.conf.

const directory = mkdtempSync(join(tmpdir(), "gangway-oracle-"));
const where = { kind: "variable", name: "SLURM_JOB_NODELIST" } as const;

beforeAll(() => writeFileSync(join(directory, "slurm.conf"), "ClusterName=none\nSlurmctldHost=localhost\n"));
afterAll(() => rmSync(directory, { recursive: true }));

function scontrol(show: "hostnames" | "hostlist", text: string): string[] {
  const env = { PATH: process.env.PATH ?? "", SLURM_CONF: join(directory, "slurm.conf") };
  // What is wrong it says on standard error, with exit status 0.
  const output = execFileSync("scontrol", ["show", show, text], {
    env,
    encoding: "utf8",
    maxBuffer: 1 << 26,
    stdio: ["ignore", "pipe", "ignore"],
  });
  return output.split("\n").filter((line) => line !== "");
}

const digits = fc
  .tuple(fc.integer({ min: 0, max: 3 }), fc.nat({ max: 1200 }))
  .map(([zeros, n]) => "0".repeat(zeros) + n);
const range = fc
  .tuple(digits, fc.nat({ max: 30 }), fc.boolean())
  .map(([from, more, padded]) => `${from}-${String(Number(from) + more).padStart(padded ? from.length : 0, "0")}`);
const brackets = fc
  .array(fc.oneof(digits, range), { minLength: 1, maxLength: 4 })
  .map((ranges) => `[${ranges.join(",")}]`);
const stem = fc.stringMatching(/^[a-z](?:[a-z0-9_.-]{0,6}[a-z0-9])?$/).filter((text) => !/\.[-_.]|[-_]\./.test(text));
// Slurm 22.05 takes no text behind the last bracket.
const element = fc.oneof(
  stem,
  fc.tuple(stem, brackets).map((parts) => parts.join("")),
  fc.tuple(stem, brackets, stem, brackets).map((parts) => parts.join("")),
  fc.tuple(stem, brackets, brackets).map((parts) => parts.join("")),
);

describe("hostlists, as scontrol has them", () => {
  it("unfold to the same names in the same order", () => {
    fc.assert(
      fc.property(fc.array(element, { minLength: 1, maxLength: 3 }), (elements) => {
        const text = elements.join(",");
        expect(unfoldHostlist(text, where)).toEqual(scontrol("hostnames", text));
      }),
      { numRuns: 300 },
    );
  });

  it("fold to the same text, for names that end in their number", () => {
    const name = fc.tuple(fc.constantFrom("n", "m", "r1-n"), fc.oneof(digits, fc.nat({ max: 12 }).map(String)));
    const run = fc
      .tuple(name, fc.nat({ max: 20 }))
      .map(([[head, first], more]) =>
        Array.from(
          { length: more + 1 },
          (_, index) => head + String(Number(first) + index).padStart(first.length, "0"),
        ),
      );
    fc.assert(
      fc.property(fc.array(run, { minLength: 1, maxLength: 6 }), (runs) => {
        const names = runs.flat();
        expect([foldHostlist(names)]).toEqual(scontrol("hostlist", names.join(",")));
      }),
      { numRuns: 300 },
    );
  });

  it("are the same for ten thousand names", () => {
    const names = unfoldHostlist("n[00001-10000]", where);
    expect(names).toEqual(scontrol("hostnames", "n[00001-10000]"));
    expect([foldHostlist(names)]).toEqual(scontrol("hostlist", names.join(",")));
  });

  it.each(["n[3-1]", "n[]", "n[a-b]", "n[1,,2]", "n[1]]", "n[[1]]", "n[1-2-3]"])("%s is none to either", (text) => {
    expect(() => unfoldHostlist(text, where)).toThrow("SLURM_JOB_NODELIST");
    expect(scontrol("hostnames", text)).toEqual([]);
  });
});
