import { didYouMean } from "./suggest.ts";
import { fault, quote, type Where } from "./where.ts";

// Every parser here takes the text and where it stands, and throws a GangwayError that says what, where and how to put
// it right; nothing else.

const TRUE = new Set(["true", "yes", "on", "1"]);
const FALSE = new Set(["false", "no", "off", "0"]);

/** true, yes, on, 1; false, no, off, 0; in any case. */
export function parseBoolean(text: string, where: Where): boolean {
  const word = text.toLowerCase();
  if (TRUE.has(word)) return true;
  if (FALSE.has(word)) return false;
  throw fault(where, `${quote(text)} is neither true nor false`, "write true or false");
}

/** A decimal integer from least to most, both included. */
export function parseInteger(text: string, where: Where, least: number, most: number): number {
  if (!/^[+-]?\d{1,16}$/.test(text)) {
    throw fault(where, `${quote(text)} is not a whole number`, `write a number from ${least} to ${most}`);
  }
  return checkInteger(Number(text), where, least, most);
}

/** The range check of {@link parseInteger} for what is a number already. */
export function checkInteger(value: number, where: Where, least: number, most: number): number {
  if (!Number.isInteger(value)) throw fault(where, `${value} is not a whole number`);
  if (value < least || value > most) {
    throw fault(where, `${value} is out of range`, `write a number from ${least} to ${most}`);
  }
  // -0 would be shown as such.
  return value === 0 ? 0 : value;
}

/** One word of a fixed list. */
export function parseWord<const W extends string>(text: string, where: Where, words: readonly W[]): W {
  const found = words.find((word) => word === text);
  if (found === undefined) {
    const list = words.join(", ");
    throw fault(where, `${quote(text)} is not one of ${list}`, didYouMean(text, words, `write one of ${list}`));
  }
  return found;
}

const BYTE_UNITS = ["b", "k", "m", "g", "t"];
const BYTES_HINT = "write a number with b, k, m, g or t behind it, such as 512m";

/** A size as docker has it: `512m`, `2g`, `1.5g`, `64kb`, `1GiB`, plain bytes; units are powers of 1024. */
export function parseBytes(text: string, where: Where): number {
  const match = /^(\d{1,16}(?:\.\d{1,9})?) ?([bkmgt]?)(?:(?<=[kmgt])i?b)?$/i.exec(text);
  if (match === null) throw fault(where, `${quote(text)} is not a size`, BYTES_HINT);
  const [, digits = "", unit = ""] = match;
  const bytes = Number(digits) * 1024 ** Math.max(0, BYTE_UNITS.indexOf(unit.toLowerCase()));
  return checkBytes(Math.round(bytes), where, text);
}

/** The range check of {@link parseBytes}: at least one byte, and exact as a number. */
export function checkBytes(bytes: number, where: Where, text = String(bytes)): number {
  if (!Number.isSafeInteger(bytes) || bytes < 1) {
    throw fault(where, `${quote(text)} is no size that can be had`, BYTES_HINT);
  }
  return bytes;
}

/** The shortest text that {@link parseBytes} reads as the same size. */
export function formatBytes(bytes: number): string {
  for (let power = BYTE_UNITS.length - 1; power > 0; power--) {
    if (bytes !== 0 && bytes % 1024 ** power === 0) return `${bytes / 1024 ** power}${BYTE_UNITS[power]}`;
  }
  return String(bytes);
}

const DURATION_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const DURATION_HINT = "write 30s, 5m, 1h30m, 02:00:00 or 1-12:00:00";
/** More than ten years is a slip of the finger. (It is more than one timer of Node holds, which are 2^31-1 ms.) */
const LONGEST = 3650 * 86_400_000;

/**
 * A duration, in milliseconds: seconds (`30`), units (`500ms`, `30s`, `5m`, `1h30m`, `1.5h`, `2d`), or as Slurm writes it
 * (`MM:SS`, `HH:MM:SS`, `D-HH`, `D-HH:MM`, `D-HH:MM:SS`). A bare number is seconds, where Slurm's would be minutes.
 */
export function parseDuration(text: string, where: Where): number {
  const duration = clockDuration(text) ?? unitDuration(text);
  if (duration === undefined) throw fault(where, `${quote(text)} is not a duration`, DURATION_HINT);
  return checkDuration(duration, where, text);
}

/** The range check of {@link parseDuration} for what is milliseconds already. */
export function checkDuration(milliseconds: number, where: Where, text = `${milliseconds}ms`): number {
  const rounded = Math.round(milliseconds);
  if (!(rounded >= 0 && rounded <= LONGEST)) {
    throw fault(where, `${quote(text)} is out of range`, "write a duration from 0 to 3650d");
  }
  return rounded;
}

function unitDuration(text: string): number | undefined {
  if (/^\d{1,12}(?:\.\d{1,9})?$/.test(text)) return Number(text) * 1000;
  if (text.length > 64 || !/^(?:\d{1,12}(?:\.\d{1,9})?(?:ms|[smhd]))+$/.test(text)) return undefined;
  let sum = 0;
  let previous = Number.POSITIVE_INFINITY;
  for (const [, digits = "", unit = ""] of text.matchAll(/([\d.]+)(ms|[smhd])/g)) {
    const length = DURATION_UNITS[unit] ?? 0;
    // Falling order only: "30m1h" and "5m5m" are more likely slips than meant.
    if (length >= previous) return undefined;
    previous = length;
    sum += Number(digits) * length;
  }
  return sum;
}

function clockDuration(text: string): number | undefined {
  const match = /^(?:(\d{1,5})-)?(\d{1,9}(?::\d{1,2}){0,2})$/.exec(text);
  if (match === null) return undefined;
  const [, days, clock = ""] = match;
  const parts = clock.split(":").map(Number);
  const [first = 0, second = 0, third = 0] = parts;
  if (second > 59 || third > 59) return undefined;
  if (days !== undefined) {
    return first > 23 ? undefined : Number(days) * 86_400_000 + first * 3_600_000 + second * 60_000 + third * 1000;
  }
  if (parts.length === 1) return undefined;
  if (parts.length === 2) return first * 60_000 + second * 1000;
  return first * 3_600_000 + second * 60_000 + third * 1000;
}

/** Text that {@link parseDuration} reads as the same duration: `1h30m`, `30s`, `0s`. */
export function formatDuration(milliseconds: number): string {
  let rest = milliseconds;
  let text = "";
  for (const [unit, length] of Object.entries(DURATION_UNITS).reverse()) {
    const count = Math.floor(rest / length);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * length;
  }
  return text === "" ? "0s" : text;
}

/** A number of cpus, as `docker run --cpus`: `2`, `1.5`. */
export function parseCpus(text: string, where: Where): number {
  if (!/^\d{1,5}(?:\.\d{1,9})?$/.test(text)) {
    throw fault(where, `${quote(text)} is not a number of cpus`, "write a number such as 2 or 1.5");
  }
  return checkCpus(Number(text), where);
}

/** The range check of {@link parseCpus}: the engines refuse less than a hundredth. */
export function checkCpus(cpus: number, where: Where): number {
  if (!(cpus >= 0.01 && cpus <= 99_999)) {
    throw fault(where, `${cpus} is no number of cpus that can be had`, "write a number from 0.01");
  }
  return cpus;
}

/** A list of cpus as the kernel writes it: `0-3,8`. Returned as it stands. */
export function parseCpuset(text: string, where: Where): string {
  const good =
    /^\d{1,5}(?:-\d{1,5})?(?:,\d{1,5}(?:-\d{1,5})?)*$/.test(text) &&
    text.split(",").every((range) => {
      const [from = "", to = from] = range.split("-");
      return Number(from) <= Number(to);
    });
  if (!good) throw fault(where, `${quote(text)} is not a list of cpus`, "write numbers and ranges, such as 0-3,8");
  return text;
}

/** A name for an environment variable, such as every shell takes it. */
export function parseVariableName(text: string, where: Where): string {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(text)) {
    throw fault(where, `${quote(text)} is no name for a variable`, "use letters, digits and _, no digit first");
  }
  return text;
}

/** `NAME=value`, the value being everything behind the first `=`. */
export function parseAssignment(text: string, where: Where): readonly [name: string, value: string] {
  const equals = text.indexOf("=");
  if (equals < 0) throw fault(where, `${quote(text)} has no "="`, "write NAME=value");
  return [parseVariableName(text.slice(0, equals), where), parseValue(text.slice(equals + 1), where)];
}

/** Text that can stand in an environment or an argv. */
export function parseValue(text: string, where: Where): string {
  if (text.includes("\0")) throw fault(where, "it holds a NUL byte");
  return text;
}

/** An absolute path, made normal (no `.`, `..`, double or final slash). */
export function parseAbsolutePath(text: string, where: Where): string {
  parseValue(text, where);
  if (!text.startsWith("/")) {
    throw fault(where, `${quote(text)} is not an absolute path`, "write a path that starts with /");
  }
  return normalPath(text);
}

/** An absolute path without `.`, `..`, double and final slashes; textually, links are not followed. */
export function normalPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}
