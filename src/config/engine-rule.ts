import { normalPath, parseValue } from "./parse.ts";
import { fault, quote, type Where } from "./where.ts";

// Where each user has an engine of their own, one line of the site's file names them all:
// engine = "unix:///run/user/%U/podman/podman.sock". The text is kept as written: whose engine is meant, and on which
// host, is known only where one is used.

/** Whose engine is meant. */
export interface EngineUser {
  readonly uid: number;
  readonly name: string;
  readonly home: string;
}

const TOKENS = /%([Uuh%])/g;

/**
 * Checks the place of an engine's socket, in which %U, %u and %h may stand for the user, as `systemd.unit(5)` and sshd have it.
 *
 * @param path without `unix://`
 * @returns the path as it is to be kept, without `.`, `..` and double slashes
 * @throws GangwayError for a relative path and for a token that means nothing
 */
export function parseEngineRule(path: string, where: Where): string {
  parseValue(path, where);
  const told = quote(path);
  const unknown = /%[^Uuh]|%$/.exec(path.replaceAll("%%", ""));
  if (unknown !== null) {
    const shown = quote(unknown[0]).slice(1, -1);
    throw fault(
      where,
      `${told}: ${shown} means nothing`,
      "%U is the uid, %u the user's name, %h the home directory, %% a %",
    );
  }
  if (path.startsWith("%h/")) return `%h${normalPath(path.slice(2))}`;
  if (!path.startsWith("/")) {
    throw fault(where, `${told} is not an absolute path`, "write a path that starts with / or %h/");
  }
  return normalPath(path);
}

/** Whether a rule names another engine for each user. */
export function isPerUser(rule: string): boolean {
  return [...rule.matchAll(TOKENS)].some(([, token]) => token !== "%");
}

/** The socket's path of a user's engine, by a rule that {@link parseEngineRule} has seen. */
export function expandEngineRule(rule: string, { uid, name, home }: EngineUser): string {
  const values: Readonly<Record<string, string>> = { U: String(uid), u: name, h: home, "%": "%" };
  return rule.replaceAll(TOKENS, (_all, token: string) => values[token] ?? "");
}
