import { type SpawnOptions, spawn } from "node:child_process";
import { constants } from "node:os";
import { GangwayError, JobError } from "../config/errors.ts";
import { stopWith } from "./job-control.ts";

/** A signal ended the work. Nothing is said: who sent it knows. */
export class Interrupted extends GangwayError {
  constructor(signal: NodeJS.Signals) {
    super("", { exitCode: 128 + constants.signals[signal] });
  }
}

/** They reach a child from the terminal as well, and it decides what they mean. */
const FROM_TERMINAL: readonly NodeJS.Signals[] = ["SIGINT", "SIGQUIT"];
const PASSED: readonly NodeJS.Signals[] = ["SIGTERM", "SIGHUP"];

/** Characters. */
const MOST_COMPLAINTS = 64 * 1024;

export interface ChildEnd {
  /** 128+n where a signal killed it. */
  readonly code: number;
  readonly killed: boolean;
  /** What it wrote, where its standard output is a pipe. */
  readonly output: Buffer;
  /** The same of its standard error; the end of it, where it is long. */
  readonly complaints: string;
  /** The last signal that came to this process meanwhile. */
  readonly interrupted?: NodeJS.Signals;
}

/**
 * Runs a program that this process does nothing else than wait for, with its own standard streams unless `options` say
 * otherwise. Signals are the child's: this process outlives it, and clears up.
 *
 * @param input for its standard input, where that is a pipe
 * @throws JobError when it cannot be started, or writes more than `limit` bytes
 */
export async function runChild(
  program: string,
  words: readonly string[],
  options: SpawnOptions = { stdio: "inherit" },
  { input = "", limit = 256 * 1024 }: { readonly input?: string; readonly limit?: number } = {},
): Promise<ChildEnd> {
  const child = spawn(program, words, options);
  let interrupted: NodeJS.Signals | undefined;
  const note = (signal: NodeJS.Signals) => {
    interrupted = signal;
  };
  const pass = (signal: NodeJS.Signals) => {
    interrupted = signal;
    child.kill(signal);
  };
  for (const signal of FROM_TERMINAL) process.on(signal, note);
  for (const signal of PASSED) process.on(signal, pass);
  const runOn = stopWith(child);
  const chunks: Buffer[] = [];
  let size = 0;
  child.stdout?.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size > limit) child.kill("SIGKILL");
    else chunks.push(chunk);
  });
  let complaints = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    complaints = (complaints + chunk.toString("latin1")).slice(-MOST_COMPLAINTS);
  });
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(input);
  try {
    const [exit, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
      child.once("error", (error) => reject(new JobError(`${program} cannot be started: ${error.message}`)));
      child.once("close", (...end) => resolve(end));
    });
    const code = exit ?? 128 + (signal === null ? 0 : constants.signals[signal]);
    if (size > limit) throw new JobError(`${program} wrote more than ${limit} bytes: that is no answer`);
    const killed = signal !== null;
    const said = { output: Buffer.concat(chunks), complaints: Buffer.from(complaints, "latin1").toString("utf8") };
    return { code, killed, ...said, ...(interrupted === undefined ? {} : { interrupted }) };
  } finally {
    for (const signal of FROM_TERMINAL) process.off(signal, note);
    for (const signal of PASSED) process.off(signal, pass);
    runOn();
  }
}
