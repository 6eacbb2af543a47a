import { lstatSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { asUser, type Identity } from "../config/identity.ts";
import { readOwnFile } from "../config/own-file.ts";
import { hasControl } from "../udi/names.ts";

/** What is kept of a detached job for a week, so that `wait` and `logs` find it when it is over. */
export interface EndedJob {
  readonly job: string;
  readonly exitCode: number;
  readonly outputFile: string;
  /** ISO 8601. */
  readonly ended: string;
}

const KEPT_MS = 7 * 24 * 3600 * 1000;
/** Bytes: more than the longest path needs. */
const LARGEST = 64 * 1024;

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
  for (const name of readdirSync(directory)) forgetOld(join(directory, name));
}

function forgetOld(path: string): void {
  try {
    if (Date.now() - lstatSync(path).mtimeMs > KEPT_MS) rmSync(path);
  } catch {
    // Another job of the user's was faster; or it is no file, and so none of ours.
  }
}

/** A detached job of a user's that has ended; undefined when nothing is known of it. Whoever asks may be root, the file says anything. */
export function readEnd(stateDirectory: string, job: string, identity: Identity): EndedJob | undefined {
  try {
    const text = asUser(identity, () => readOwnFile(fileOf(stateDirectory, job), identity.uid, LARGEST));
    const record: unknown = JSON.parse(text);
    return isEndOf(job, record) ? record : undefined;
  } catch {
    return undefined;
  }
}

function isEndOf(asked: string, value: unknown): value is EndedJob {
  if (typeof value !== "object" || value === null) return false;
  const { job, exitCode, outputFile, ended } = value as Record<string, unknown>;
  return (
    job === asked &&
    typeof exitCode === "number" &&
    Number.isInteger(exitCode) &&
    exitCode >= 0 &&
    exitCode <= 255 &&
    typeof outputFile === "string" &&
    outputFile.startsWith("/") &&
    !hasControl(outputFile) &&
    typeof ended === "string" &&
    /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(ended)
  );
}
