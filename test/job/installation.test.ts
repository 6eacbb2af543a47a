import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { gangway, INSTALL, inDirectory, OTHER, ROOTLESS, UDI_IMAGE, USER } from "./harness.ts";
import { execute, output } from "./launch.ts";

describe("doctor", () => {
  test("is content here, for people and for programs", async () => {
    const { code, stdout, stderr } = await gangway(["doctor"]);
    expect(stderr).toBe("");
    expect(stdout).toMatch(/^ok +node +Node.js/);
    for (const what of ["udiImage", "user", "directory", "engine"])
      expect(stdout).toMatch(new RegExp(`^ok +${what} `, "m"));
    expect(code).toBe(0);
    const findings = JSON.parse((await gangway(["doctor", "--json"])).stdout) as { what: string; state: string }[];
    expect(findings.filter(({ state }) => state === "fault")).toEqual([]);
  });

  test("names what a rootless engine cannot do", async () => {
    const { code, stdout } = await gangway(["doctor"], { engine: ROOTLESS });
    expect(stdout).toMatch(/^limit +mpirun +virtual nodes of a rootless engine share one address/m);
    expect(code).toBe(0);
  });

  test("finds one changed byte, a missing file and a wrong link in the udiImage; an edited configuration is no fault", async () => {
    await inDirectory(async (path) => {
      chmodSync(path, 0o755);
      const tree = join(path, "udiImage");
      cpSync(UDI_IMAGE, tree, { recursive: true, verbatimSymlinks: true });
      const options = { env: { GANGWAY_UDI_IMAGE_PATH: tree } };
      expect((await gangway(["doctor"], options)).code).toBe(0);
      writeFileSync(join(tree, "etc/sshd_config"), "# ours\n", { flag: "a" });
      const edited = await gangway(["doctor"], options);
      expect(edited.stdout).toMatch(/^limit +udiImage .*sshd_config is not what was built \(edited here\)$/m);
      expect(edited.code).toBe(0);
      const program = readFileSync(join(tree, "sbin/sshd"));
      program[5000] = (program[5000] ?? 0) ^ 1;
      writeFileSync(join(tree, "sbin/sshd"), program);
      const changed = await gangway(["doctor"], options);
      expect(changed.stdout).toMatch(
        /^fault +udiImage .*sbin\/sshd is not what was built\n +build it anew with make$/m,
      );
      expect(changed.code).toBe(1);
      await execute("rm", [join(tree, "bin/ssh")]);
      await execute("ln", ["-sfn", "sh", join(tree, "tools/ls")]);
      const broken = await gangway(["doctor"], options);
      expect(broken.stdout).toMatch(/^fault +udiImage .*bin\/ssh is missing$/m);
      expect(broken.stdout).toMatch(/^fault +udiImage .*tools\/ls should be a link to /m);
      expect(broken.code).toBe(1);
    });
  });

  test("explains an engine that cannot be used", async () => {
    const { code, stdout, stderr } = await gangway(["doctor"], { user: OTHER });
    expect(stdout).toMatch(/^fault +engine +no permission on the engine's socket .*\n +it is open to group/m);
    expect({ code, stderr }).toEqual({ code: 1, stderr: "" });
  });
});

describe("config show", () => {
  test("tells every setting with its origin", async () => {
    await inDirectory(async (path) => {
      mkdirSync(join(path, "gangway"));
      const user = join(path, "gangway/config.toml");
      const site = join(path, "site.toml");
      writeFileSync(user, '# mine\npull = "never"\n');
      writeFileSync(site, 'slots = 4\nvolumes = ["/usr/share:/data:ro"]\n');
      for (const file of [user, site]) chownSync(file, USER.uid, USER.gid);
      const env = { XDG_CONFIG_HOME: path, GANGWAY_SITE_CONFIG: site, GANGWAY_SHM_SIZE: "128m" };
      const { stdout, code } = await gangway(["config", "show"], { env });
      expect(code).toBe(0);
      expect(stdout).toMatch(/^SETTING +VALUE +FROM$/m);
      expect(stdout).toMatch(new RegExp(`^pull +never +${user}:2$`, "m"));
      expect(stdout).toMatch(new RegExp(`^slots +4 +${site}:1$`, "m"));
      expect(stdout).toMatch(/^shmSize +128m +GANGWAY_SHM_SIZE$/m);
      expect(stdout).toMatch(/^maxConnections +1024 +default$/m);
      const json = JSON.parse((await gangway(["config", "show", "--json"], { env })).stdout) as unknown;
      expect(JSON.stringify(json)).toContain("GANGWAY_SHM_SIZE");
      expect(await output(["--", "probe", "read", "/var/hostsfile"], { env })).toBe("node1\n".repeat(4));
      expect(await output(["--", "probe", "stat", "/data"], { env })).toMatch(/dir/);
    });
  });

  test("is what `gangway config` alone does", async () => {
    expect(await gangway(["config"])).toEqual(await gangway(["config", "show"]));
  });
});

describe("help", () => {
  const commands = ["run", "shell", "ps", "inspect", "hosts", "logs", "wait", "stop", "gc", "doctor", "config"];

  test("of gangway itself names every command", async () => {
    for (const words of [["--help"], ["-h"], ["help"]]) {
      const { code, stdout, stderr } = await gangway(words);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      for (const command of commands) expect(stdout).toMatch(new RegExp(`^ {2}${command} +\\S`, "m"));
    }
    const bare = await gangway([]);
    expect(bare).toMatchObject({ code: 125, stdout: "" });
    expect(bare.stderr).toMatch(/^Usage: gangway COMMAND/);
    expect((await gangway(["--version"])).stdout).toMatch(/^gangway \d+\.\d+\.\d+\n$/);
  });

  test.each(commands)("of %s", async (command) => {
    for (const words of [
      [command, "--help"],
      ["help", command],
    ]) {
      const { code, stdout, stderr } = await gangway(words);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout).toMatch(new RegExp(`^Usage: gangway ${command}`));
      expect(stdout.split("\n").length).toBeGreaterThan(5);
    }
  });
});

describe("the program", () => {
  const place = join(INSTALL, "lib/gangway/dist");
  // In a process of its own: V8 takes what it compiled only under the same flags.
  const taken = `const { readFileSync } = require("node:fs");
    const [, file, cache] = process.argv;
    const script = new (require("node:vm").Script)(readFileSync(file, "utf8"), { cachedData: readFileSync(cache) });
    process.stdout.write(String(!script.cachedDataRejected));`;

  test.each(["run", "node", "program"])("%s.cjs is not compiled anew at each start", (name) => {
    const words = ["-e", taken, join(place, `${name}.cjs`), join(place, `${name}.cache`)];
    expect(execFileSync(process.execPath, words, { encoding: "utf8", env: {} })).toBe("true");
  });

  test.each(["run", "node"])("gangway %s loads nothing of what reaches a job", (name) => {
    const text = readFileSync(join(place, `${name}.cjs`), "utf8");
    expect(text).toContain(`src/cli/${name}.ts`);
    for (const other of ["src/session/", "src/cli/shell.ts", "src/cli/completion.ts"])
      expect(text).not.toContain(other);
  });
});
