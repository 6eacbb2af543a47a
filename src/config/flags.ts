import { type SettingKey, settingKeys, settingOf } from "./settings.ts";

/** What a flag was given: its argument, its arguments, or for `--X` and `--no-X` true and false. */
export type FlagValue = string | readonly string[] | boolean | undefined;
export type Flags = { readonly [K in SettingKey]?: FlagValue };

/** A flag in the form that command line parsers (commander) take it. */
export interface FlagDeclaration {
  readonly key: SettingKey;
  /** `-v, --volume <SOURCE:TARGET>`, `--no-listen` */
  readonly flags: string;
  readonly documentation: string;
  /** May be given several times; all of them count. */
  readonly repeats: boolean;
}

/**
 * The flags of settings, to be declared in this order: `--X` before `--no-X`, else commander takes X for true where
 * neither is given.
 */
export function flagDeclarations(): readonly FlagDeclaration[] {
  return settingKeys.flatMap((key) => {
    const { flag, kind, doc } = settingOf(key);
    if (flag === undefined) return [];
    const short = flag.short === undefined ? "" : `-${flag.short}, `;
    const argument = flag.bare === true ? "" : ` <${kind.placeholder}>`;
    const declaration = { key, flags: `${short}--${flag.name}${argument}`, documentation: doc, repeats: kind.repeats };
    if (flag.negated === undefined) return [declaration];
    const value = flag.bare === true ? "do not" : `the same as --${flag.name} ${flag.negated}`;
    return [declaration, { key, flags: `--no-${flag.name}`, documentation: value, repeats: false }];
  });
}

/**
 * Picks the settings' flags out of what a command line parser found, by the names such parsers make of long flags
 * (`--shm-size` is `shmSize`, `--no-listen` is `listen: false`).
 */
export function flagsFrom(options: Readonly<Record<string, unknown>>): Flags {
  const flags: { [K in SettingKey]?: FlagValue } = {};
  for (const key of settingKeys) {
    const name = settingOf(key).flag?.name.replaceAll(/-([a-z])/g, (_dash, letter: string) => letter.toUpperCase());
    if (name === undefined || !Object.hasOwn(options, name)) continue;
    const given = options[name];
    if (typeof given === "string" || typeof given === "boolean") flags[key] = given;
    else if (typeof given === "number") flags[key] = String(given);
    else if (Array.isArray(given)) flags[key] = given.map(String);
  }
  return flags;
}

/** A flag as the reference shows it: `-v, --volume SOURCE:TARGET`, `--[no-]mount-home`. */
export function flagText(key: SettingKey): string {
  const { flag, kind } = settingOf(key);
  if (flag === undefined) return "";
  const short = flag.short === undefined ? "" : `-${flag.short}, `;
  if (flag.bare === true) return `${short}--[no-]${flag.name}`;
  const long = `${short}--${flag.name} ${kind.placeholder}`;
  return flag.negated === undefined ? long : `${long}, --no-${flag.name}`;
}
