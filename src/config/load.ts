import { ConfigError } from "./errors.ts";
import { readSettings, SITE_FILE } from "./file.ts";
import type { Flags } from "./flags.ts";
import { normalPath } from "./parse.ts";
import { type Setting, type SettingKey, settingKeys, settingOf, type Values, variableOf } from "./settings.ts";
import { fault, type Where } from "./where.ts";

export { type Flags, type FlagValue, flagsFrom } from "./flags.ts";

/** Where a value came from. */
export type Origin =
  | { readonly kind: "default" }
  | { readonly kind: "site" | "user"; readonly path: string; readonly line: number }
  | { readonly kind: "variable"; readonly name: string }
  | { readonly kind: "flag"; readonly name: string };

export interface Config {
  readonly values: Values;
  /** All places that had a part in a value, the weakest first; one only, except for lists and tables. */
  origins(key: SettingKey): readonly Origin[];
  /** The same in words: `default`, `/etc/gangway/config.toml:3`, `GANGWAY_PULL`, `--volume`. */
  origin(key: SettingKey): string;
}

export interface ConfigSources {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly flags?: Flags;
  /** The caller's: of the process, not of a user it starts a job for, whose files a root process should not obey. */
  readonly uid: number;
  /** The caller's home directory. */
  readonly home: string;
  /** What `./x` in flags and variables is relative to. */
  readonly cwd?: string;
  /** Instead of {@link SITE_FILE}, where $GANGWAY_SITE_CONFIG does not say otherwise. */
  readonly siteFile?: string;
}

/** One source's word on one setting. */
interface Said {
  readonly key: SettingKey;
  readonly value: unknown;
  readonly origin: Origin;
}

/**
 * The configuration: flags over environment over the user's file over the site's file over defaults. Lists and tables
 * add up, the stronger source winning where both speak of the same thing.
 *
 * @throws UsageError for a bad flag, ConfigError for a bad variable or file
 */
export async function loadConfig(sources: ConfigSources): Promise<Config> {
  const values: Partial<Record<SettingKey, unknown>> = {};
  for (const key of settingKeys) values[key] = settingOf(key).default;
  const origins = new Map<SettingKey, readonly Origin[]>();
  for (const { key, value, origin } of [
    ...(await siteFile(sources)),
    ...(await userFile(sources)),
    ...settingKeys.flatMap((key) => variable(key, sources)),
    ...settingKeys.flatMap((key) => flag(key, sources)),
  ]) {
    const { merge } = settingOf(key).kind;
    values[key] = merge === undefined ? value : merge(values[key], value);
    origins.set(key, merge === undefined ? [origin] : [...(origins.get(key) ?? []), origin]);
  }
  const originsOf = (key: SettingKey): readonly Origin[] => origins.get(key) ?? [{ kind: "default" }];
  return {
    values: values as Values,
    origins: originsOf,
    origin: (key) => originsOf(key).map(describeOrigin).join(", "),
  };
}

/** Where the user's own settings are. */
export function userFilePath(env: ConfigSources["env"], home: string): string {
  const configHome = env.XDG_CONFIG_HOME ?? "";
  // The XDG specification: a relative path is to be ignored.
  return `${configHome.startsWith("/") ? normalPath(configHome) : `${home}/.config`}/gangway/config.toml`;
}

async function siteFile({ env, uid, home, siteFile: usual = SITE_FILE }: ConfigSources): Promise<readonly Said[]> {
  const named = env.GANGWAY_SITE_CONFIG ?? "";
  if (named !== "" && !named.startsWith("/")) {
    throw new ConfigError(`GANGWAY_SITE_CONFIG: ${JSON.stringify(named)} is not an absolute path`, {
      hint: "write a path that starts with /",
    });
  }
  const path = named === "" ? usual : named;
  const rules = { kind: "site", owner: named === "" ? 0 : uid, mustExist: named !== "" } as const;
  const found = await readSettings(path, rules, { home });
  return found.map(({ key, value, line }) => ({ key, value, origin: { kind: "site", path, line } }));
}

async function userFile({ env, uid, home }: ConfigSources): Promise<readonly Said[]> {
  const path = userFilePath(env, home);
  const found = await readSettings(path, { kind: "user", owner: uid, mustExist: false }, { home });
  return found.map(({ key, value, line }) => ({ key, value, origin: { kind: "user", path, line } }));
}

function variable(key: SettingKey, { env, home, cwd }: ConfigSources): readonly Said[] {
  const name = variableOf(key);
  const text = env[name] ?? "";
  if (text === "") return [];
  const where: Where = { kind: "variable", name };
  const { kind, siteOnly } = settingOf(key);
  if (siteOnly === true) {
    throw fault(where, "only the site's configuration can say this", `unset it; it belongs in ${SITE_FILE} as ${key}`);
  }
  const texts = kind.repeats
    ? text.split(/[;\n]/).flatMap((part) => (part.trim() === "" ? [] : [part.trim()]))
    : [text];
  return [{ key, value: kind.fromTexts(texts, where, { home, cwd }), origin: { kind: "variable", name } }];
}

function flag(key: SettingKey, { flags = {}, home, cwd }: ConfigSources): readonly Said[] {
  const given = flags[key];
  if (given === undefined) return [];
  const setting = settingOf(key);
  if (setting.flag === undefined) throw new TypeError(`the setting ${key} has no flag`);
  const name = given === false ? `--no-${setting.flag.name}` : `--${setting.flag.name}`;
  const texts = flagTexts(given, setting);
  const value = setting.kind.fromTexts(texts, { kind: "flag", name }, { home, cwd });
  return [{ key, value, origin: { kind: "flag", name } }];
}

function flagTexts(given: string | readonly string[] | boolean, { flag: known }: Setting<unknown>): readonly string[] {
  if (given === true) return ["true"];
  if (given === false) return [known?.negated ?? "false"];
  return typeof given === "string" ? [given] : given;
}

export function describeOrigin(origin: Origin): string {
  switch (origin.kind) {
    case "default":
      return "default";
    case "site":
    case "user":
      return `${origin.path}:${origin.line}`;
    case "variable":
    case "flag":
      return origin.name;
  }
}
