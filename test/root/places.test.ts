import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { asUser } from "../../src/config/identity.ts";
import { placesOfTheUser } from "../../src/job/mounts.ts";
import { specificationOf } from "../unit/job-spec.ts";

const nobody = { uid: 65534, gid: 65534, groups: [65534] };
let top: string;

beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), "gangway-places-"));
  chmodSync(top, 0o755);
});
afterEach(() => rmSync(top, { recursive: true }));

/** What a job of nobody's, launched by root in a directory, has mounted of it, and what is said of it as a home. */
function launchedIn(directory: string) {
  const spec = specificationOf({ callerDirectory: directory, mountWorkdir: true });
  const home = specificationOf({ account: { ...spec.account, home: directory }, mountHome: true });
  const view = { certain: true, pathOf: (path: string) => path };
  return asUser(nobody, () => ({
    mounts: placesOfTheUser(spec, "/run/elsewhere", view).mounts.map(({ source }) => source),
    notes: placesOfTheUser(home, "/run/elsewhere", view).notes,
  }));
}

it.each([
  { uid: 65534, mode: 0o700, who: "the user's own", mounted: true },
  { uid: 0, mode: 0o755, who: "root's, open to all", mounted: true },
  { uid: 65533, mode: 0o700, who: "another's private one", mounted: false },
  { uid: 0, mode: 0o700, who: "root's private one", mounted: false },
  { uid: 0, mode: 0o744, who: "one that may be listed, not entered", mounted: false },
  { uid: 0, mode: 0o711, who: "one that may be entered, not listed", mounted: false },
])("a launch by root mounts a directory by the user's rights: $who", ({ uid, mode, mounted }) => {
  const directory = join(top, "directory");
  mkdirSync(directory);
  chownSync(directory, uid, uid);
  chmodSync(directory, mode);
  expect(launchedIn(directory)).toEqual({
    mounts: mounted ? [directory] : [],
    notes: mounted ? [] : [`the home directory ${directory} is not mounted: you may not enter it on this host`],
  });
});

it("what is no directory is not mounted, and said to be none", () => {
  const file = join(top, "file");
  writeFileSync(file, "");
  expect(launchedIn(file).notes).toEqual([`the home directory ${file} is not mounted: it is no directory`]);
  expect(launchedIn(join(file, "below")).notes).toEqual([
    `the home directory ${join(file, "below")} is not mounted: there is none on this host`,
  ]);
});
