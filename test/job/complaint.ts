import { expect } from "vitest";
import type { RunResult } from "./harness.ts";

export interface Complaint {
  /** The one line that says what is wrong, behind "gangway: ". */
  readonly says: string | RegExp;
  /** The line that says what to do. */
  readonly next: string | RegExp;
  readonly code?: number;
}

/** One line says what is wrong, one what to do; no stack, no other output, and the launcher's own exit code. */
export function complains({ code, stdout, stderr }: RunResult, { says, next, code: expected = 125 }: Complaint): void {
  expect(stderr).toMatch(/^gangway: .+\n {2}.+\n$/);
  expect(stderr).not.toMatch(/\n\s+at |mistake of gangway's own|undefined|\[object/);
  const [first = "", second = ""] = stderr.split("\n");
  expect(first.slice("gangway: ".length)).toEqual(
    typeof says === "string" ? expect.stringContaining(says) : expect.stringMatching(says),
  );
  expect(second.trim()).toEqual(typeof next === "string" ? expect.stringContaining(next) : expect.stringMatching(next));
  expect(stdout).toBe("");
  expect(code).toBe(expected);
}
