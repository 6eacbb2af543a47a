/** Exit code of Gangway's own failures, as `docker run` has it: the command's own codes stay below. */
export const LAUNCHER_FAILED = 125;

/** Exit statuses of what reaches for a job (docs/internals.md, section 10); the numbers are those of sysexits.h. */
export const STATUS = {
  /** The command line, or what it names, is wrong. */
  usage: 64,
  /** Several jobs fit. */
  several: 65,
  noSuchJob: 68,
  ended: 69,
  /** It does not run yet. */
  notYet: 75,
  /** Its node, or its launcher, does not answer. */
  unreachable: 76,
  notYours: 77,
} as const;

export interface ErrorDetails {
  /** What the user can do about it: one sentence, without a full stop at its end. */
  readonly hint?: string;
  readonly cause?: unknown;
  readonly exitCode?: number;
}

/** A failure that is explained to the user in one line: what, where, and the next step. Never shown with a stack. */
export class GangwayError extends Error {
  readonly hint: string | undefined;
  readonly exitCode: number;

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? {} : { cause: details.cause });
    this.name = new.target.name;
    this.hint = details.hint;
    this.exitCode = details.exitCode ?? LAUNCHER_FAILED;
  }
}

/** The command line is wrong. */
export class UsageError extends GangwayError {}

/** A configuration file or environment variable is wrong. */
export class ConfigError extends GangwayError {}

/** The engine could not be reached, or refused. `status` is its HTTP status, where there was an answer. */
export class EngineError extends GangwayError {
  readonly status: number | undefined;

  constructor(message: string, details: ErrorDetails & { readonly status?: number } = {}) {
    super(message, details);
    this.status = details.status;
  }
}

/** A launch failed on a node. */
export class LaunchError extends GangwayError {
  readonly node: string;

  constructor(node: string, message: string, details: ErrorDetails = {}) {
    super(`${node}: ${message}`, details);
    this.node = node;
  }
}

/** No such job, or not in a state that allows what was asked. */
export class JobError extends GangwayError {}

/** There is a job of that name. */
export class JobTakenError extends JobError {}

/** The text of anything thrown, for use inside a message. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The words of a system error alone: "ENOENT: no such file or directory, open '/x'" without what the reader knows already. */
export function systemReasonOf(error: unknown): string {
  const reason = reasonOf(error);
  return /^E[A-Z0-9]+: (.*), \w+(?: '.*)?$/s.exec(reason)?.[1] ?? reason;
}
