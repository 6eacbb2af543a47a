import { existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Looked } from "../../src/job/inject-looked.ts";

let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "gangway-looked-"));
});
afterEach(() => rmSync(base, { recursive: true }));

const ID = "a".repeat(64);

it("a container is known by its whole id, until it is forgotten", () => {
  const looked = new Looked(base);
  expect(looked.has(ID)).toBe(false);
  looked.add(ID);
  looked.add(ID);
  expect([looked.has(ID), looked.has(ID.slice(1)), new Looked(base).has(ID)]).toEqual([true, false, true]);
  looked.forget(ID);
  looked.forget(ID);
  expect([looked.has(ID), readdirSync(base)]).toEqual([false, []]);
});

it("what was known a day ago is looked at again, and cleared with the next one", () => {
  const looked = new Looked(base);
  looked.add(ID);
  const yesterday = Date.now() / 1000 - 24 * 60 * 60;
  utimesSync(join(base, readdirSync(base)[0] ?? ""), yesterday, yesterday);
  writeFileSync(join(base, "other"), "");
  utimesSync(join(base, "other"), yesterday, yesterday);
  expect(looked.has(ID)).toBe(false);
  looked.add("b".repeat(64));
  expect(readdirSync(base)).toEqual([`.injected-${"b".repeat(64)}`, "other"]);
});

it("no id leads out of the directory, and a link is no word of ours", () => {
  const looked = new Looked(base);
  looked.add("../../x");
  expect(readdirSync(base)).toEqual([".injected-..%2F..%2Fx"]);
  symlinkSync("/etc/passwd", join(base, `.injected-${ID}`));
  expect([looked.has(ID), existsSync("/etc/passwd")]).toEqual([false, true]);
});
