import { ConfigError, type GangwayError, UsageError } from "./errors.ts";

/** Where a value stands, so that an error can point at it. */
export type Where =
  | { readonly kind: "flag"; readonly name: string }
  | { readonly kind: "variable"; readonly name: string }
  | {
      readonly kind: "file";
      readonly path: string;
      readonly line: number;
      readonly key: string;
      /** In a table: the line of one of its entries. */
      readonly lineOfEntry?: (name: string) => number;
    };

/** The place in words: `--memory`, `GANGWAY_MEMORY`, `/etc/gangway/config.toml:12: memory`. */
export function describeWhere(where: Where): string {
  return where.kind === "file" ? `${where.path}:${where.line}: ${where.key}` : where.name;
}

/** One element of a list, or one entry of a table, in a file; flags and variables are not told apart further. */
export function within(where: Where, part: number | string): Where {
  if (where.kind !== "file") return where;
  if (typeof part === "number") return { ...where, key: `${where.key}[${part}]` };
  return { ...where, key: `${where.key}.${part}`, line: where.lineOfEntry?.(part) ?? where.line };
}

/** The error for a bad value: UsageError for the command line, ConfigError for files and the environment. */
export function fault(where: Where, reason: string, hint?: string): GangwayError {
  const message = `${describeWhere(where)}: ${reason}`;
  const details = hint === undefined ? {} : { hint };
  return where.kind === "flag" ? new UsageError(message, details) : new ConfigError(message, details);
}

/** A piece of input for use in a message: quoted, one line, not endless. */
export function quote(text: string): string {
  const shown = text.length > 80 ? `${text.slice(0, 77)}...` : text;
  return JSON.stringify(shown);
}
