import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ConfigError } from "../../src/config/errors.ts";
import { type Config, type ConfigSources, loadConfig } from "../../src/config/load.ts";

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

describe("a configuration file that is", () => {
  it("someone else's", async () => {
    write(site, "slots = 3\n");
    chownSync(site, 65534, 65534);
    expect((await failure()).message).toBe(`${site}: it belongs to uid 65534, not to root`);
    // The usual site file must be root's, whoever calls; one named by the caller may be the caller's.
    expect((await failure({ uid: 65534 })).message).toContain("belongs to uid 65534");
    const env = { GANGWAY_SITE_CONFIG: site };
    expect((await load({ uid: 65534, env })).values.slots).toBe(3);
    expect((await failure({ uid: 65533, env })).message).toContain("belongs to uid 65534, not to root or uid 65533");
  });

  it("a private group of the user's own is no other", async () => {
    write(user, "slots = 3\n", 0o664);
    chownSync(user, 65534, 65534);
    expect((await load({ uid: 65534 })).values.slots).toBe(3);
    chownSync(user, 65534, 100);
    expect((await failure({ uid: 65534 })).message).toContain("others than its owner can write it");
  });
});
