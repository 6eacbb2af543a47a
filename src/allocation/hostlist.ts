import { HOST_NAME_LENGTH, isNodeName } from "../config/host-name.ts";
import { fault, quote, type Where } from "../config/where.ts";

// The grammar is Slurm's, and `scontrol show hostnames` its judge: brackets hold numbers and ranges of them with commas
// between; a range is padded to the width of its lower end; names stand in the order written, also twice. Beyond it, a
// name may go on after its last bracket (n[1-2].example.org), which scontrol 22.05 refuses. What it lets pass and cannot
// have been meant (a bracket left open, blanks in one) is an error here.

/** More than any allocation has. */
export const MOST_NAMES = 100_000;

/** `{"from": "08", "first": 8, "count": 4}` is 08, 09, 10, 11. */
interface Range {
  readonly from: string;
  /** The same as a number, where there are several and `from` has no more than {@link MOST_DIGITS}. */
  readonly first: number;
  readonly count: number;
}

/** What a bracket holds. */
interface Bracket {
  readonly ranges: readonly Range[];
  /** Numbers in all. */
  readonly count: number;
  /** Characters of the longest number. */
  readonly width: number;
}

/** Between two brackets, or the ends of a name, a text. */
type Part = string | Bracket;

/**
 * The names that a hostlist stands for, in its order: `n[01-03],big7` is n01, n02, n03, big7. A list of nothing is none.
 *
 * @param where what the text is the value of, for messages
 * @throws GangwayError that says what is wrong at which character, counted from 1; before any memory is spent on a list
 *   of more than {@link MOST_NAMES}
 */
export function unfoldHostlist(text: string, where: Where): string[] {
  const names: string[] = [];
  for (const { token, at } of elements(text, where)) {
    const parts = partsOf(token, at, where, text);
    const count = parts.reduce((product, part) => product * (typeof part === "string" ? 1 : part.count), 1);
    if (names.length + count > MOST_NAMES) throw tooMany(text, at, where);
    expand(parts, names);
  }
  return names;
}

function tooMany(text: string, at: number, where: Where): Error {
  return wrong(text, at, where, `more than ${MOST_NAMES} names`, "look for a range with a digit too many");
}

function wrong(text: string, at: number, where: Where, reason: string, hint: string): Error {
  return fault(where, `${quote(text)}: ${reason}, at character ${at + 1}`, hint);
}

const SHAPE = "write names and ranges, such as n[01-04],big7";

/** The list's elements: commas and white space part them, but not in brackets. Empty ones are passed over, as by Slurm. */
function* elements(text: string, where: Where): Generator<{ token: string; at: number }> {
  // A literal, then any number of brackets each with a literal behind it.
  const element = /[^\s,[\]]*(?:\[[^\s[\]]*\][^\s,[\]]*)+|[^\s,[\]]+/y;
  const separators = /[\s,]*/y;
  for (let at = 0; ; ) {
    separators.lastIndex = at;
    at += separators.exec(text)?.[0].length ?? 0;
    if (at === text.length) return;
    element.lastIndex = at;
    const token = element.exec(text)?.[0];
    if (token === undefined) throw strayBracket(text, at, where);
    yield { token, at };
    at += token.length;
    if (text[at] === "[" || text[at] === "]") throw strayBracket(text, at, where);
  }
}

function strayBracket(text: string, from: number, where: Where): Error {
  const at = from + text.slice(from).search(/[[\]]/);
  if (text[at] === "]") return wrong(text, at, where, "a ] without its [", SHAPE);
  const inside = /^\[[^[\]]*/.exec(text.slice(at))?.[0] ?? "[";
  const next = text[at + inside.length];
  if (next === undefined) return wrong(text, at, where, "a [ without its ]", SHAPE);
  if (next === "[") return wrong(text, at + inside.length, where, "a [ within brackets", SHAPE);
  return wrong(text, at + inside.search(/\s/), where, "a blank within brackets", SHAPE);
}

/** One element, taken apart and checked so that every name that it stands for is one. */
function partsOf(token: string, at: number, where: Where, text: string): Part[] {
  const parts: Part[] = [];
  let longest = "";
  let position = at;
  for (const piece of token.split(/(\[[^\]]*\])/)) {
    if (piece.startsWith("[")) {
      const bracket = bracketOf(piece.slice(1, -1), position + 1, where, text);
      parts.push(bracket);
      longest += "0".repeat(bracket.width);
    } else if (piece !== "") {
      parts.push(piece);
      longest += piece;
    }
    position += piece.length;
  }
  // All names of an element differ in digits alone, and only the number of these can make a difference.
  if (!isNodeName(longest)) {
    const reason =
      longest.length > HOST_NAME_LENGTH ? "a name too long for a host's" : `${quote(token)} is no host name`;
    throw wrong(text, at, where, reason, "host names are made of letters, digits, '-', '_' and '.'");
  }
  return parts;
}

const SINGLE_OR_RANGE = /^([0-9]{1,20})(?:-([0-9]{1,20}))?$/;

/** A number of so many digits is exact, and so is its successor. */
const MOST_DIGITS = 15;

/** What hardly any bracket holds. A launch reads one list, once: what counts is how few steps there are, compiled or not. */
const NOT_PLAIN = /[^0-9,-]/;

function bracketOf(inside: string, at: number, where: Where, text: string): Bracket {
  return (NOT_PLAIN.test(inside) ? undefined : plainBracket(inside)) ?? checkedBracket(inside, at, where, text);
}

/** @returns undefined where there is something to explain */
function plainBracket(inside: string): Bracket | undefined {
  const ranges: Range[] = [];
  let sum = 0;
  let width = 0;
  for (const written of inside.split(",")) {
    const dash = written.indexOf("-");
    if (dash === -1) {
      if (written === "" || written.length > MOST_DIGITS) return undefined;
      ranges.push({ from: written, first: 0, count: 1 });
      sum++;
      if (written.length > width) width = written.length;
      continue;
    }
    const from = written.slice(0, dash);
    const to = written.slice(dash + 1);
    const first = Number(from);
    const count = Number(to) - first + 1;
    // Not a number where there is another dash; no end at all would be taken for 0.
    if (!(count >= 1 && count <= MOST_NAMES) || from === "" || to === "") return undefined;
    if (from.length > MOST_DIGITS || to.length > MOST_DIGITS) return undefined;
    ranges.push({ from, first, count });
    sum += count;
    if (from.length > width) width = from.length;
    // Zeros before the upper end say nothing.
    if (to.length > width) width = Math.max(width, String(Number(to)).length);
  }
  return { ranges, count: sum, width };
}

function checkedBracket(inside: string, at: number, where: Where, text: string): Bracket {
  let position = at;
  let width = 0;
  const ranges = inside.split(",").map((written) => {
    const place = position;
    position += written.length + 1;
    const match = SINGLE_OR_RANGE.exec(written);
    if (match === null) {
      const reason = written === "" ? "a number is missing" : `${quote(written)} is neither a number nor a range`;
      throw wrong(text, place, where, reason, "within brackets write numbers and ranges, such as [1,3-5] or [001-128]");
    }
    const [, from = "", to = from] = match;
    const count = BigInt(to) - BigInt(from) + 1n;
    if (count < 1n) {
      throw wrong(text, place, where, `the range ${written} goes down`, `write the lower number first: ${to}-${from}`);
    }
    if (count > BigInt(MOST_NAMES)) throw tooMany(text, place, where);
    width = Math.max(width, from.length, String(BigInt(to)).length);
    return { from, first: Number(from), count: Number(count) };
  });
  return { ranges, count: ranges.reduce((sum, { count }) => sum + count, 0), width };
}

/** Appends every name, the last bracket counting fastest. */
function expand(parts: readonly Part[], names: string[]): void {
  let heads = [""];
  for (const [index, part] of parts.entries()) {
    const into = index === parts.length - 1 ? names : [];
    for (const head of heads) {
      if (typeof part === "string") into.push(head + part);
      else pushRanges(head, part.ranges, into);
    }
    heads = into;
  }
}

/** Two digits, so that of a hundred numbers in a row one alone has to be written. */
const PAIRS: readonly string[] = Array.from({ length: 100 }, (_, number) => `${number < 10 ? "0" : ""}${number}`);

function pushRanges(head: string, ranges: readonly Range[], into: string[]): void {
  // What the numbers of a hundred begin with: ranges that follow each other often have it in common.
  let start = "";
  let hundred = Number.NaN;
  let digits = 0;
  for (const { from, first, count } of ranges) {
    if (count === 1) {
      into.push(head + from);
      continue;
    }
    let pair = first - hundred;
    if (!(pair >= 0 && pair < 100 && from.length === digits)) {
      digits = from.length;
      pair = first % 100;
      hundred = first - pair;
      start = head + from.slice(0, -2);
    }
    const stop = pair + count;
    if (stop <= 100 && digits > 1 && digits <= MOST_DIGITS) {
      for (; pair < stop; pair++) into.push(start + PAIRS[pair]);
    } else if (digits > MOST_DIGITS) {
      // Here a number would lose its last digits.
      for (let step = 0n; step < count; step++) into.push(head + String(BigInt(from) + step).padStart(digits, "0"));
    } else pushNumbers(head, first, count, digits, into);
  }
}

/** For a long range, this is where the time goes. */
function pushNumbers(head: string, first: number, count: number, width: number, into: string[]): void {
  const end = first + count;
  let number = first;
  // Without a tens digit, unless one is written all the same.
  for (; width < 2 && number < end && number < 10; number++) into.push(`${head}${number}`);
  while (number < end) {
    const hundreds = Math.floor(number / 100);
    const start =
      hundreds === 0 ? head + "0".repeat(Math.max(0, width - 2)) : head + String(hundreds).padStart(width - 2, "0");
    const stop = Math.min(end, hundreds * 100 + 100);
    for (let last = number - hundreds * 100; number < stop; number++, last++) into.push(start + PAIRS[last]);
  }
}

/** What is being put together for names that differ in one number. */
interface Group {
  readonly head: string;
  readonly tail: string;
  /** Finished ranges. */
  readonly ranges: string[];
  first: string;
  last: string;
}

/**
 * The shortest hostlist in the same order that {@link unfoldHostlist} makes the same names of: only what stands side by
 * side is put together. Where names have no domain and end in their number it is what `scontrol show hostlist` prints.
 *
 * @param names host names
 */
export function foldHostlist(names: readonly string[]): string {
  const written: string[] = [];
  let group: Group | undefined;
  for (const name of names) {
    const [head, number, tail] = splitName(name);
    if (group !== undefined && group.first !== "" && number !== "" && group.head === head && group.tail === tail) {
      if (number === successor(group)) group.last = number;
      else {
        group.ranges.push(range(group));
        group.first = group.last = number;
      }
      continue;
    }
    if (group !== undefined) written.push(render(group));
    group = { head, tail, ranges: [], first: number, last: number };
  }
  if (group !== undefined) written.push(render(group));
  return written.join(",");
}

/** Before, in and behind the number that nodes are told apart by: the last of the host's own label, else one at the end. */
function splitName(name: string): [head: string, number: string, tail: string] {
  const dot = name.indexOf(".");
  let end = dot === -1 ? name.length : dot;
  while (end > 0 && !isDigit(name, end - 1)) end--;
  if (end === 0) end = name.length;
  let start = end;
  while (start > 0 && end - start < MOST_DIGITS && isDigit(name, start - 1)) start--;
  return start === end ? [name, "", ""] : [name.slice(0, start), name.slice(start, end), name.slice(end)];
}

function isDigit(text: string, index: number): boolean {
  const code = text.charCodeAt(index);
  return code >= 0x30 && code <= 0x39;
}

/** What has to come next, written as a range that begins like this one writes it. */
function successor({ first, last }: Group): string {
  return String(Number(last) + 1).padStart(first.length, "0");
}

function range({ first, last }: Group): string {
  return first === last ? first : `${first}-${last}`;
}

function render(group: Group): string {
  const ranges = [...group.ranges, range(group)];
  const bare = ranges.length === 1 && group.first === group.last;
  return group.head + (bare ? group.first : `[${ranges.join(",")}]`) + group.tail;
}
