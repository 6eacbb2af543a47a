import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { IMAGES, inDirectory, type RunOptions, type RunResult, run, type TestUser, USER } from "./harness.ts";
import { execute } from "./launch.ts";

const ROOT: TestUser = { name: "root", uid: 0, gid: 0, home: "/root", runtime: "/nonexistent" };
/** All that a machine needs: no compiler, no make. */
const PROGRAMS = ["node", "npm", "env", "sh", "tar", "gzip", "ssh", "id", "getent"];

let place: string;
let programs: string;
let prefix: string;
let archive: string;

beforeAll(async () => {
  place = mkdtempSync("/tmp/gangway-package-");
  chmodSync(place, 0o755);
  programs = join(place, "programs");
  prefix = join(place, "prefix");
  for (const directory of [programs, prefix]) mkdirSync(directory);
  for (const program of PROGRAMS) {
    const { stdout } = await execute("sh", ["-c", `command -v ${program}`]);
    symlinkSync(stdout.trim(), join(programs, program));
  }
  // As `make package` does it; npm may be set up to run no scripts.
  await execute("make", ["--no-print-directory", "bundle", "build/udiImage.tar.gz"], { cwd: resolve(".") });
  const { stdout } = await execute("npm", ["pack", "--silent", "--pack-destination", place], { cwd: resolve(".") });
  archive = join(place, stdout.trim().split("\n").at(-1) ?? "");
  const home = join(place, "home");
  mkdirSync(home);
  const words = ["install", "--global", "--offline", "--ignore-scripts", "--prefix", prefix, archive];
  await execute(join(programs, "npm"), words, { cwd: home, env: { PATH: programs, HOME: home } });
});
afterAll(() => rmSync(place, { recursive: true, force: true }));

const modules = () => join(prefix, "lib/node_modules/gangway");

/** The installed program, in a PATH of its own and those few. */
async function installed(words: readonly string[], cache: string, options: RunOptions = {}): Promise<RunResult> {
  const path = options.env?.PATH ?? `${prefix}/bin:${programs}`;
  const argv = ["env", `PATH=${path}`, `XDG_CACHE_HOME=${cache}`, join(prefix, "bin/gangway"), ...words];
  return await run(argv, { cwd: "/tmp", user: options.user ?? USER });
}

describe("the package, installed by npm on a machine without compilers", () => {
  it("brings the manual pages to where man looks, and the examples", () => {
    expect(readdirSync(join(prefix, "share/man/man1"))).toEqual(readdirSync("dist/man").toSorted());
    expect(statSync(join(modules(), "examples/htcondor/wrapper")).mode & 0o777).toBe(0o755);
  });

  it("depends on nothing, runs no script, and brings the licences of what is in it", () => {
    const own = JSON.parse(readFileSync(join(modules(), "package.json"), "utf8")) as Record<string, unknown>;
    expect(own.dependencies).toBeUndefined();
    expect(Object.keys(own.scripts as object)).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/^(pre|post)?install$/)]),
    );
    expect(existsSync(join(modules(), "node_modules"))).toBe(false);
    expect(readFileSync(join(modules(), "dist/licences.txt"), "utf8")).toMatch(/^dockerode [\d.]+ \(Apache-2\.0\)$/m);
  });

  it("unpacks its tree for a user who may not write there, once, also for several at once", async () => {
    await inDirectory(async (cache) => {
      // The engine, which is root on a machine of its own or the user, has to get there.
      chmodSync(cache, 0o755);
      const all = await Promise.all([1, 2, 3].map(async () => await installed(["doctor"], cache)));
      for (const { code, stdout, stderr } of all) {
        expect(stdout).toMatch(new RegExp(`^ok +udiImage +${cache}/gangway/udiImage-[0-9-]+ `, "m"));
        expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      }
      const [tree = "", ...others] = readdirSync(join(cache, "gangway")).filter((name) => name.includes("udiImage"));
      expect(others).toEqual([]);
      // One program by many names, as it was built: npm would have made copies of it, or nothing.
      const ssh = statSync(join(cache, "gangway", tree, "bin/ssh"));
      expect(ssh.nlink).toBe(statSync("build/udiImage/bin/ssh").nlink);
      expect(ssh.mode & 0o7777).toBe(0o755);
      const job = ["run", "--image", IMAGES.bare, "--nodes", "2", "--", "sh", "-c", "ssh node2 hostname"];
      expect(await installed(job, cache)).toMatchObject({ code: 0, stdout: "node2\n", stderr: "" });
    });
  });

  it("takes no programs from where others can have put them, and makes no such place, whatever the umask", async () => {
    await inDirectory(async (cache) => {
      chmodSync(cache, 0o755);
      const own = join(cache, "gangway");
      const argv = ["sh", "-c", 'umask 0; exec "$@"', "sh", "env", `PATH=${prefix}/bin:${programs}`];
      const { code } = await run([...argv, `XDG_CACHE_HOME=${cache}`, join(prefix, "bin/gangway"), "doctor"], {
        cwd: "/tmp",
      });
      expect({ code, mode: statSync(own).mode & 0o777 }).toEqual({ code: 0, mode: 0o700 });
      chmodSync(own, 0o777);
      const words = ["run", "--image", IMAGES.bare, "--", "true"];
      expect(await installed(words, cache)).toMatchObject({
        code: 125,
        stderr: `gangway: programs are not taken from ${own}: others can write it\n  look what others have put there, and remove it; gangway makes it anew\n`,
      });
    });
  });

  it("is unpacked for everybody by who installed it", async () => {
    await inDirectory(async (cache) => {
      const { stdout } = await installed(["doctor", "--user", USER.name], cache, { user: ROOT });
      expect(stdout).toMatch(new RegExp(`^ok +udiImage +${modules()}/build/udiImage `, "m"));
      expect(readdirSync(join(modules(), "build")).toSorted()).toEqual(["udiImage", "udiImage.tar.gz"]);
      expect(statSync(join(modules(), "build/udiImage")).mode & 0o7777).toBe(0o755);
      const job = ["run", "--image", IMAGES.bare, "--", "sh", "-c", "sftp -V 2>&1; echo $GANGWAY_NODE"];
      expect((await installed(job, cache)).stdout).toMatch(/node1\n$/);
      expect(existsSync(join(cache, "gangway/udiImage"))).toBe(false);
      expect(readdirSync(join(cache, "gangway")).filter((name) => name.startsWith("udiImage"))).toEqual([]);
    });
  });

  it("says what is needed where it cannot be unpacked", async () => {
    await inDirectory(async (directory) => {
      rmSync(join(modules(), "build/udiImage"), { recursive: true });
      const bare = join(directory, "bin");
      mkdirSync(bare);
      for (const program of ["node", "env"]) symlinkSync(join(programs, program), join(bare, program));
      const words = ["run", "--image", IMAGES.bare, "--", "true"];
      const { code, stderr } = await installed(words, directory, { env: { PATH: bare } });
      expect(stderr).toMatch(
        /^gangway: the udiImage of this package cannot be unpacked to .*: tar: it is not in the PATH\n {2}tar/,
      );
      expect(code).toBe(125);
    });
  });
});

describe("scripts/install.sh", () => {
  const install = async (...words: string[]) =>
    await run(["scripts/install.sh", ...words], { user: ROOT, cwd: resolve(".") });

  it("makes bin/shifter where that was asked for, and never over another", async () => {
    await inDirectory(async (directory) => {
      expect((await install(directory)).code).toBe(0);
      expect(readdirSync(join(directory, "bin"))).toEqual(["gangway"]);
      // Again: its own link is nobody else's.
      for (const _time of [1, 2]) expect((await install(directory, "shifter")).code).toBe(0);
      const called = await run([join(directory, "bin/shifter"), "--help"], { cwd: "/tmp" });
      expect(called.stdout).toMatch(/^Usage: gangway shifter /);
      expect(readdirSync(join(directory, "share/man/man1"))).toContain("gangway-shifter.1");
    });
    await inDirectory(async (directory) => {
      mkdirSync(join(directory, "bin"));
      symlinkSync("/bin/true", join(directory, "bin/shifter"));
      expect(await install(directory, "shifter")).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/bin\/shifter is there, and not ours: nothing was installed\n$/) as string,
      });
      expect(existsSync(join(directory, "lib"))).toBe(false);
    });
  });
});
