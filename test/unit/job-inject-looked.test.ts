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

const ENGINE = "/run/docker.sock";
const ID = "a".repeat(64);
const ONE = { id: ID, started: "2026-11-22T01:00:00.5Z" };

it("a container is known by its whole id, until it is forgotten", () => {
  const looked = new Looked(base, ENGINE);
  expect(looked.has(ONE)).toBe(false);
  looked.add(ONE);
  looked.add(ONE);
  expect([looked.has(ONE), looked.has({ ...ONE, id: ID.slice(1) }), new Looked(base, ENGINE).has(ONE)]).toEqual([
    true,
    false,
    true,
  ]);
  looked.forget(ID);
  looked.forget(ID);
  expect([looked.has(ONE), readdirSync(base)]).toEqual([false, []]);
});

it("once it is started again it is not known any more", () => {
  const looked = new Looked(base, ENGINE);
  looked.add(ONE);
  const again = { ...ONE, started: "2026-11-22T01:00:07.5Z" };
  expect(looked.has(again)).toBe(false);
  looked.add(again);
  expect([looked.has(again), looked.has(ONE)]).toEqual([true, false]);
});

it("what another engine says of a container of that id is not believed of this one's", () => {
  new Looked(base, "/run/user/1000/podman/podman.sock").add(ONE);
  expect(new Looked(base, ENGINE).has(ONE)).toBe(false);
});

it("what was known a day ago is looked at again, and cleared with the next one", () => {
  const looked = new Looked(base, ENGINE);
  looked.add(ONE);
  const yesterday = Date.now() / 1000 - 24 * 60 * 60;
  utimesSync(join(base, readdirSync(base)[0] ?? ""), yesterday, yesterday);
  writeFileSync(join(base, "other"), "");
  utimesSync(join(base, "other"), yesterday, yesterday);
  expect(looked.has(ONE)).toBe(false);
  looked.add({ ...ONE, id: "b".repeat(64) });
  expect(readdirSync(base)).toEqual([`.injected-${"b".repeat(64)}`, "other"]);
});

it("no id leads out of the directory, and a link is no word of ours", () => {
  const looked = new Looked(base, ENGINE);
  looked.add({ ...ONE, id: "../../x" });
  expect(readdirSync(base)).toEqual([".injected-..%2F..%2Fx"]);
  symlinkSync("/etc/passwd", join(base, `.injected-${ID}`));
  expect([looked.has(ONE), existsSync("/etc/passwd")]).toEqual([false, true]);
});
