import { lstatSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readOwnFile } from "../config/own-file.ts";

/** What is kept of a detached job for a week, so that `wait` and `logs` find it when it is over. */
export interface EndedJob {
  readonly job: string;
  readonly exitCode: number;
  readonly outputFile: string;
  /** ISO 8601. */
  readonly ended: string;
}

const KEPT_MS = 7 * 24 * 3600 * 1000;

function fileOf(stateDirectory: string, job: string): string {
  return join(stateDirectory, "jobs", `${job}.json`);
}

/** Notes a detached job's end, and forgets those that ended long ago. Others of the user's jobs may end at the same moment. */
export function recordEnd(stateDirectory: string, ended: EndedJob): void {
  const directory = join(stateDirectory, "jobs");
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const file = fileOf(stateDirectory, ended.job);
  const temporary = `${file}.${process.pid}`;
  writeFileSync(temporary, `${JSON.stringify(ended)}\n`, { flag: "wx", mode: 0o600 });
  renameSync(temporary, file);
  for (const name of readdirSync(directory)) {
    const path = join(directory, name);
    const written = lstatSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
    if (Date.now() - written > KEPT_MS) rmSync(path, { force: true });
  }
}

/** A detached job that has ended; undefined when nothing is known of it. */
export function readEnd(stateDirectory: string, job: string, uid: number): EndedJob | undefined {
  try {
    return JSON.parse(readOwnFile(fileOf(stateDirectory, job), uid)) as EndedJob;
  } catch {
    return undefined;
  }
}
