import { execFileSync } from "node:child_process";
import { readFileSync, realpathSync, statSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MountTable } from "../../src/config/mount-table.ts";

/** `ID PARENT DEVICE ROOT POINT`, as proc_pid_mountinfo(5) begins its lines. */
function table(...mounts: readonly string[]): MountTable {
  return new MountTable(mounts.map((mount) => `${mount} rw - ext4 /dev/sda1 rw\n`).join(""));
}

/** The host: a root file system, another at /home, memory at /dev/shm. */
const HOST = table("20 1 8:1 / /", "21 20 8:2 / /home", "22 20 0:5 / /dev/shm");
/** A job of Slurm's with job_container/tmpfs: /tmp is a directory of the disk, /dev/shm is new. */
const JOB = table(
  "90 1 8:1 / /",
  "91 90 8:2 / /home",
  "92 90 0:5 / /dev/shm",
  "93 90 8:1 /spool/jobs/77 /tmp",
  "94 92 0:9 / /dev/shm",
);

describe("a mount table", () => {
  it("says in which mount a path lies, the uppermost of several", () => {
    expect(JOB.holding("/tmp/x")?.id).toBe(93);
    expect(JOB.holding("/tmpx")?.id).toBe(90);
    expect(JOB.holding("/dev/shm/x")?.id).toBe(94);
    expect(JOB.holding("/")?.id).toBe(90);
  });

  it("agrees with findmnt(8) on this machine", () => {
    const here = new MountTable(readFileSync("/proc/self/mountinfo", "utf8"));
    for (const path of [
      "/",
      "/tmp",
      "/proc/self",
      "/dev/shm",
      "/usr/bin",
      "/sys/fs/cgroup",
      "/dev/pts",
      process.cwd(),
    ]) {
      if (statSync(path, { throwIfNoEntry: false }) === undefined) continue;
      const real = path === "/proc/self" ? path : realpathSync(path);
      const said = execFileSync("findmnt", ["-n", "-o", "TARGET", "-T", real], { encoding: "utf8" });
      // A line for each of several that lie upon one another.
      expect(here.holding(real)?.point).toBe(said.trim().split("\n")[0]);
    }
  });

  it("reads blanks and other odd characters in paths", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("a", " ", "\t", "\n", "\\", "#", "é", "0") }), (name) => {
        const written = name.replace(/[ \t\n\\#]/g, (one) => `\\${one.charCodeAt(0).toString(8).padStart(3, "0")}`);
        const point = `/x${name}`;
        expect(table("1 0 8:1 / /", `2 1 8:2 / /x${written}`).holding(`${point}/y`)?.point).toBe(point);
      }),
    );
  });
});

describe("the same directory in another namespace", () => {
  it("has the same path where nothing is between", () => {
    expect(HOST.pathOf("/home/alice", JOB)).toBe("/home/alice");
    expect(HOST.pathOf("/usr/lib", JOB)).toBe("/usr/lib");
  });

  it("has the path by which the other reaches it", () => {
    expect(HOST.pathOf("/tmp/work", JOB)).toBe("/spool/jobs/77/work");
    expect(HOST.pathOf("/tmp", JOB)).toBe("/spool/jobs/77");
  });

  it("has none where the other does not have the file system, or something lies over it", () => {
    expect(HOST.pathOf("/dev/shm/gangway-1000", JOB)).toBeUndefined();
    const covered = table("20 1 8:1 / /", "21 20 8:3 / /spool");
    expect(covered.pathOf("/tmp/work", JOB)).toBeUndefined();
    expect(HOST.pathOf("/spool/x", covered)).toBeUndefined();
  });

  it("is itself, for every path of one namespace that nothing hides", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom("home", "tmp", "dev", "shm", "a"), { maxLength: 5 }), (names) => {
        const path = `/${names.join("/")}`;
        expect(JOB.pathOf(path, JOB)).toBe(path);
      }),
    );
  });
});
