import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { programInPath, programNamed } from "../../src/config/program-path.ts";

let place = "";
let cwd = "";

function makeProgram(directory: string): string {
  mkdirSync(join(place, directory), { recursive: true });
  const path = join(place, directory, "srun");
  writeFileSync(path, "#!/bin/sh\n", { mode: 0o755 });
  return path;
}

beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), "gangway-program-path-"));
  cwd = process.cwd();
});
afterEach(() => {
  process.chdir(cwd);
  rmSync(place, { recursive: true });
});

describe("a program that is started by its name", () => {
  it("is the first of it in the PATH", () => {
    const first = makeProgram("one");
    makeProgram("two");
    expect(programNamed("srun", `${join(place, "none")}:${join(place, "one")}:${join(place, "two")}`)).toBe(first);
  });

  it.each(["", ".", ":", "bin", "bin:", "../cwd"])("is none of the working directory's, by the PATH %j", (path) => {
    makeProgram("cwd");
    makeProgram("cwd/bin");
    process.chdir(join(place, "cwd"));
    expect(programInPath("srun", path)).toBeUndefined();
    expect(programNamed("srun", path)).toBe("/nonexistent/srun");
  });

  it("is what a path says", () => {
    expect(programNamed("./srun", "/usr/bin")).toBe("./srun");
    expect(programNamed("/opt/bin/srun", "/usr/bin")).toBe("/opt/bin/srun");
  });

  it("is nowhere left to the kernel's own search", () => {
    const sources = readdirSync("src", { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
    const bare = sources.flatMap((name) => {
      const calls = readFileSync(join("src", name), "utf8").matchAll(
        /\b(?:spawn|spawnSync|execFile|execFileSync|runChild)\)?\(\s*"([^"/]+)"/g,
      );
      return [...calls].map(([, program]) => `${name}: ${program}`);
    });
    expect(sources.length).toBeGreaterThan(200);
    expect(bare).toEqual([]);
  });
});
