import {
  checkBytes,
  checkCpus,
  checkDuration,
  checkInteger,
  formatBytes,
  formatDuration,
  parseAbsolutePath,
  parseAssignment,
  parseBoolean,
  parseBytes,
  parseCpus,
  parseDuration,
  parseInteger,
  parseValue,
  parseVariableName,
  parseWord,
} from "./parse.ts";
import type { Bases, Linger } from "./parse-container.ts";
import { didYouMean } from "./suggest.ts";
import { fault, quote, type Where, within } from "./where.ts";

/** How the values of a setting are written, read, shown and put together. */
export interface Kind<T> {
  /** For the help: `SIZE`. */
  readonly placeholder: string;
  /** For the reference: what one writes in the file. */
  readonly written: string;
  /** A list or table: from several flags, from one variable with `;` between; sources add up. */
  readonly repeats: boolean;
  /** From flags or a variable; more than one text only where it repeats. */
  fromTexts(texts: readonly string[], where: Where, bases: Bases): T;
  /** From what the TOML parser made of the file. */
  fromToml(value: unknown, where: Where, bases: Bases): T;
  /** As one would write it in a variable; "" for nothing. */
  format(value: T): string;
  /** Puts a source of lower and one of higher precedence together; without it the higher one replaces. */
  merge?(lower: T, higher: T): T;
}

type Parse<T> = (text: string, where: Where, bases: Bases) => T;

interface Scalar<T> {
  readonly placeholder: string;
  readonly written: string;
  readonly parse: Parse<T>;
  readonly format?: (value: T) => string;
  /** Where a TOML number is as good as a string. */
  readonly fromNumber?: (value: number, where: Where) => T;
}

/** What a TOML value is, in words, for "is a …, not …". */
function nameOf(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (value instanceof Date) return "a date";
  if (typeof value === "object") return "a table";
  if (typeof value === "string") return "a text";
  return typeof value === "boolean" ? "a truth value" : `a ${typeof value}`;
}

function wrongType(where: Where, value: unknown, wanted: string): Error {
  return fault(where, `is ${nameOf(value)}, not ${wanted}`, `write ${wanted}`);
}

function scalar<T>({ placeholder, written, parse, format = String, fromNumber }: Scalar<T>): Kind<T> {
  return {
    placeholder,
    written,
    repeats: false,
    // Of a flag said twice the last one counts, as is custom.
    fromTexts: (texts, where, bases) => parse(texts.at(-1) ?? "", where, bases),
    fromToml(value, where, bases) {
      if (typeof value === "string") return parse(value, where, bases);
      if (typeof value === "number" && fromNumber !== undefined) return fromNumber(value, where);
      throw wrongType(where, value, written);
    },
    format,
  };
}

/** Free text that a parser of its own looks at. */
export function text<T extends string>(placeholder: string, written: string, parse: Parse<T>): Kind<T> {
  return scalar({ placeholder, written, parse });
}

/** Text with a parser and its inverse, for values that are no strings. */
export function parsed<T>(
  placeholder: string,
  written: string,
  parse: Parse<T>,
  format: (value: T) => string,
): Kind<T> {
  return scalar({ placeholder, written, parse, format });
}

export const absolutePath: Kind<string> = text("PATH", "an absolute path", parseAbsolutePath);

/**
 * A directory that is each user's own: absolute or from `~/`, `%U` standing for the uid. It is kept as written, since
 * whose home and uid are meant is known only where it is used ({@link expandDirectory}).
 */
export const userDirectory: Kind<string> = text(
  "DIRECTORY",
  "an absolute path or one from ~/; %U stands for the uid",
  (path, where) => {
    parseValue(path, where);
    if (!path.startsWith("/") && path !== "~" && !path.startsWith("~/")) {
      throw fault(where, `${quote(path)} is not an absolute path`, "write a path that starts with / or ~/");
    }
    const token = /%[^U%]|%$/.exec(path.replaceAll("%%", ""));
    if (token !== null) {
      // Quoted for what may follow the %, a line break among others; without the quotes, which the path has.
      const shown = quote(token[0]).slice(1, -1);
      throw fault(where, `${quote(path)}: ${shown} means nothing`, "write %U for the uid, %% for %");
    }
    return path;
  },
);

export function oneOf<const W extends string>(...words: W[]): Kind<W> {
  return scalar({
    placeholder: words.join("|"),
    written: words.map((word) => `"${word}"`).join(", "),
    parse: (given, where) => parseWord(given, where, words),
  });
}

export const bool: Kind<boolean> = {
  placeholder: "true|false",
  written: "true or false",
  repeats: false,
  fromTexts: (texts, where) => parseBoolean(texts.at(-1) ?? "", where),
  fromToml(value, where) {
    if (typeof value === "boolean") return value;
    throw wrongType(where, value, "true or false");
  },
  format: String,
};

export function integer(least: number, most: number): Kind<number> {
  return scalar({
    placeholder: "N",
    written: `a whole number from ${least} to ${most}`,
    parse: (given, where) => parseInteger(given, where, least, most),
    fromNumber: (value, where) => checkInteger(value, where, least, most),
  });
}

export const bytes: Kind<number> = scalar({
  placeholder: "SIZE",
  written: 'a size such as "512m" or "2g" (units of 1024; a bare number is bytes)',
  parse: parseBytes,
  format: formatBytes,
  fromNumber: checkBytes,
});

export const cpus: Kind<number> = scalar({
  placeholder: "N",
  written: "a number of cpus such as 2 or 1.5",
  parse: parseCpus,
  fromNumber: checkCpus,
});

/** Milliseconds. */
export const duration: Kind<number> = scalar({
  placeholder: "TIME",
  written: 'a duration such as "30s", "5m", "1h30m", "02:00:00" or "1-12:00:00" (a bare number is seconds)',
  parse: parseDuration,
  format: formatDuration,
  fromNumber: (value, where) => checkDuration(value * 1000, where, String(value)),
});

/** A duration that must not be nothing: a limit of 0 s would end everything before it began. */
export const timeLimit: Kind<number> = (() => {
  const positive = (value: number, where: Where): number => {
    if (value === 0) throw fault(where, "a limit of no time at all leaves none to work in", "write a longer duration");
    return value;
  };
  return {
    ...duration,
    fromTexts: (texts, where, bases) => positive(duration.fromTexts(texts, where, bases), where),
    fromToml: (value, where, bases) => positive(duration.fromToml(value, where, bases), where),
  };
})();

/** A duration of a whole number of milliseconds from `least` on. */
export function durationFrom(least: number): Kind<number> {
  const checked = (value: number, where: Where): number => {
    if (value >= least) return value;
    throw fault(where, `${formatDuration(value)} is too short`, `write ${formatDuration(least)} or more`);
  };
  return {
    ...duration,
    fromTexts: (texts, where, bases) => checked(duration.fromTexts(texts, where, bases), where),
    fromToml: (value, where, bases) => checked(duration.fromToml(value, where, bases), where),
  };
}

export const linger: Kind<Linger> = scalar<Linger>({
  placeholder: "none|sessions|TIME",
  written: '"none", "sessions", or a duration such as "5m"',
  parse(given, where) {
    if (given === "none" || given === "sessions") return given;
    if (!/^\d/.test(given))
      throw fault(
        where,
        `${quote(given)} is neither "none" nor "sessions" nor a duration`,
        didYouMean(given, ["none", "sessions"], "write none, sessions, or a time such as 10m"),
      );
    return { seconds: Math.ceil(parseDuration(given, where) / 1000) };
  },
  format: (value) => (typeof value === "string" ? value : formatDuration(value.seconds * 1000)),
  fromNumber: (value, where) => ({ seconds: Math.ceil(checkDuration(value * 1000, where, String(value)) / 1000) }),
});

/** A setting that may be left to the system: the word for that takes back what a weaker source said. */
export function optional<T>(kind: Kind<T>, word: "automatic" | "none"): Kind<T | undefined> {
  return {
    placeholder: kind.placeholder,
    written: `${kind.written}; or "${word}"`,
    repeats: false,
    fromTexts: (texts, where, bases) => (texts.at(-1) === word ? undefined : kind.fromTexts(texts, where, bases)),
    fromToml: (value, where, bases) => (value === word ? undefined : kind.fromToml(value, where, bases)),
    format: (value) => (value === undefined ? word : kind.format(value)),
  };
}

interface ListOf<T> {
  readonly placeholder: string;
  readonly written: string;
  readonly parse: Parse<T>;
  readonly format: (element: T) => string;
  /** What two elements of one list must not share; of two sources the stronger one's element stays. */
  readonly identity: (element: T) => string;
}

/** A list of texts. */
export function list<T>({ placeholder, written, parse, format, identity }: ListOf<T>): Kind<readonly T[]> {
  function read(texts: readonly string[], whereOf: (index: number) => Where, bases: Bases): readonly T[] {
    const seen = new Set<string>();
    return texts.map((element, index) => {
      const where = whereOf(index);
      const value = parse(element, where, bases);
      const id = identity(value);
      if (seen.has(id)) throw fault(where, `${id} is given twice`, "leave one of them");
      seen.add(id);
      return value;
    });
  }
  return {
    placeholder,
    written: `a list of texts, each ${written}`,
    repeats: true,
    fromTexts: (texts, where, bases) => read(texts, () => where, bases),
    fromToml(value, where, bases) {
      if (!Array.isArray(value)) throw wrongType(where, value, "a list of texts");
      const elements: readonly unknown[] = value;
      const place = (index: number): Where => within(where, index);
      const texts = elements.map((element, index) => {
        if (typeof element !== "string") throw wrongType(place(index), element, "a text");
        return element;
      });
      return read(texts, place, bases);
    },
    format: (value) => value.map(format).join(";"),
    merge(lower, higher) {
      const replaced = new Set(higher.map(identity));
      return [...lower.filter((element) => !replaced.has(identity(element))), ...higher];
    },
  };
}

export type Variables = Readonly<Record<string, string>>;

/** A table of environment variables; `join` makes one value of two sources' values of the same name. */
export function variables(join: (lower: string, higher: string) => string): Kind<Variables> {
  return {
    placeholder: "NAME=VALUE",
    written: 'a table, such as { NAME = "value" }',
    repeats: true,
    fromTexts(texts, where) {
      const pairs = texts.map((assignment) => parseAssignment(assignment, where));
      const names = pairs.map(([name]) => name);
      const twice = names.find((name, index) => names.indexOf(name) !== index);
      if (twice !== undefined) throw fault(where, `${twice} is given twice`, "leave one of them");
      return Object.fromEntries(pairs);
    },
    fromToml(value, where) {
      if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Date) {
        throw wrongType(where, value, "a table of texts");
      }
      const pairs = Object.entries(value).map(([name, content]: [string, unknown]) => {
        const place = within(where, name);
        parseVariableName(name, place);
        if (typeof content === "string") return [name, parseValue(content, place)] as const;
        // SHIFTER_RUNTIME = 1 can only mean the text "1".
        if (typeof content === "number" && Number.isInteger(content)) return [name, String(content)] as const;
        throw wrongType(place, content, "a text");
      });
      return Object.fromEntries(pairs);
    },
    format: (value) =>
      Object.entries(value)
        .map(([name, content]) => `${name}=${content}`)
        .join(";"),
    merge(lower, higher) {
      const merged: Record<string, string> = { ...lower };
      for (const [name, content] of Object.entries(higher)) {
        const below = Object.hasOwn(lower, name) ? lower[name] : undefined;
        merged[name] = below === undefined ? content : join(below, content);
      }
      return merged;
    },
  };
}
