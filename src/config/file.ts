import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";
import { ConfigError, systemReasonOf } from "./errors.ts";
import type { Bases } from "./parse-container.ts";
import { isSettingKey, type SettingKey, settingKeys, settingOf } from "./settings.ts";
import { didYouMean } from "./suggest.ts";
import { TomlLines } from "./toml-lines.ts";
import { fault, type Where, within } from "./where.ts";

/** Where an administrator's settings are. */
export const SITE_FILE = "/etc/gangway/config.toml";
/** A configuration larger than this is something else. */
const LARGEST = 1024 * 1024;

export interface FileRules {
  readonly kind: "site" | "user";
  /** Who may own the file; root always may. */
  readonly owner: number;
  /** The file was named by the user: that it is not there is an error. */
  readonly mustExist: boolean;
}

/** One setting as a file has it. */
export interface FileValue {
  readonly key: SettingKey;
  readonly value: unknown;
  readonly line: number;
}

/**
 * Reads a configuration file: nothing where there is none.
 *
 * @throws ConfigError for a file that others could have written, that is no TOML, has unknown keys or bad values
 */
export async function readSettings(path: string, rules: FileRules, bases: Bases): Promise<readonly FileValue[]> {
  const text = readChecked(path, rules);
  if (text === undefined) return [];
  const { parse, TomlError } = await import("smol-toml");
  let table: Record<string, unknown>;
  try {
    table = parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // The rest of the message is a picture of the line.
    const reason = (error.message.split("\n")[0] ?? "").replace(/^Invalid TOML document: /, "");
    throw new ConfigError(`${path}:${error.line}:${error.column}: ${reason}`, { hint: "the file is written in TOML" });
  }
  const lines = new TomlLines(text);
  return Object.entries(table).map(([name, content]) => {
    const line = lines.lineOf([name]);
    const lineOfEntry = (entry: string): number => lines.lineOf([name, entry]);
    const where: Where = { kind: "file", path, line, key: name, lineOfEntry };
    if (!isSettingKey(name)) {
      const hint = didYouMean(name, settingKeys, "`gangway config show` lists the settings there are");
      throw new ConfigError(`${path}:${line}: there is no setting ${JSON.stringify(name)}`, hint ? { hint } : {});
    }
    const { kind, siteOnly } = settingOf(name);
    if (siteOnly === true && rules.kind !== "site") {
      throw fault(where, "only the site's configuration can say this", `it belongs in ${SITE_FILE}; take the line out`);
    }
    refuseStrayed(where, content);
    return { key: name, value: kind.fromToml(content, where, bases), line };
  });
}

/** TOML puts every key below a table's header into that table, which is easily overlooked. */
function refuseStrayed(where: Where, content: unknown): void {
  if (typeof content !== "object" || content === null || Array.isArray(content)) return;
  const strayed = Object.keys(content).find(isSettingKey);
  if (strayed === undefined) return;
  const reason = `${strayed} is a setting, but stands inside this table`;
  throw fault(within(where, strayed), reason, "move it above all lines in [brackets]");
}

function readChecked(path: string, rules: FileRules): string | undefined {
  let descriptor: number;
  try {
    // Without O_NONBLOCK a named pipe would keep us waiting.
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if ((code === "ENOENT" || code === "ENOTDIR") && !rules.mustExist) return undefined;
    throw new ConfigError(`${path}: the configuration cannot be read: ${systemReasonOf(error)}`, {
      cause: error,
      hint: rules.mustExist ? "GANGWAY_SITE_CONFIG names it" : "make it readable, or take it away",
    });
  }
  try {
    const state = fstatSync(descriptor);
    if (!state.isFile()) throw new ConfigError(`${path}: the configuration is no regular file`);
    if (state.uid !== 0 && state.uid !== rules.owner) {
      const wanted = rules.owner === 0 ? "root" : `root or uid ${rules.owner}`;
      throw new ConfigError(`${path}: it belongs to uid ${state.uid}, not to ${wanted}`, {
        hint: "whoever owns it decides what is mounted into jobs: chown it",
      });
    }
    // A group of the user's own, as many systems give each user together with umask 002, is no other.
    const privateGroup = rules.kind === "user" && state.gid === state.uid;
    if ((state.mode & (privateGroup ? 0o002 : 0o022)) !== 0) {
      throw new ConfigError(`${path}: others than its owner can write it`, { hint: `chmod go-w ${path}` });
    }
    if (state.size > LARGEST) throw new ConfigError(`${path}: ${state.size} bytes are too many for a configuration`);
    return decode(path, readFileSync(descriptor));
  } finally {
    closeSync(descriptor);
  }
}

function decode(path: string, content: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(content);
  } catch {
    throw new ConfigError(`${path}: the configuration is not UTF-8 text`);
  }
}
