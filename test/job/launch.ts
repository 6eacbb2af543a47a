import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect } from "vitest";
import { gangway, IMAGES, type RunOptions, type RunResult } from "./harness.ts";

/** Throws where the program fails. */
export const execute = promisify(execFile);

/** `gangway run` of words in the bare image, which is there. */
export async function launch(words: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return await gangway(["run", "--image", IMAGES.bare, "--pull", "never", ...words], options);
}

/** What a launch with these flags prints; it has to go well. */
export async function output(words: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await launch(words, options);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout;
}
