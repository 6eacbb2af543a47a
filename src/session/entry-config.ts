import { accessSync, constants, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { block, configPath, type Placeholder } from "../udi/ssh-config.ts";
import type { TcpPlace } from "./ways.ts";
import { tcpSettings } from "./ways.ts";

/** What the file of an entry is put together from. In ssh_config the first value counts. */
export interface ConfigParts {
  /** The job's name. */
  readonly host: string;
  readonly placeholders?: readonly Placeholder[] | undefined;
  /** Settings of the way, for the name: they stand before all. */
  readonly settings?: readonly (readonly [string, string])[];
  /** A block of its own for the placeholders, where the file below has none for them. */
  readonly extra?: string;
  /** Absolute path of the file that has a block for the name. */
  readonly base: string;
  /** `-F FILE` of the user's, read last. */
  readonly userConfig?: string | undefined;
}

/** The settings of {@link tcpSettings} as directives. */
export function tcpDirectives(place: TcpPlace): (readonly [string, string])[] {
  return tcpSettings(place).map((setting) => {
    const equals = setting.indexOf("=");
    return [setting.slice(0, equals), setting.slice(equals + 1)];
  });
}

/** Whether {@link assembleConfig} needs a directory: else the file that there is does. */
export function needsFile({ settings = [], extra, userConfig }: Omit<ConfigParts, "host" | "base">): boolean {
  return settings.length > 0 || extra !== undefined || hasUserConfig(userConfig);
}

/** Whether `-F FILE` names one: `none` is ssh's word for no file. */
export function hasUserConfig(file: string | undefined): file is string {
  return file !== undefined && file !== "none";
}

/**
 * Puts an entry's file together.
 *
 * @param directory private; it is removed by the caller
 * @returns the file to give to the client program
 */
export function assembleConfig(parts: ConfigParts, directory: string): string {
  if (!needsFile(parts)) return parts.base;
  const { host, placeholders = [], settings = [], extra, base, userConfig } = parts;
  const theirs = hasUserConfig(userConfig) ? resolve(userConfig) : undefined;
  // An Include passes over what cannot be read; with -F ssh itself complains of it, and ends.
  if (theirs !== undefined && !isReadable(theirs)) return theirs;
  const includes = [base, ...(theirs === undefined ? [] : [theirs])];
  const text = [
    ...(settings.length === 0 ? [] : [block(`Host ${[host, ...placeholders].join(" ")}`, settings)]),
    ...(extra === undefined ? [] : [extra]),
    // Behind a block of another host an Include would be read for that host alone.
    "Match all\n",
    ...includes.map((file) => `Include ${configPath(file)}\n`),
  ].join("");
  const file = join(directory, "entry_config");
  writeFileSync(file, text, { flag: "wx", mode: 0o600 });
  return file;
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
