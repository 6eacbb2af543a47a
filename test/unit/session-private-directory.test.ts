import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { build } from "esbuild";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { callerIdentity } from "../../src/config/identity.ts";
import { findTemporaryBases } from "../../src/config/paths.ts";
import { withPrivateDirectory } from "../../src/session/private-directory.ts";

describe("a session's private directory", () => {
  let memory = "";
  beforeEach(() => {
    memory = mkdtempSync("/dev/shm/gangway-private-");
  });
  afterEach(() => rmSync(memory, { recursive: true }));

  const places = (env: NodeJS.ProcessEnv) => ({ user: callerIdentity(), home: "/nonexistent", env });
  const sessions = () => readdirSync(memory, { recursive: true });

  it("is below TMPDIR where that is in memory, the user's alone, and gone afterwards", async () => {
    const path = await withPrivateDirectory(places({ TMPDIR: memory }), undefined, async (directory) => {
      expect(directory.startsWith(`${memory}/gangway-${process.getuid?.()}/.session-`)).toBe(true);
      expect(statSync(directory).mode & 0o777).toBe(0o700);
      return directory;
    });
    expect(existsSync(path)).toBe(false);
  });

  it("is looked for, when it was left, where it is made; a directory that others can enter is none", async () => {
    const whose = places({ TMPDIR: memory });
    expect(findTemporaryBases(whose)).not.toContain(join(memory, `gangway-${process.getuid?.()}`));
    await withPrivateDirectory(whose, undefined, async (directory) => {
      expect(findTemporaryBases(whose)).toContain(dirname(directory));
      chmodSync(dirname(directory), 0o755);
      expect(findTemporaryBases(whose)).not.toContain(dirname(directory));
    });
  });

  it.each(["/", "/etc", "relative", "/no/such"])("is in memory all the same where TMPDIR is %s", async (TMPDIR) => {
    const env = { TMPDIR, XDG_RUNTIME_DIR: memory };
    await withPrivateDirectory(places(env), undefined, async (directory) => {
      expect(directory.startsWith(memory)).toBe(true);
    });
  });

  it("is gone, too, when the work throws", async () => {
    const work = withPrivateDirectory(places({ TMPDIR: memory }), undefined, async () => {
      throw new Error("no");
    });
    await expect(work).rejects.toThrow("no");
    expect(sessions().filter((name) => String(name).includes(".session-"))).toEqual([]);
  });

  it("is removed by its guard when this process is killed by SIGKILL", async () => {
    const script = `
      import { writeFileSync } from "node:fs";
      import { callerIdentity } from "${resolve("src/config/identity.ts")}";
      import { withPrivateDirectory } from "${resolve("src/session/private-directory.ts")}";
      const places = { user: callerIdentity(), home: "/nonexistent", env: { TMPDIR: "${memory}" } };
      await withPrivateDirectory(places, undefined, async (directory) => {
        writeFileSync(directory + "/id_ed25519", "secret");
        process.stdout.write(directory);
        await new Promise((done) => setTimeout(done, 60_000));
      }, { guarded: true });`;
    const { child, path } = await begun(script);
    expect(existsSync(join(path, "id_ed25519"))).toBe(true);
    child.kill("SIGKILL");
    await expect.poll(() => existsSync(path), { timeout: 10_000 }).toBe(false);
  });

  it("is removed by a begun carrier's guard up to the last moment, whatever the caller's PATH", async () => {
    const script = `
      import fs, { writeFileSync } from "node:fs";
      import { syncBuiltinESMExports } from "node:module";
      import { callerIdentity } from "${resolve("src/config/identity.ts")}";
      import { ManagedStart } from "${resolve("src/session/managed-start.ts")}";
      const places = { user: callerIdentity(), home: "/nonexistent", env: { TMPDIR: "${memory}" } };
      const program = { program: "/bin/true", connector: "/bin/true", udiImage: "/", same: false };
      const carriers = () => ({ ...program, silenceMs: 20_000, bases: [] });
      const command = { title: "cat", argv: ["/bin/cat"], env: { PATH: "/no/such" } };
      const guess = { job: "1", padding: 0, carrier: () => command };
      const start = ManagedStart.open({ seeker: { places, carriers }, runDirectory: undefined }, guess);
      writeFileSync(start.directory + "/id_ed25519", "secret");
      // Just before this process would have removed it.
      fs.rmSync = () => process.kill(process.pid, "SIGKILL");
      syncBuiltinESMExports();
      process.stdout.write(start.directory, () => process.stdin.once("data", () => void start.close()));`;
    const { child, path } = await begun(script);
    const ended = once(child, "exit");
    expect(readdirSync(path).sort()).toEqual(["carrier-1", "id_ed25519", "launcher"]);
    child.stdin?.write("close");
    expect(await ended).toEqual([null, "SIGKILL"]);
    await expect.poll(() => existsSync(path), { timeout: 10_000 }).toBe(false);
  });

  /** Runs a program of its own, which prints the directory that it has made. */
  async function begun(script: string) {
    const program = join(memory, "program.mjs");
    await build({
      stdin: { contents: script, resolveDir: process.cwd(), loader: "ts" },
      bundle: true,
      platform: "node",
      format: "esm",
      outfile: program,
    });
    const child = spawn(process.execPath, [program], { stdio: ["pipe", "pipe", "inherit"] });
    const [path] = (await once(child.stdout, "data")) as [Buffer];
    return { child, path: path.toString() };
  }
});
