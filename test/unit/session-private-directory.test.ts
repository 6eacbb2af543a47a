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
      import { findTemporaryBases } from "../../src/config/paths.ts";
import { withPrivateDirectory } from "${resolve("src/session/private-directory.ts")}";
      const places = { user: callerIdentity(), home: "/nonexistent", env: { TMPDIR: "${memory}" } };
      await withPrivateDirectory(places, undefined, async (directory) => {
        writeFileSync(directory + "/id_ed25519", "secret");
        process.stdout.write(directory);
        await new Promise((done) => setTimeout(done, 60_000));
      }, { guarded: true });`;
    const program = join(memory, "program.mjs");
    await build({
      stdin: { contents: script, resolveDir: process.cwd(), loader: "ts" },
      bundle: true,
      platform: "node",
      format: "esm",
      outfile: program,
    });
    const child = spawn(process.execPath, [program], { stdio: ["ignore", "pipe", "inherit"] });
    const [path] = (await once(child.stdout, "data")) as [Buffer];
    expect(existsSync(join(path.toString(), "id_ed25519"))).toBe(true);
    child.kill("SIGKILL");
    await expect.poll(() => existsSync(path.toString()), { timeout: 10_000 }).toBe(false);
  });
});
