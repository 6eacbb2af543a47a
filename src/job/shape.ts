import { GangwayError } from "../config/errors.ts";

/** What the other side of a connection sent is not what its version says. */
export class ProtocolError extends GangwayError {
  constructor(what: string) {
    super(`what was received is not understood: ${what}`, {
      hint: "is the same version of Gangway installed on every host?",
    });
  }
}

/** Turns an unknown value into a precise one. @throws ProtocolError naming the place */
export type Shape<T> = (value: unknown, place: string) => T;

/** The type that a shape makes. */
export type Shaped<S> = S extends Shape<infer T> ? T : never;

function wrong(place: string, what: string): ProtocolError {
  return new ProtocolError(`${place} is no ${what}`);
}

export const text: Shape<string> = (value, place) => {
  if (typeof value !== "string") throw wrong(place, "text");
  return value;
};

/** Text that is one line of a file, or may become one: without control characters. */
export const line: Shape<string> = (value, place) => {
  const written = text(value, place);
  if (/\p{Cc}/u.test(written)) throw wrong(place, "line");
  return written;
};

export const flag: Shape<boolean> = (value, place) => {
  if (typeof value !== "boolean") throw wrong(place, "truth value");
  return value;
};

/** A whole number between two, both included. */
export function whole(least: number, most: number): Shape<number> {
  return (value, place) => {
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < least || value > most) {
      throw wrong(place, `whole number from ${least} to ${most}`);
    }
    return value;
  };
}

/** Any finite number from 0. */
export const amount: Shape<number> = (value, place) => {
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) throw wrong(place, "number");
  return value;
};

export function oneOf<const T extends string>(...words: readonly T[]): Shape<T> {
  return (value, place) => {
    const found = words.find((word) => word === value);
    if (found === undefined) throw wrong(place, words.join(", or "));
    return found;
  };
}

/** The first of the shapes that fits. */
export function either<A, B>(one: Shape<A>, other: Shape<B>): Shape<A | B> {
  return (value, place) => {
    try {
      return one(value, place);
    } catch {
      return other(value, place);
    }
  };
}

export function list<T>(entry: Shape<T>): Shape<readonly T[]> {
  return (value, place) => {
    if (!Array.isArray(value)) throw wrong(place, "list");
    return value.map((each: unknown, index) => entry(each, `${place}[${index}]`));
  };
}

/** An object of any keys. */
export function table<T>(entry: Shape<T>): Shape<Readonly<Record<string, T>>> {
  return (value, place) => {
    const pairs = Object.entries(fieldsOf(value, place));
    return Object.fromEntries(pairs.map(([key, each]) => [key, entry(each, `${place}.${key}`)]));
  };
}

/** A part of an object that may be missing. */
interface Optional<T> {
  readonly optional: Shape<T>;
}

export function optional<T>(shape: Shape<T>): Optional<T> {
  return { optional: shape };
}

/** The parts of an object of type T: each of its keys is named, or this does not compile. */
export type Parts<T> = {
  readonly [K in keyof T]-?: undefined extends T[K] ? Optional<Exclude<T[K], undefined>> : Shape<T[K]>;
};

/** An object with the given parts; others are left out. */
export function object<T extends object>(parts: Parts<T>): Shape<T> {
  return (value, place) => {
    const fields = fieldsOf(value, place);
    const made: Record<string, unknown> = {};
    for (const [key, part] of Object.entries<Shape<unknown> | Optional<unknown>>(parts)) {
      const field = Object.hasOwn(fields, key) ? fields[key] : undefined;
      if (typeof part === "function") made[key] = part(field, `${place}.${key}`);
      else if (field !== undefined) made[key] = part.optional(field, `${place}.${key}`);
    }
    return made as T;
  };
}

function fieldsOf(value: unknown, place: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(place, "object");
  return value as Readonly<Record<string, unknown>>;
}
