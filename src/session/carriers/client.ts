import { execFile } from "node:child_process";
import { JobError, STATUS } from "../../config/errors.ts";
import { printable } from "../../config/printable.ts";
import { programInPath } from "../../config/program-path.ts";
import { readAccount } from "../../udi/accounts.ts";
import type { CondorPlace } from "../htcondor-queue.ts";
import type { Reading } from "../target.ts";
import type { ManagerWay } from "../ways.ts";
import type { CarrierCommand } from "./guard.ts";

/** A running job as its manager has it. */
export interface ManagedJob {
  readonly where: "managed";
  readonly way: ManagerWay;
  /** Of the manager: `Slurm`. */
  readonly title: string;
  readonly reading: Reading;
  /** The host of the job that is asked for its node. */
  readonly host: string;
  /** Whether it knows the node that is asked for: `2.1` may be node 1 of job 2, and node 2 of job 1, which has one. */
  readonly certain: boolean;
  /** Bytes that mean nothing, which are needed behind each small piece ({@link Carried}); 0: none. */
  readonly padding: number;
  /** Whether the answer may be for that job: undefined: for the one that was asked for alone. */
  readonly means?: (job: string) => boolean;
  /** What carries bytes to a process there. */
  carrier(argv: readonly string[]): CarrierCommand;
  /** Whether a carrier that was begun by the manager's {@link Guess} leads there, too. */
  readonly guessed: boolean;
}

/** Where a name leads, most likely, before the manager has been asked: a carrier can be begun meanwhile, which says nothing yet. */
export interface Guess extends Pick<ManagedJob, "padding" | "carrier"> {
  /** The job's id. */
  readonly job: string;
}

/** A workload manager's own clients, where they are installed. */
export interface ManagerClient {
  readonly way: ManagerWay;
  readonly title: string;
  /** Whether it could have such a job. */
  takes(reading: Reading): boolean;
  /** Whether its programs are in the user's PATH. */
  installed(): boolean;
  /**
   * Asks the manager.
   *
   * @param place of HTCondor's queues the one that was named
   * @returns undefined where it knows no such job
   * @throws JobError with the status of what is the matter (docs/internals.md, section 10); SilentManagerError
   */
  find(reading: Reading, place?: CondorPlace): Promise<ManagedJob | undefined>;
  /** @returns undefined where only the manager's answer can tell */
  guess(reading: Reading): Guess | undefined;
}

/** The manager could not be asked. */
export class SilentManagerError extends JobError {}

/** @throws SilentManagerError */
export function requireProgram(name: string, title: string): string {
  const path = programInPath(name);
  if (path !== undefined) return path;
  throw new SilentManagerError(`${title} cannot be asked: there is no ${name} in your PATH`, {
    hint: "is this a host from which jobs are submitted?",
    exitCode: STATUS.unreachable,
  });
}

const PATIENCE_MS = 20_000;
/** Bytes; a job is a line. */
const LONGEST_ANSWER = 4 * 1024 * 1024;

/** What a manager's client said. */
export interface Answer {
  readonly code: number;
  readonly output: string;
  /** On one line, printable. */
  readonly complaint: string;
}

/**
 * Runs a manager's client to its end.
 *
 * @throws SilentManagerError where it cannot be started, or does not end within 20 s
 */
export async function askProgram(
  title: string,
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Answer> {
  const [name = "", ...words] = argv;
  const program = requireProgram(name, title);
  return await new Promise((resolve, reject) => {
    const options = { env, timeout: PATIENCE_MS, maxBuffer: LONGEST_ANSWER, killSignal: "SIGKILL" } as const;
    execFile(program, words, options, (error, output, complaints) => {
      const complaint = printable(complaints.trim().split("\n").at(-1) ?? "");
      if (error === null) resolve({ code: 0, output, complaint });
      else if (typeof error.code === "number") resolve({ code: error.code, output, complaint });
      else {
        const why = error.killed === true ? `${name} did not end within ${PATIENCE_MS / 1000} s` : error.message;
        reject(new SilentManagerError(`${title} cannot be asked: ${why}`, { exitCode: STATUS.unreachable }));
      }
    });
  });
}

/** The environment that a manager's client is given, where nothing speaks against this process's own. */
export function ownEnvironment(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

/** Who calls, as managers name owners. */
export function ownName(): string {
  return readAccount(undefined).name;
}
