import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { foldHostlist, MOST_NAMES, unfoldHostlist } from "../../src/allocation/hostlist.ts";
import { ConfigError, GangwayError } from "../../src/config/errors.ts";
import { isNodeName } from "../../src/config/host-name.ts";

const where = { kind: "variable", name: "SLURM_JOB_NODELIST" } as const;
const unfold = (text: string): string => unfoldHostlist(text, where).join(" ");

function complaint(text: string): string {
  try {
    unfoldHostlist(text, where);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as ConfigError).hint).toMatch(/\S/);
    return (error as ConfigError).message;
  }
  throw new Error(`${text} was taken`);
}

describe("unfoldHostlist", () => {
  it.each([
    ["n1", "n1"],
    ["n[1-3]", "n1 n2 n3"],
    ["n[01-03],big7", "n01 n02 n03 big7"],
    ["n[08-11]", "n08 n09 n10 n11"],
    ["n[1,3-4,7]", "n1 n3 n4 n7"],
    ["rack[1-2]n[1-2]", "rack1n1 rack1n2 rack2n1 rack2n2"],
    ["rack[1-2][8-9]", "rack18 rack19 rack28 rack29"],
    ["n[1-2].example.org", "n1.example.org n2.example.org"],
    ["gpu-a[1-2]-ib,x_1.y-2.z", "gpu-a1-ib gpu-a2-ib x_1.y-2.z"],
    ["[1-3]", "1 2 3"],
    ["n[18446744073709551614-18446744073709551615]", "n18446744073709551614 n18446744073709551615"],
  ])("%s is %s", (list, names) => {
    expect(unfold(list)).toBe(names);
  });

  it("pads to the width of the lower end, as Slurm does", () => {
    expect(unfold("n[01-3]")).toBe("n01 n02 n03");
    expect(unfold("n[1-03]")).toBe("n1 n2 n3");
    expect(unfold("n[98-101]")).toBe("n98 n99 n100 n101");
    expect(unfold("n[098-101]")).toBe("n098 n099 n100 n101");
  });

  it("keeps the order and what is there twice, as Slurm does", () => {
    expect(unfold("n[3,1-2],n1,n[1,1]")).toBe("n3 n1 n2 n1 n1 n1");
  });

  it("takes commas and white space for separators, as many as there are; nothing is no name", () => {
    expect(unfold(",a,,b c,\n d\t")).toBe("a b c d");
    expect(unfold("")).toBe("");
    expect(unfold(" ,\n")).toBe("");
  });

  it.each([
    ["n[3-1]", "the range 3-1 goes down", 3],
    ["n[1,5-4]", "the range 5-4 goes down", 5],
    ["n[]", "a number is missing", 3],
    ["n[1,,2]", "a number is missing", 5],
    ["n[1-]", '"1-" is neither a number nor a range', 3],
    ["n[0-]", '"0-" is neither a number nor a range', 3],
    ["n[1,00-]", '"00-" is neither a number nor a range', 5],
    ["n[-2]", '"-2" is neither a number nor a range', 3],
    ["n[1-2-3]", '"1-2-3" is neither a number nor a range', 3],
    ["n[a-b]", '"a-b" is neither a number nor a range', 3],
    ["n[0x1-0x3]", '"0x1-0x3" is neither a number nor a range', 3],
    ["a,n[1", "a [ without its ]", 4],
    ["n]", "a ] without its [", 2],
    ["n[1]]", "a ] without its [", 5],
    ["n[[1]]", "a [ within brackets", 3],
    ["n[1 -2]", "a blank within brackets", 4],
    ["a,n{1-2}", '"n{1-2}" is no host name', 3],
    ["a,-n1", '"-n1" is no host name', 3],
    ["a;rm", '"a;rm" is no host name', 1],
    ["$(id)", '"$(id)" is no host name', 1],
    ["../x", '"../x" is no host name', 1],
    ["n..x", '"n..x" is no host name', 1],
    ["a,n\u0000", "is no host name", 3],
    ["n[1-2]-", '"n[1-2]-" is no host name', 1],
  ])("refuses %j: %s, at character %i", (list, reason, at) => {
    const message = complaint(list);
    expect(message).toContain("SLURM_JOB_NODELIST: ");
    expect(message).toContain(reason);
    expect(message).toContain(`at character ${at}`);
  });

  it("refuses a bomb before memory is spent on it, and says where it stands", () => {
    const before = process.memoryUsage().rss;
    expect(complaint("a,n[0-999999999]")).toContain("more than 100000 names, at character 5");
    expect(complaint("b,a[0-999]b[0-999]c[0-999]")).toContain("more than 100000 names, at character 3");
    expect(complaint(`a,${Array.from({ length: 20 }, () => "n[0-9]").join("")}`)).toContain("more than 100000 names");
    expect(complaint("n[0-18446744073709551615]")).toContain("more than 100000 names");
    expect(complaint("n[1-60000],m[1-60000]")).toContain("more than 100000 names, at character 12");
    expect(complaint(`${"x".repeat(60_000)}[1-99999]`)).toContain("too long");
    expect(complaint(`n[1-${"9".repeat(60_000)}]`)).toContain("neither a number nor a range");
    expect(complaint("[".repeat(60_000))).toContain("a [ within brackets");
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
  });

  it("takes as many names as it says", () => {
    expect(unfoldHostlist(`n[1-${MOST_NAMES}]`, where)).toHaveLength(MOST_NAMES);
    expect(complaint(`n[0-${MOST_NAMES}]`)).toContain("more than");
  });

  it("gives host names or an error that says where, for any text", () => {
    const unit = fc.constantFrom("n", "0", "1", "9", "[", "]", "-", ",", ".", " ", "_", "é", "\n", "*", '"');
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 24 }), (text) => {
        try {
          for (const name of unfoldHostlist(text, where)) expect(isNodeName(name)).toBe(true);
        } catch (error) {
          if (!(error instanceof GangwayError)) throw error;
          expect(error.message).toMatch(/, at character \d+$/);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe("foldHostlist", () => {
  it.each([
    ["n1 n2 n3", "n[1-3]"],
    ["n3 n1 n2", "n[3,1-2]"],
    ["n1 n1 n2", "n[1,1-2]"],
    ["n01 n2 n03", "n[01,2,03]"],
    ["n08 n09 n10", "n[08-10]"],
    ["n1 x n2", "n1,x,n2"],
    ["n n0 n", "n,n0,n"],
    ["a1b1 a1b2 a2b1", "a1b[1-2],a2b1"],
    ["n1.site2.org n2.site2.org n3", "n[1-2].site2.org,n3"],
    ["head.1 head.2", "head.[1-2]"],
    ["", ""],
  ])("%s is %s", (names, list) => {
    expect(foldHostlist(names.split(" ").filter((name) => name !== ""))).toBe(list);
  });

  it("makes few characters of many names", () => {
    const names = Array.from({ length: 9999 }, (_, index) => `n${String(index + 1).padStart(4, "0")}`);
    expect(foldHostlist(names)).toBe("n[0001-9999]");
  });

  it("is undone by unfolding, in order, for any host names", () => {
    const label = fc.stringMatching(/^[a-z0-9](?:[a-z0-9_-]{0,5}[a-z0-9])?$/);
    const number = fc.oneof(fc.nat({ max: 12 }).map(String), fc.stringMatching(/^0{0,2}[0-9]{1,18}$/));
    const counted = fc.tuple(fc.constantFrom("n", "", "r1n", "a-"), number, fc.constantFrom("", ".x.org", "-ib", ".7"));
    const name = fc.oneof(
      label,
      fc.tuple(label, label).map((labels) => labels.join(".")),
      counted.map((parts) => parts.join("")),
    );
    fc.assert(
      fc.property(fc.array(name, { maxLength: 40 }), (names) => {
        expect(unfoldHostlist(foldHostlist(names), where)).toEqual(names);
      }),
      { numRuns: 1000 },
    );
  });
});
