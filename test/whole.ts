/**
 * Whether everything is to be tried with everything (`make soak`), or a part of it that has each thing at least once
 * (`make test`). What takes long and differs little is chosen so, and nothing else.
 */
export const WHOLE = process.env.GANGWAY_TEST_WHOLE === "yes";

/** Of these all, or those that belong to the part. */
export function inPart<T>(all: readonly T[], belongs: (one: T, index: number) => boolean): readonly T[] {
  return WHOLE ? all : all.filter(belongs);
}
