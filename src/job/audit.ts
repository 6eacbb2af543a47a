import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { reasonOf } from "../config/errors.ts";
import type { JobDirectory } from "./directory.ts";
import type { Reporter } from "./reporter.ts";
import type { AuditRecord } from "./sessions.ts";

/** When it is that long, the log becomes `audit.log.1`, and a new one begins: it lies in memory. */
const LARGEST_LOG = 1024 * 1024;
/** logger(1) takes a message apart that is longer than 1 KiB. */
const LONGEST_MESSAGE = 1000;
/** A logger that does not read has lines dropped, not kept. */
const MOST_UNREAD_BYTES = 1024 * 1024;
const CLOSE_MS = 1000;
/** Not the caller's PATH: what is executed here may be executed by root. */
const LOGGERS = ["/usr/bin/logger", "/bin/logger", "/usr/sbin/logger", "/sbin/logger"];

/** A record as JSON in one line that a terminal can be shown: every control character, also those of C1, is escaped. */
export function auditLine(record: object): string {
  return JSON.stringify(record).replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** The same, its command cut so that the line is one message of syslog. */
export function syslogLine(record: { readonly command: string | null }): string {
  const line = auditLine(record);
  if (Buffer.byteLength(line) <= LONGEST_MESSAGE || record.command === null || record.command === "") return line;
  const characters = [...record.command];
  const kept = characters.slice(0, Math.floor((characters.length * 7) / 8));
  return syslogLine({ ...record, command: kept.join("") });
}

/** Where a job's ended sessions are told: `audit.log` in its directory, and syslog where the site wants that. */
export class Audit {
  readonly #directory: JobDirectory;
  readonly #reporter: Reporter;
  readonly #toSyslog: boolean;
  readonly #about: { readonly job: string; readonly user: string };
  #length = 0;
  #failed = false;
  #logger: ChildProcess | undefined;

  constructor(
    directory: JobDirectory,
    reporter: Reporter,
    about: { readonly job: string; readonly user: string; readonly syslog: boolean },
  ) {
    this.#directory = directory;
    this.#reporter = reporter;
    this.#toSyslog = about.syslog;
    this.#about = { job: about.job, user: about.user };
  }

  /** Never throws: a session must not fail because it cannot be told of; the user reads one note. */
  tell(record: AuditRecord): void {
    const told = { ...this.#about, ...record };
    try {
      this.#append(`${auditLine(told)}\n`);
    } catch (error) {
      this.#fail(`audit.log cannot be written: ${reasonOf(error)}`);
    }
    if (this.#toSyslog) this.#log(`${syslogLine(told)}\n`);
  }

  /** Waits, not for long, until syslog has the last lines. */
  async close(): Promise<void> {
    const child = this.#logger;
    this.#logger = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.ref();
    child.stdin?.end();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_MS);
    });
    await Promise.race([gone, late]);
    clearTimeout(timer);
    child.unref();
  }

  #append(line: string): void {
    const bytes = Buffer.byteLength(line);
    if (this.#length === 0) this.#directory.write(this.#directory.path, { "audit.log": "" }, 0o600);
    else if (this.#length + bytes > LARGEST_LOG) {
      this.#directory.rename("audit.log", "audit.log.1");
      this.#length = 0;
      this.#directory.write(this.#directory.path, { "audit.log": "" }, 0o600);
    }
    this.#directory.append(this.#directory.path, "audit.log", line);
    this.#length += bytes;
  }

  #log(line: string): void {
    const child = this.#logger ?? this.#startLogger();
    if (child?.stdin == null || child.stdin.writableLength > MOST_UNREAD_BYTES) {
      this.#fail("syslog cannot be told of sessions: logger is not there, or does not read");
      return;
    }
    child.stdin.write(line);
  }

  #startLogger(): ChildProcess | undefined {
    const program = LOGGERS.find((path) => existsSync(path));
    if (program === undefined) return undefined;
    const child = spawn(program, ["-t", "gangway", "-p", "authpriv.info"], {
      stdio: ["pipe", "ignore", "ignore"],
      env: { PATH: "/usr/bin:/bin" },
      cwd: "/",
    });
    child.unref();
    child.stdin.on("error", () => undefined);
    child.on("error", () => this.#fail("syslog cannot be told of sessions: logger cannot be started"));
    // The next line starts another one.
    child.once("exit", () => {
      if (this.#logger === child) this.#logger = undefined;
    });
    this.#logger = child;
    return child;
  }

  #fail(reason: string): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#reporter.note(reason);
  }
}
