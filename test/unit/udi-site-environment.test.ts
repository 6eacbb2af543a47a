import { describe, expect, it } from "vitest";
import { applySite, type SiteEnvironment } from "../../src/udi/site-environment.ts";

function site(words: Partial<SiteEnvironment>): SiteEnvironment {
  return { set: {}, prepend: {}, append: {}, unset: [], ...words };
}

describe("the site's word on the environment", () => {
  it("sets, appends, prepends and takes away, in this order", () => {
    const applied = applySite(
      ["A=1", "LIST=b", "EMPTY=", "GONE=x", "PATH=/bin"],
      site({
        set: { A: "2", NEW: "n", LIST: "set" },
        append: { LIST: "c", EMPTY: "e", FRESH: "f" },
        prepend: { LIST: "a" },
        unset: ["GONE", "NEVER"],
      }),
    );
    expect(applied).toEqual(expect.arrayContaining(["A=2", "NEW=n", "LIST=a:set:c", "EMPTY=e", "FRESH=f"]));
    expect(applied.filter((entry) => entry.startsWith("GONE="))).toEqual([]);
  });

  it("leaves values as they are, whatever is in them", () => {
    const odd = ["X=a=b", "Y=line\nbreak", "Z= blank ", "a.b-c=1", "BASH_FUNC_f%%=() { :; }"];
    expect(applySite([...odd, "PATH=/bin"], site({}))).toEqual(expect.arrayContaining(odd));
  });

  it("cannot take our programs out of PATH: ours are first, our tools last, once", () => {
    for (const words of [{ set: { PATH: "/x" } }, { unset: ["PATH"] }, { prepend: { PATH: "/first" } }, {}]) {
      const applied = applySite(["PATH=/opt/udiImage/bin:/bin:/opt/udiImage/tools"], site(words));
      const path =
        applied
          .find((entry) => entry.startsWith("PATH="))
          ?.slice(5)
          .split(":") ?? [];
      expect(path[0]).toBe("/opt/udiImage/bin");
      expect(path.at(-1)).toBe("/opt/udiImage/tools");
      expect(new Set(path).size).toBe(path.length);
    }
  });
});
