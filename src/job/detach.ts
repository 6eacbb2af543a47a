import { spawn } from "node:child_process";
import { closeSync, constants, openSync, writeSync } from "node:fs";
import { GangwayError, LAUNCHER_FAILED } from "../config/errors.ts";
import { asUser, type Identity } from "../config/identity.ts";

/** The descriptor on which a detached launcher tells its parent how the launch went. */
export const REPORT_DESCRIPTOR = 3;

type Report = { readonly running: true } | { readonly running: false; readonly exitCode: number };

/**
 * Makes (or empties) the file that takes a detached job's output.
 *
 * @throws GangwayError when that cannot be done
 */
export function openOutputFile(path: string, identity: Identity): number {
  const { O_WRONLY, O_CREAT, O_TRUNC, O_APPEND, O_NOFOLLOW } = constants;
  try {
    return asUser(identity, () => openSync(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW, 0o644));
  } catch (error) {
    throw new GangwayError(`the job's output file ${path} cannot be made: ${(error as Error).message}`, {
      hint: "name another with --output, or change to a directory you may write",
      cause: error,
    });
  }
}

/**
 * Starts the launcher once more, in a session of its own, and returns when its job runs.
 *
 * @param argv of that launcher, behind `node`
 * @param output descriptor of the output file; closed here
 * @returns 0 when the job runs, else the exit code of the failed launch; its message is in the output file
 */
export async function startDetached(argv: readonly string[], output: number): Promise<number> {
  const child = spawn(process.execPath, argv, {
    detached: true,
    stdio: ["ignore", output, output, "pipe"],
  });
  closeSync(output);
  const pipe = child.stdio[REPORT_DESCRIPTOR] as NodeJS.ReadableStream;
  let text = "";
  for await (const chunk of pipe) {
    text += String(chunk);
    if (text.includes("\n")) break;
  }
  child.unref();
  (pipe as unknown as { destroy(): void }).destroy();
  if (text === "") return LAUNCHER_FAILED;
  const report = JSON.parse(text) as Report;
  return report.running ? 0 : report.exitCode;
}

/** Tells the parent, from within the detached launcher; it may be told once. */
export function reportToParent(report: Report): void {
  try {
    writeSync(REPORT_DESCRIPTOR, `${JSON.stringify(report)}\n`);
    closeSync(REPORT_DESCRIPTOR);
  } catch {
    // The parent was killed meanwhile; the job is detached all the same.
  }
}
