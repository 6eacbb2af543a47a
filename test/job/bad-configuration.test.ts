import { chownSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { complains } from "./complaint.ts";
import {
  DOCKER,
  environmentOf,
  GANGWAY,
  gangway,
  IMAGES,
  inDirectory,
  OTHER,
  PODMAN,
  ROOTLESS,
  type RunResult,
  run,
  UDI_IMAGE,
  USER,
} from "./harness.ts";
import { execute, launch } from "./launch.ts";
import { Traces } from "./traces.ts";

let traces: Traces[];

beforeAll(async () => {
  traces = await Promise.all([DOCKER, PODMAN, ROOTLESS].map((engine) => Traces.watch(engine)));
});

afterAll(async () => {
  for (const each of traces) await each.gone();
  for (const each of traces) each.close();
});

describe("configuration files", () => {
  test("the user's: the error names file and line, and what may have been meant", async () => {
    await inDirectory(async (path) => {
      mkdirSync(join(path, "gangway"));
      const file = join(path, "gangway/config.toml");
      writeFileSync(file, '# mine\nshmSize = "1g"\npul = "never"\n');
      chownSync(file, USER.uid, USER.gid);
      const options = { env: { XDG_CONFIG_HOME: path } };
      complains(await launch(["--", "true"], options), { says: `${file}:3:`, next: "pull" });
      writeFileSync(file, 'pull = "nevr"\n');
      complains(await launch(["--", "true"], options), { says: `${file}:1:`, next: "never" });
      writeFileSync(file, "pull = never\n");
      complains(await launch(["--", "true"], options), { says: `${file}:1`, next: /\S/ });
      writeFileSync(file, "allowSessions = false\n");
      complains(await launch(["--", "true"], options), { says: `${file}:1:`, next: /site|\/etc/ });
    });
  });

  test("the site's", async () => {
    await inDirectory(async (path) => {
      const file = join(path, "site.toml");
      writeFileSync(file, '\n\nvolums = ["/tmp:/x"]\n');
      chownSync(file, USER.uid, USER.gid);
      const options = { env: { GANGWAY_SITE_CONFIG: file } };
      complains(await launch(["--", "true"], options), { says: `${file}:3:`, next: "volumes" });
      complains(await gangway(["ps"], options), { says: `${file}:3:`, next: "volumes" });
      complains(await gangway(["ps"], { env: { GANGWAY_SITE_CONFIG: join(path, "none") } }), {
        says: "none",
        next: /\S/,
      });
    });
  });

  test("variables", async () => {
    complains(await launch(["--", "true"], { env: { GANGWAY_PORT: "many" } }), {
      says: /GANGWAY_PORT.*many/,
      next: /number/,
    });
  });
});

describe("the udiImage", () => {
  test("missing", async () => {
    const result = await launch(["--", "true"], { env: { GANGWAY_UDI_IMAGE_PATH: "/nobody/made/this" } });
    complains(result, { says: "/nobody/made/this", next: "make" });
  });

  test("of another architecture than the image", async () => {
    await inDirectory(async (path) => {
      const tree = join(path, "udiImage");
      cpSync(UDI_IMAGE, tree, { recursive: true, verbatimSymlinks: true });
      await execute("chmod", ["0755", path]);
      const manifest = join(tree, "manifest.json");
      writeFileSync(manifest, readFileSync(manifest, "utf8").replace(/("arch"\s*:\s*")[^"]*/, "$1sparc64"));
      const result = await launch(["--", "true"], { env: { GANGWAY_UDI_IMAGE_PATH: tree } });
      complains(result, { says: /is made for (amd64|arm64).*sparc64$/, next: "architecture" });
    });
  });

  test("that cannot be executed where it lies: noticed at once, not when time is up", async () => {
    await inDirectory(async (path) => {
      const tree = join(path, "udiImage");
      cpSync(UDI_IMAGE, tree, { recursive: true, verbatimSymlinks: true });
      await execute("chmod", ["0755", path]);
      writeFileSync(join(tree, "libexec/init"), "#!/opt/udiImage/tools/sh\nexit 3\n");
      const result = await launch(["--up-timeout", "600", "--", "true"], { env: { GANGWAY_UDI_IMAGE_PATH: tree } });
      complains(result, { says: "node1: its container ended before it was up", next: "udiImage" });
    });
  });
});

describe("who and where", () => {
  async function asRoot(words: readonly string[]): Promise<RunResult> {
    const env = { ...environmentOf({}), HOME: "/root", XDG_RUNTIME_DIR: "" };
    return await execute(GANGWAY, words, { env, cwd: "/" }).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr, bytes: Buffer.alloc(0) }),
      (error: { code: number; stdout: string; stderr: string }) => ({ ...error, bytes: Buffer.alloc(0) }),
    );
  }

  test("root must name the job's user, and not root", async () => {
    const says = "a job never runs as root";
    complains(await asRoot(["run", "-i", IMAGES.bare, "--", "true"]), { says, next: "--user" });
    complains(await asRoot(["run", "-u", "root", "-i", IMAGES.bare, "--", "true"]), { says, next: "--user" });
    complains(await asRoot(["run", "-u", "0", "-i", IMAGES.bare, "--", "true"]), { says, next: "--user" });
  });

  test("a user who is not there; a uid that no engine knows", async () => {
    complains(await asRoot(["run", "-u", "nobody-is-called-so", "-i", IMAGES.bare, "--", "true"]), {
      says: 'no user "nobody-is-called-so"',
      next: "--user",
    });
    complains(await asRoot(["run", "-u", "2147483648", "-i", IMAGES.bare, "--", "true"]), {
      says: "2147483647",
      next: /2147483647/,
    });
  });

  test("only root can act for others", async () => {
    for (const command of [["run", "-i", IMAGES.bare], ["ps"], ["gc"], ["shell"]]) {
      const result = await gangway([...command, "--user", OTHER.name]);
      const code = command[0] === "shell" ? 64 : 125;
      complains(result, {
        says: `--user ${OTHER.name}: only root can act for another user`,
        next: "leave it out",
        code,
      });
    }
  });

  test("a directory that is gone", async () => {
    await inDirectory(async (cwd) => {
      const script = `mkdir gone && cd gone && rmdir ../gone && exec ${GANGWAY}`;
      const launched = await run(["sh", "-c", `${script} run -i ${IMAGES.bare} -- true`], { cwd });
      complains(launched, { says: "the current directory does not exist any more", next: "change to another" });
      expect((await run(["sh", "-c", `${script} ps`], { cwd })).code).toBe(0);
    });
  });

  test("a directory that cannot be written, for a detached job's output", async () => {
    const result = await launch(["--detach", "--", "true"], { cwd: "/" });
    complains(result, {
      says: /the job's output file \/gangway-\S+\.out cannot be made: permission denied$/,
      next: "--output",
    });
  });

  test("a detached launch that fails says why, on the terminal, and leaves no file", async () => {
    await inDirectory(async (cwd) => {
      const image = await gangway(["run", "-d", "-i", "nobody/has-this", "--pull", "never", "--", "true"], { cwd });
      complains(image, { says: 'the engine has no image "nobody/has-this"', next: "--pull missing" });
      complains(await launch(["-d", "--nodes", "0", "--", "true"], { cwd }), { says: "--nodes 0", next: /\S/ });
      complains(await launch(["-d", "--network", "nobody-made-this", "--", "true"], { cwd }), {
        says: "network",
        next: /\S/,
      });
      expect(readdirSync(cwd)).toEqual([]);
    });
  });
});
