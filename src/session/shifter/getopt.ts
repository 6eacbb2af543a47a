import { UsageError } from "../../config/errors.ts";
import { didYouMean } from "../../config/suggest.ts";

/** Whether an option has an argument; an optional one stands in the same word. */
export type Arity = "none" | "required" | "optional";

export interface LongOption {
  readonly name: string;
  readonly arity: Arity;
  /** What it means: a short option's letter, or a word of its own. Abbreviations that mean the same are one. */
  readonly means: string;
}

export interface OptionTable {
  readonly short: Readonly<Record<string, Arity>>;
  readonly long: readonly LongOption[];
}

/** An option as it was given: what it means, and its argument. */
export type Given = readonly [means: string, argument: string | undefined];

/**
 * Takes a command line apart as getopt_long(3) does with POSIXLY_CORRECT: letters together in a word, arguments in the
 * same word or the next, long options by any beginning that is theirs alone; it ends at `--` or the first other word.
 *
 * @returns the options in their order, and the words behind them
 * @throws UsageError
 */
export function getopt(words: readonly string[], table: OptionTable): { given: Given[]; rest: readonly string[] } {
  const given: Given[] = [];
  for (let at = 0; ; at++) {
    const word = words[at];
    if (word === "--") return { given, rest: words.slice(at + 1) };
    if (word === undefined || word === "-" || !word.startsWith("-")) return { given, rest: words.slice(at) };
    const next = words[at + 1];
    const usedNext = word.startsWith("--") ? long(word, next, table, given) : letters(word, next, table, given);
    if (usedNext) at++;
  }
}

function missing(option: string): UsageError {
  return new UsageError(`${option} needs an argument`, { hint: "see `gangway shifter --help`" });
}

/** @returns whether the next word was its argument */
function long(word: string, next: string | undefined, table: OptionTable, given: Given[]): boolean {
  const equals = word.indexOf("=");
  const name = equals === -1 ? word.slice(2) : word.slice(2, equals);
  const argument = equals === -1 ? undefined : word.slice(equals + 1);
  const option = named(name, table);
  if (option.arity === "none" && argument !== undefined) {
    throw new UsageError(`--${option.name} takes no argument`, { hint: `leave "=${argument}" out` });
  }
  const takesNext = option.arity === "required" && argument === undefined;
  if (takesNext && next === undefined) throw missing(`--${option.name}`);
  given.push([option.means, takesNext ? next : argument]);
  return takesNext;
}

function named(name: string, { long: options }: OptionTable): LongOption {
  const exact = options.find((option) => option.name === name);
  if (exact !== undefined) return exact;
  const fitting = options.filter((option) => option.name.startsWith(name));
  const [first, ...others] = fitting;
  if (first === undefined) {
    const names = options.map((option) => `--${option.name}`);
    throw new UsageError(`there is no option "--${name}"`, {
      hint: didYouMean(`--${name}`, names) ?? "see `gangway shifter --help`",
    });
  }
  if (others.some(({ means, arity }) => means !== first.means || arity !== first.arity)) {
    throw new UsageError(`"--${name}" is short for several options`, {
      hint: `write more of it: ${fitting.map((option) => `--${option.name}`).join(", ")}`,
    });
  }
  return first;
}

/** @returns whether the next word was the last letter's argument */
function letters(word: string, next: string | undefined, { short }: OptionTable, given: Given[]): boolean {
  for (let index = 1; index < word.length; index++) {
    const letter = word.charAt(index);
    const arity = Object.hasOwn(short, letter) ? short[letter] : undefined;
    if (arity === undefined) {
      throw new UsageError(`there is no option -${letter} (in "${word}")`, { hint: "see `gangway shifter --help`" });
    }
    if (arity === "none") {
      given.push([letter, undefined]);
      continue;
    }
    const rest = word.slice(index + 1);
    const takesNext = arity === "required" && rest === "";
    if (takesNext && next === undefined) throw missing(`-${letter}`);
    given.push([letter, takesNext ? next : rest === "" ? undefined : rest]);
    return takesNext;
  }
  return false;
}
