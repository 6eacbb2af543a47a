import { surroundPath } from "./environment.ts";

/** The administrator's word on the environment of every job (Shifter's siteEnv, siteEnvPrepend, …Append, …Unset). */
export interface SiteEnvironment {
  readonly set: Readonly<Record<string, string>>;
  readonly prepend: Readonly<Record<string, string>>;
  readonly append: Readonly<Record<string, string>>;
  readonly unset: readonly string[];
}

/**
 * Applies the site's settings to a composed environment, after the image's and the user's, in Shifter's order: set,
 * append, prepend, unset. PATH stays between our own directories.
 *
 * @param environment `NAME=value` each, every name once
 */
export function applySite(environment: readonly string[], site: SiteEnvironment): string[] {
  const env = new Map(environment.map((entry) => split(entry)));
  for (const [name, value] of Object.entries(site.set)) env.set(name, value);
  for (const [name, value] of Object.entries(site.append)) env.set(name, joined(env.get(name), value));
  for (const [name, value] of Object.entries(site.prepend)) env.set(name, joined(value, env.get(name)));
  for (const name of site.unset) env.delete(name);
  env.set("PATH", surroundPath(env.get("PATH")));
  return [...env].map(([name, value]) => `${name}=${value}`);
}

function joined(first: string | undefined, second: string | undefined): string {
  return [first, second].filter((part) => part !== undefined && part !== "").join(":");
}

function split(entry: string): [string, string] {
  const equals = entry.indexOf("=");
  return [entry.slice(0, equals), entry.slice(equals + 1)];
}
