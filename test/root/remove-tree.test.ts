import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { asUser } from "../../src/config/identity.ts";
import { removeTree } from "../../src/job/remove-tree.ts";

const user = { uid: 65534, gid: 65534, groups: [] };
let place: string;
let tree: string;

beforeEach(() => {
  place = mkdtempSync("/dev/shm/gangway-tree-");
  chownSync(place, user.uid, user.gid);
  tree = join(place, "job");
  asUser(user, () => mkdirSync(tree));
});
afterEach(() => {
  execFileSync("rm", ["-rf", "--", place]);
});

function bySh(script: string): void {
  const ids = ["--reuid=65534", "--regid=65534", "--clear-groups"];
  execFileSync("setpriv", [...ids, "sh", "-e", "-c", script], { cwd: tree });
}

describe("a directory is removed in its owner's name", () => {
  it.each([
    ["empty", ":"],
    ["files and directories", "mkdir -p a/b c; touch x a/y a/b/z"],
    ["a FIFO, a socket's place, a dangling link", "mkfifo f; ln -s /nowhere l"],
    ["directories without any mode", "mkdir -p a/b/c; touch a/b/x; chmod 0 a/b/c a/b a"],
    ["unreadable itself", "mkdir -p a; touch a/x; chmod 0 ."],
    ["names of any bytes", "mkdir \"$(printf 'a\\377\\n*')\"; touch \"$(printf 'a\\377\\n*/-rf')\" ./-x"],
  ])("%s", (_what, script) => {
    bySh(script);
    asUser(user, () => removeTree(tree));
    expect(readdirSync(place)).toEqual([]);
  });

  it.each([
    ["deeper than any path is long", 200, 60],
    ["deeper than there are descriptors", 1, 3000],
  ])("%s", (_what, length, depth) => {
    // A shell asks for the whole path at each cd.
    const script = `for (let i = 0; i < ${depth}; i++) {
      fs.mkdirSync("d".repeat(${length})); process.chdir("d".repeat(${length})); fs.writeFileSync("x", "");
    }`;
    bySh(`exec '${process.execPath}' -e '${script}'`);
    asUser(user, () => removeTree(tree));
    expect(existsSync(tree)).toBe(false);
  });

  it("is not there: nothing to do; a file, a link: that alone", () => {
    const kept = join(place, "kept");
    asUser(user, () => {
      mkdirSync(join(kept, "below"), { recursive: true });
      symlinkSync(kept, join(tree, "link"));
      symlinkSync(kept, join(place, "link"));
      removeTree(join(place, "none"));
      removeTree(join(place, "link"));
      removeTree(tree);
    });
    expect(readdirSync(place)).toEqual(["kept"]);
    expect(readdirSync(kept)).toEqual(["below"]);
  });

  it("what goes last is there until the rest is gone, and is removed whatever it is", () => {
    const last = ["whose", "how"];
    bySh("touch 0 a whose z; mkdir -p how/deep/er point");
    execFileSync("mount", ["-t", "tmpfs", "none", join(tree, "point")]);
    expect(() => asUser(user, () => removeTree(tree, last))).toThrow(/mount point|EBUSY/);
    execFileSync("umount", [join(tree, "point")]);
    expect(readdirSync(tree)).toEqual(expect.arrayContaining(last));
    asUser(user, () => removeTree(tree, [...last, "missing"]));
    expect(readdirSync(place)).toEqual([]);
  });

  it("enters no mount point, be it of another file system or of this one", () => {
    for (const mount of [
      ["-t", "tmpfs", "none"],
      ["--bind", place],
    ]) {
      const point = join(tree, "a/b");
      asUser(user, () => mkdirSync(point, { recursive: true }));
      chmodSync(join(tree, "a"), 0o500);
      execFileSync("mount", [...mount, point]);
      const before = statSync(point);
      try {
        expect(() => asUser(user, () => removeTree(tree))).toThrow(/mount point|EBUSY/);
      } finally {
        execFileSync("sh", [
          "-c",
          `umount ${tree}/*/b 2>/dev/null || umount ${tree}/.removed-*/b || umount ${tree}/.removed-*`,
        ]);
      }
      expect(before.isDirectory()).toBe(true);
      expect(existsSync(place)).toBe(true);
      rmSync(tree, { recursive: true, force: true });
      asUser(user, () => mkdirSync(tree));
    }
  });
});
