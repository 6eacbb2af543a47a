import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { GANGWAY, gangway, IMAGES, type RunOptions, type RunResult, run, UDI_IMAGE, USER } from "./harness.ts";

/** The host's ssh, and the tree's own. */
export const CLIENTS: readonly string[] = ["/usr/bin/ssh", `${UDI_IMAGE}/bin/ssh`];

/** Runs work while a detached job runs. */
export async function withJob<T>(id: string, words: readonly string[], work: () => Promise<T>): Promise<T> {
  const output = `/tmp/gangway-test-${id}.out`;
  const started = await gangway(
    ["run", "--detach", "--name", id, "--image", IMAGES.debian, "--output", output, ...words, "--", "sleep", "600"],
    {},
  );
  if (started.code !== 0) throw new Error(started.stderr);
  try {
    return await work();
  } finally {
    await gangway(["stop", id]);
    rmSync(output, { force: true });
  }
}

/** `gangway ssh …` */
export async function enter(words: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return await gangway(["ssh", ...words], options);
}

/** Runs work while ~/.ssh/config includes the index. */
export async function installed<T>(work: () => Promise<T>): Promise<T> {
  const result = await run([GANGWAY, "ssh-config", "--install"]);
  if (result.code !== 0) throw new Error(result.stderr);
  try {
    return await work();
  } finally {
    await run([GANGWAY, "ssh-config", "--uninstall"]);
  }
}

/** The job's private directory. */
export function directoryOf(id: string): string {
  return `${USER.runtime}/gangway/${id}`;
}

/** For toMatchObject: a text that has this in it. */
export function saying(what: string | RegExp): unknown {
  return typeof what === "string" ? expect.stringContaining(what) : expect.stringMatching(what);
}

/** What sessions have in the run base while they last; notes of `gangway inject` stay longer. */
export function sessionFiles(): string[] {
  const names = readdirSync(join(USER.runtime, "gangway"));
  return names.filter((name) => name.startsWith(".") && !name.startsWith(".injected-"));
}
