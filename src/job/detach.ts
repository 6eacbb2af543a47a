import { spawn } from "node:child_process";
import { closeSync, constants, openSync, rmSync, writeSync } from "node:fs";
import { withCoresAsBefore } from "../config/core-dumps.ts";
import { GangwayError, JobTakenError, systemReasonOf } from "../config/errors.ts";
import { asUser, type Identity } from "../config/identity.ts";
import { emptyFile, openOwnFile } from "../config/own-file.ts";

/** The descriptor on which a detached launcher tells its parent how the launch went. */
export const REPORT_DESCRIPTOR = 3;

/** How a detached launch went; without a message the user ended it. */
export type Report =
  | { readonly running: true }
  | {
      readonly running: false;
      readonly exitCode: number;
      readonly message?: string;
      readonly hint?: string;
      /** There is a job of that id, perhaps on another host: another id may do. */
      readonly taken?: boolean;
    };

/** The file that takes a detached job's output. */
export interface OutputFile {
  readonly descriptor: number;
  /** Takes it away again, if it was made here: the launch has failed, and the reason is told otherwise. */
  discard(): void;
}

/**
 * Makes (or empties) the file that takes a detached job's output.
 *
 * @throws GangwayError when that cannot be done
 */
export function openOutputFile(path: string, identity: Identity): OutputFile {
  const { O_WRONLY, O_CREAT, O_EXCL, O_APPEND, O_NOFOLLOW } = constants;
  const usual = O_WRONLY | O_APPEND | O_NOFOLLOW;
  try {
    return asUser(identity, () => {
      try {
        const descriptor = openSync(path, usual | O_CREAT | O_EXCL, 0o644);
        return { descriptor, discard: () => asUser(identity, () => rmSync(path, { force: true })) };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
        // In a directory that others may write it could be anybody's, who would read the output, or a FIFO.
        const descriptor = openOwnFile(path, identity.uid, O_WRONLY | O_APPEND);
        emptyFile(descriptor);
        return { descriptor, discard: () => undefined };
      }
    });
  } catch (error) {
    throw new GangwayError(`the job's output file ${path} cannot be made: ${systemReasonOf(error)}`, {
      hint: "name another with --output, or change to a directory you may write",
      cause: error,
    });
  }
}

/** What the user does to the waiting parent is meant for the launch. */
const PASSED_ON = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;

/**
 * Starts the launcher once more, in a session of its own, and returns when its job runs.
 *
 * @param argv of that launcher, behind `node`
 * @param output closed here
 * @returns 0 when the job runs, else the exit code of a launch that was ended by a signal
 * @throws JobTakenError when there is a job of that id
 * @throws GangwayError when the launch failed otherwise
 */
export async function startDetached(argv: readonly string[], output: OutputFile): Promise<number> {
  const stdio = ["ignore", output.descriptor, output.descriptor, "pipe"] as const;
  const child = withCoresAsBefore(() =>
    spawn(process.execPath, ["--", ...argv], { detached: true, stdio: [...stdio] }),
  );
  const pass = (signal: NodeJS.Signals) => child.kill(signal);
  for (const signal of PASSED_ON) process.on(signal, pass);
  closeSync(output.descriptor);
  const pipe = child.stdio[REPORT_DESCRIPTOR] as NodeJS.ReadableStream;
  let text = "";
  for await (const chunk of pipe) {
    text += String(chunk);
    if (text.includes("\n")) break;
  }
  for (const signal of PASSED_ON) process.off(signal, pass);
  child.unref();
  (pipe as unknown as { destroy(): void }).destroy();
  if (text === "") {
    throw new GangwayError("the detached launcher ended without a word", { hint: "look into the job's output file" });
  }
  const report = JSON.parse(text) as Report;
  if (report.running) return 0;
  const { message, hint, exitCode, taken = false } = report;
  output.discard();
  if (message === undefined) return exitCode;
  const details = { exitCode, ...(hint === undefined ? {} : { hint }) };
  throw taken ? new JobTakenError(message, details) : new GangwayError(message, details);
}

let told = false;

/** Tells the parent, from within the detached launcher: the first time it is called. */
export function reportToParent(report: Report): void {
  // The descriptor's number may long belong to something else.
  if (told) return;
  told = true;
  try {
    writeSync(REPORT_DESCRIPTOR, `${JSON.stringify(report)}\n`);
    closeSync(REPORT_DESCRIPTOR);
  } catch {
    // The parent was killed meanwhile; the job is detached all the same.
  }
}
