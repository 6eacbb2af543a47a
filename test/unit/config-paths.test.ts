import { chmodSync, existsSync, lstatSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ConfigError, GangwayError } from "../../src/config/errors.ts";
import { callerIdentity } from "../../src/config/identity.ts";
import {
  cacheDirectory,
  expandDirectory,
  findRunBases,
  findUdiImage,
  openRunBase,
  runBaseCandidates,
  stateDirectory,
} from "../../src/config/paths.ts";

const own = callerIdentity();
/** Whoever runs these tests, it is not this one. */
const stranger = { uid: own.uid + 1, gid: 1, groups: [] };
const places = { user: own, home: "/home/u", env: {} };
let memory: string;
let disk: string;

beforeEach(() => {
  memory = mkdtempSync("/dev/shm/gangway-test-");
  disk = mkdtempSync(join(tmpdir(), "gangway-paths-"));
});
afterEach(() => {
  rmSync(memory, { recursive: true });
  rmSync(disk, { recursive: true });
});

function open(candidates: readonly string[], more: object = {}) {
  return openRunBase({ ...places, job: "1234", nodes: 3, candidates, ...more });
}
function reasonAgainst(path: string, more: object = {}): string {
  try {
    open([path], more);
  } catch (error) {
    if (error instanceof GangwayError) return error.message;
    throw error;
  }
  throw new Error(`${path} was taken`);
}

describe("candidates", () => {
  it("in the order of the internals, XDG_RUNTIME_DIR only for the caller", () => {
    const env = { XDG_RUNTIME_DIR: "/run/mine" };
    const { uid } = own;
    expect(runBaseCandidates({ ...places, env })).toEqual([
      "/run/mine/gangway",
      `/run/user/${uid}/gangway`,
      `/dev/shm/gangway-${uid}`,
    ]);
    expect(runBaseCandidates({ ...places, user: stranger, env }, "/run/g/%U")).toEqual([
      `/run/g/${uid + 1}`,
      `/run/user/${uid + 1}/gangway`,
      `/dev/shm/gangway-${uid + 1}`,
    ]);
    expect(runBaseCandidates({ ...places, env: { XDG_RUNTIME_DIR: `/run/user/${uid}/` } })).toHaveLength(2);
    expect(runBaseCandidates({ ...places, env: { XDG_RUNTIME_DIR: "relative" } })).toHaveLength(2);
  });

  it("state and cache", () => {
    expect(stateDirectory(places)).toBe("/home/u/.local/state/gangway");
    expect(cacheDirectory(places)).toBe("/home/u/.cache/gangway");
    const env = { XDG_STATE_HOME: "/s", XDG_CACHE_HOME: "/c" };
    expect(stateDirectory({ ...places, env })).toBe("/s/gangway");
    expect(cacheDirectory({ ...places, env })).toBe("/c/gangway");
    expect(cacheDirectory({ ...places, env, user: stranger })).toBe("/home/u/.cache/gangway");
    expect(stateDirectory(places, "~/x/%U")).toBe(`/home/u/x/${own.uid}`);
    expect(expandDirectory("/a/%%U/%U/", places)).toBe(`/a/%U/${own.uid}`);
  });
});

describe("the run base", () => {
  it("is made, and found again", () => {
    const path = join(memory, "base");
    expect(open([path])).toEqual({ path, passedOver: [] });
    expect(lstatSync(path).mode & 0o7777).toBe(0o700);
    expect(open([path])).toEqual({ path, passedOver: [] });
    expect(findRunBases(places, path)).toContain(path);
  });

  it("is private whatever the umask", () => {
    const before = process.umask(0);
    try {
      const path = join(memory, "base");
      open([path]);
      expect(lstatSync(path).mode & 0o7777).toBe(0o700);
    } finally {
      process.umask(before);
    }
  });

  it("is no link, file, or open directory, and what is there stays as it is", () => {
    const link = join(memory, "link");
    const target = join(memory, "target");
    mkdirSync(target, { mode: 0o700 });
    symlinkSync(target, link);
    expect(reasonAgainst(link)).toContain(`${link}: is a symbolic link`);
    const dangling = join(memory, "dangling");
    symlinkSync(join(memory, "nothing"), dangling);
    expect(reasonAgainst(dangling)).toContain("is a symbolic link");
    expect(existsSync(join(memory, "nothing"))).toBe(false);
    const file = join(memory, "file");
    writeFileSync(file, "");
    expect(reasonAgainst(file)).toContain("is no directory");
    const wide = join(memory, "wide");
    mkdirSync(wide);
    chmodSync(wide, 0o750);
    expect(reasonAgainst(wide)).toContain("has mode 0750, not 0700");
    expect(lstatSync(wide).mode & 0o777).toBe(0o750);
  });

  it("is not where others could replace it, and is in memory", () => {
    mkdirSync(join(memory, "inner"), { mode: 0o700 });
    chmodSync(memory, 0o777);
    for (const path of ["base", "inner/base"]) {
      expect(reasonAgainst(join(memory, path))).toContain(`others can replace it, since they can write ${memory}`);
    }
    expect(reasonAgainst(join(disk, "base"))).toContain("is not in memory");
    expect(reasonAgainst(join(memory, "no/base"))).toContain("no such file or directory");
  });

  it("leaves room for the paths of sockets", () => {
    const room = 107 - `/1234/launcher.sock`.length;
    const fits = join(memory, "b".repeat(room - memory.length - 1));
    expect(Buffer.byteLength(fits)).toBe(room);
    expect(open([fits]).path).toBe(fits);
    expect(reasonAgainst(`${fits}b`)).toContain("would be 108 bytes, 107 at most");
    expect(existsSync(`${fits}b`)).toBe(false);
    // Enough nodes, and their numbers are what is longest.
    expect(() => open([fits], { nodes: 1_000_000_000 })).not.toThrow();
    expect(() => open([fits], { nodes: 1_000_000_001 })).toThrow("107 at most");
  });

  it("the next candidate is taken, the reasons are told", () => {
    const file = join(memory, "file");
    writeFileSync(file, "");
    const path = join(memory, "base");
    expect(open([join(disk, "x"), file, path])).toEqual({
      path,
      passedOver: [`${join(disk, "x")}: is not in memory (tmpfs or ramfs)`, `${file}: is no directory`],
    });
    expect(reasonAgainst(file)).toMatch(/^no directory in memory for the job's private files \(.*: is no directory\)$/);
  });
});

describe("the udiImage", () => {
  it("is beside the program, or where the setting says", () => {
    const program = join(disk, "dist");
    mkdirSync(program);
    mkdirSync(join(disk, "udiImage"));
    const configured = { path: join(disk, "udiImage"), origin: "--udi-image" };
    expect(() => findUdiImage({ program, configured })).toThrow(ConfigError);
    expect(() => findUdiImage({ program, configured })).toThrow("--udi-image: no udiImage");
    mkdirSync(join(disk, "build/udiImage"), { recursive: true });
    writeFileSync(join(disk, "udiImage/manifest.json"), "{}");
    expect(findUdiImage({ program })).toBe(join(disk, "udiImage"));
    writeFileSync(join(disk, "build/udiImage/manifest.json"), "{}");
    expect(findUdiImage({ program })).toBe(join(disk, "build/udiImage"));
    symlinkSync("build/udiImage", join(disk, "link"));
    expect(findUdiImage({ program, configured: { path: join(disk, "link"), origin: "x" } })).toBe(
      join(disk, "build/udiImage"),
    );
  });
});
