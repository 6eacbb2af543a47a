import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ConfigError, UsageError } from "../../src/config/errors.ts";
import { flagDeclarations, flagsFrom } from "../../src/config/flags.ts";
import { type Config, type ConfigSources, loadConfig } from "../../src/config/load.ts";
import { formatVolume } from "../../src/config/parse-container.ts";
import { settingKeys, variableOf } from "../../src/config/settings.ts";

let directory: string;
let home: string;
let site: string;
let user: string;
const uid = process.geteuid?.() ?? 0;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "gangway-config-"));
  home = join(directory, "home");
  site = join(directory, "site.toml");
  user = join(home, ".config/gangway/config.toml");
  mkdirSync(join(home, ".config/gangway"), { recursive: true });
});
afterEach(() => rmSync(directory, { recursive: true }));

function load(sources: Partial<ConfigSources> = {}): Promise<Config> {
  // The usual site file has to be root's: who runs these tests as another names it.
  const named = uid !== 0 && existsSync(site) ? { GANGWAY_SITE_CONFIG: site } : {};
  return loadConfig({ uid, home, cwd: "/w", siteFile: site, ...sources, env: { ...named, ...sources.env } });
}
function write(path: string, text: string | Buffer, mode = 0o644): void {
  writeFileSync(path, text);
  chmodSync(path, mode);
}
async function failure(sources: Partial<ConfigSources> = {}): Promise<ConfigError> {
  const error: unknown = await load(sources).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ConfigError)) throw new Error(`no ConfigError: ${String(error)}`);
  expect(error.message).not.toContain("\n");
  return error;
}

describe("precedence", () => {
  it("is flag, variable, user's file, site's file, default", async () => {
    expect((await load()).values.pull).toBe("missing");
    expect((await load()).origin("pull")).toBe("default");
    write(site, '# site\npull = "always"\n');
    expect((await load()).origin("pull")).toBe(`${site}:2`);
    write(user, '\n\npull = "never"\n');
    expect((await load()).values.pull).toBe("never");
    expect((await load()).origin("pull")).toBe(`${user}:3`);
    const env = { GANGWAY_PULL: "missing" };
    expect((await load({ env })).values.pull).toBe("missing");
    expect((await load({ env })).origin("pull")).toBe("GANGWAY_PULL");
    const both = await load({ env, flags: { pull: "always" } });
    expect(both.values.pull).toBe("always");
    expect(both.origin("pull")).toBe("--pull");
  });

  it("adds lists and tables up, the stronger source winning", async () => {
    write(
      site,
      'volumes = ["/scratch:/scratch", "/a:/x:ro"]\n[siteEnv]\nA = "site"\nN = 1\n[siteEnvAppend]\nPATH = "/s"\n',
    );
    write(
      user,
      'siteEnv = { A = "user" }\nvolumes = ["~/x:/x"]\n[siteEnvAppend]\nPATH = "/u"\n[siteEnvPrepend]\nP="/u"\n',
    );
    const env = { GANGWAY_VOLUMES: "./v:/v ; /w:/w", GANGWAY_SITE_ENV_PREPEND: "P=/e" };
    const config = await load({ env, flags: { volumes: ["/f:/scratch"] } });
    expect(config.values.volumes.map(formatVolume)).toEqual([`${home}/x:/x`, "/w/v:/v", "/w:/w", "/f:/scratch"]);
    expect(config.origins("volumes").map(({ kind }) => kind)).toEqual(["site", "user", "variable", "flag"]);
    expect(config.origin("volumes")).toBe(`${site}:1, ${user}:2, GANGWAY_VOLUMES, --volume`);
    expect(config.values.siteEnv).toEqual({ A: "user", N: "1" });
    expect(config.values.siteEnvAppend).toEqual({ PATH: "/s:/u" });
    expect(config.values.siteEnvPrepend).toEqual({ P: "/e:/u" });
  });

  it("takes back what a weaker source said", async () => {
    write(
      site,
      'timeLimit = "1h"\nport = 1204\nmemory = 1073741824\nprepareTimeout = 90\nmountHome = false\nlisten = "none"\n',
    );
    const before = (await load()).values;
    expect(before).toMatchObject({ timeLimit: 3_600_000, port: 1204, memory: 1024 ** 3, prepareTimeout: 90_000 });
    expect(before).toMatchObject({ mountHome: false, listen: "none" });
    const flags = { timeLimit: "none", port: "automatic", mountHome: true, listen: "any" };
    const after = await load({ flags, env: { GANGWAY_MEMORY: "none" } });
    expect(after.values).toMatchObject({ mountHome: true, listen: "any" });
    expect([after.values.timeLimit, after.values.port, after.values.memory]).toEqual([undefined, undefined, undefined]);
    expect(after.origin("memory")).toBe("GANGWAY_MEMORY");
  });

  it("counts empty variables as unset, and a relative XDG_CONFIG_HOME too", async () => {
    write(user, 'pull = "never"\n');
    const env = { GANGWAY_PULL: "", GANGWAY_SITE_CONFIG: "", XDG_CONFIG_HOME: "relative" };
    expect((await load({ env })).values.pull).toBe("never");
    expect((await load({ env: { XDG_CONFIG_HOME: directory } })).values.pull).toBe("missing");
  });
});

describe("flags and variables", () => {
  it("are read by their names", async () => {
    const options = {
      shmSize: "1g",
      listen: false,
      mountHome: false,
      volume: ["/a:/b"],
      ulimit: ["nofile=5"],
      slots: 4,
      image: "x",
      detach: true,
      memory: undefined,
    };
    const flags = flagsFrom(options);
    expect(flags).toEqual({
      shmSize: "1g",
      listen: false,
      mountHome: false,
      volumes: ["/a:/b"],
      ulimits: ["nofile=5"],
      slots: "4",
    });
    const { values, origin } = await load({ flags });
    expect(values).toMatchObject({ shmSize: 1024 ** 3, listen: "none", mountHome: false, slots: 4 });
    expect(origin("listen")).toBe("--no-listen");
  });

  it("are declared as commander takes them", async () => {
    const command = new Command();
    for (const { flags, documentation, repeats } of flagDeclarations()) {
      const option = command.createOption(flags, documentation);
      if (repeats) option.argParser((text: string, before: readonly string[] = []) => [...before, text]);
      command.addOption(option);
    }
    const parsed = (...args: string[]) => flagsFrom(command.parse(args, { from: "user" }).opts());
    expect(parsed()).toEqual({});
    const args = ["--no-listen", "-v", "/a:/b", "--volume=/c:/d", "--no-mount-home", "--mount-workdir", "-m", "1g"];
    const flags = parsed(...args, "--shm-size", "1m");
    expect(flags).toEqual({
      listen: false,
      volumes: ["/a:/b", "/c:/d"],
      mountHome: false,
      mountWorkdir: true,
      memory: "1g",
      shmSize: "1m",
    });
    expect((await load({ flags })).values).toMatchObject({ listen: "none", mountHome: false, mountWorkdir: true });
  });

  it("are refused by name", async () => {
    await expect(load({ flags: { memory: "1x" } })).rejects.toThrow(UsageError);
    await expect(load({ flags: { memory: "1x" } })).rejects.toThrow('--memory: "1x" is not a size');
    expect((await failure({ env: { GANGWAY_MEMORY: "1x" } })).message).toBe('GANGWAY_MEMORY: "1x" is not a size');
  });

  it("have distinct names", () => {
    expect(variableOf("udiImagePath")).toBe("GANGWAY_UDI_IMAGE_PATH");
    expect(new Set(settingKeys.map(variableOf)).size).toBe(settingKeys.length);
    expect(settingKeys.map(variableOf)).not.toContain("GANGWAY_SITE_CONFIG");
  });
});

describe("what only the site may say", () => {
  it("is refused elsewhere", async () => {
    write(site, "allowSessions = false\n");
    expect((await load()).values.allowSessions).toBe(false);
    expect((await failure({ env: { GANGWAY_ALLOW_SESSIONS: "true" } })).message).toBe(
      "GANGWAY_ALLOW_SESSIONS: only the site's configuration can say this",
    );
    write(user, "allowSessions = true\n");
    expect((await failure()).message).toBe(`${user}:1: allowSessions: only the site's configuration can say this`);
  });
});

describe("errors in files", () => {
  it("an unknown key: line and suggestion", async () => {
    write(user, '# c\n\nmemory = "1g"\nvolume = []\n');
    const error = await failure();
    expect(error.message).toBe(`${user}:4: there is no setting "volume"`);
    expect(error.hint).toBe("did you mean volumes?");
    write(user, 'memory = "1g"\n\n[frobnication]\nx = 1\n');
    expect((await failure()).message).toBe(`${user}:3: there is no setting "frobnication"`);
    expect((await failure()).hint).toContain("gangway config show");
  });

  it.each(["__proto__ = 1", "constructor = 1", "[__proto__]\nx = 1", '"" = 1', "toString.x = 1"])(
    "an unknown key: %j",
    async (text) => {
      write(user, `${text}\n`);
      expect((await failure()).message).toContain(`${user}:1: `);
    },
  );

  it.each([
    ["pull = true", "pull: is a truth value, not"],
    ["mountHome = 'yes'", "mountHome: is a text, not true or false"],
    ["port = 1.5", "port: 1.5 is not a whole number"],
    ["port = 65536", "port: 65536 is out of range"],
    ["memory = -1", "memory: "],
    ["memory = inf", "memory: "],
    ["timeLimit = nan", "timeLimit: "],
    ["timeLimit = 0", "timeLimit: a limit of no time at all"],
    ["nodeSilence = 1", "nodeSilence: 1s is too short"],
    ["upTimeout = '0s'", "upTimeout: a limit of no time at all"],
    ["volumes = '/a:/b'", "volumes: is a text"],
    ["volumes = ['/a:/b', 3]", "volumes[1]: is a number, not a text"],
    ["volumes = ['/a:/b', './c:/d']", 'volumes[1]: "./c" is relative to nothing here'],
    ["[[volumes]]\nsource = '/a'", "volumes[0]: is a table, not a text"],
    ["siteEnv = ['A=1']", "siteEnv: is a list, not a table of texts"],
    ["siteEnv = 2020-01-01", "siteEnv: is a date, not a table of texts"],
    ["siteEnv.A = true", "siteEnv.A: is a truth value, not a text"],
    ["siteEnv.'A B' = 'x'", 'siteEnv.A B: "A B" is no name for a variable'],
    ["siteEnvUnset = ['A', 'A']", "siteEnvUnset[1]: A is given twice"],
    ["runDirectory = 'x'", 'runDirectory: "x" is not an absolute path'],
    ["runDirectory = '/run/%u'", 'runDirectory: "/run/%u": %u means nothing'],
    ["runDirectory = '/run/%'", 'runDirectory: "/run/%": % means nothing'],
    ["linger = 'forever'", "linger: "],
  ])("a bad value: %s", async (text, message) => {
    write(user, `slots = 3\n\n${text}\n`);
    expect((await failure()).message).toContain(`${user}:3: ${message}`);
  });

  it("an entry of a table: its own line", async () => {
    write(user, '[siteEnv]\nA = "1"\n\n"B C" = "2"\n');
    expect((await failure()).message).toContain(`${user}:4: siteEnv.B C: `);
  });

  it("a setting below a table's header", async () => {
    write(user, '[siteEnv]\nA = "1"\nmemory = "2g"\n');
    const error = await failure();
    expect(error.message).toBe(`${user}:3: siteEnv.memory: memory is a setting, but stands inside this table`);
    expect(error.hint).toContain("above");
  });

  it("bad TOML: line and column", async () => {
    write(user, 'slots = 3\npull = "nev\n');
    expect((await failure()).message).toMatch(new RegExp(`^${user}:2:\\d+: .`));
    write(user, "slots = 3\nslots = 4\n");
    expect((await failure()).message).toMatch(new RegExp(`^${user}:2:\\d+: .`));
    write(user, "slots = 99999999999999999999\n");
    expect((await failure()).message).toContain(`${user}:1:`);
    write(user, Buffer.from([0x61, 0xff, 0x0a]));
    expect((await failure()).message).toContain("not UTF-8");
  });

  it("a byte order mark and CRLF are no error", async () => {
    write(user, '\uFEFFslots = 3\r\npull = "never"\r\n');
    expect((await load()).values).toMatchObject({ slots: 3, pull: "never" });
    expect((await load()).origin("pull")).toBe(`${user}:2`);
  });
});

describe("files that cannot be trusted or read", () => {
  it("writable by others", async () => {
    for (const mode of [0o664, 0o646]) {
      write(site, "slots = 3\n", mode);
      const error = await failure();
      expect(error.message).toBe(`${site}: others than its owner can write it`);
      expect(error.hint).toBe(`chmod go-w ${site}`);
    }
    rmSync(site);
    write(user, "slots = 3\n", 0o666);
    expect((await failure()).message).toContain("others than its owner can write it");
  });

  it("a directory, a pipe, a link, too much", async () => {
    mkdirSync(user);
    expect((await failure()).message).toContain("no regular file");
    rmSync(user, { recursive: true });
    execFileSync("mkfifo", [user]);
    expect((await failure()).message).toContain("no regular file");
    rmSync(user);
    write(site, "slots = 3\n");
    symlinkSync(site, user);
    expect((await load()).origin("slots")).toBe(`${user}:1`);
    rmSync(user);
    write(user, `# ${"x".repeat(2 ** 20)}`);
    expect((await failure()).message).toContain("too many");
  });

  it("a named one that is not there", async () => {
    const named = { GANGWAY_SITE_CONFIG: join(directory, "none.toml") };
    expect((await failure({ env: named })).message).toContain(
      "none.toml: the configuration cannot be read: no such file or directory",
    );
    expect((await failure({ env: { GANGWAY_SITE_CONFIG: "c.toml" } })).message).toContain("not an absolute path");
  });
});

describe("start-up", () => {
  it("without files takes less than a millisecond", async () => {
    await load();
    const times: number[] = [];
    for (let round = 0; round < 50; round++) {
      const begin = performance.now();
      await load();
      times.push(performance.now() - begin);
    }
    expect(times.sort((a, b) => a - b)[25]).toBeLessThan(1);
  });
});
