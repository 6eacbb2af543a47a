/* Reading engines' answers, which are JSON of a shape that differs between engines and versions. */

export type JsonObject = Readonly<Record<string, unknown>>;

/** The value as an object; an empty one where it is none, so that what is missing reads as absent. */
export function object(value: unknown): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

export function number(value: unknown): number {
  return typeof value === "number" ? value : 0;
}

/** An array of strings, or a single one (Podman's ENTRYPOINT), or nothing. */
export function texts(value: unknown): string[] {
  if (typeof value === "string") return value === "" ? [] : [value];
  return list(value).filter((item) => typeof item === "string");
}

export function textRecord(value: unknown): Record<string, string> {
  return Object.fromEntries(
    Object.entries(object(value)).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  );
}
