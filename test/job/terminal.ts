import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type RunOptions, run } from "./harness.ts";

export type Step =
  | { readonly expect: string }
  | { readonly send: string }
  | { readonly resize: readonly [rows: number, columns: number] }
  | { readonly pause: number };

export interface TerminalResult {
  readonly code: number;
  /** As it came, CR included. */
  readonly output: string;
}

// Handed over as text: the clone may lie where the test user cannot read.
const DRIVER = readFileSync(join(import.meta.dirname, "pty.py"), "utf8");

/**
 * Prints the terminal's size, and each that it has later, until ^C. The trap for ^C is for bash: it goes on where what it waits
 * for, here an stty that has printed its size, ends well in the moment of the signal.
 */
export const SIZES = "trap 'stty size' WINCH; trap 'exit 130' INT; stty size; while :; do sleep 0.1; done";

/** The words that run pty.py, which prints a {@link TerminalResult} with `missing`. */
export function driverWords(argv: readonly string[], steps: readonly Step[]): string[] {
  // By its path: in the PATH of whoever runs the tests another may stand first that is theirs alone.
  const task = { argv, rows: 30, columns: 90, seconds: 40, steps };
  return ["/usr/bin/python3", "-c", DRIVER, JSON.stringify(task)];
}

/**
 * Runs a program on a terminal of 30 rows and 90 columns, and talks with it (see pty.py).
 *
 * @throws Error with all output when something that was expected did not come
 */
export async function onTerminal(
  argv: readonly string[],
  steps: readonly Step[],
  options: RunOptions = {},
): Promise<TerminalResult> {
  const driver = await run(driverWords(argv, steps), {
    ...options,
    env: { TERM: "xterm", ...options.env },
  });
  if (driver.code !== 0) throw new Error(`pty.py: ${driver.stderr}`);
  const { code, output, missing } = JSON.parse(driver.stdout) as TerminalResult & { missing: string | null };
  if (missing !== null) throw new Error(`in vain waited for: ${missing}\n${JSON.stringify(output)}`);
  return { code, output };
}

/**
 * In {@link INTERACTIVE_SHELL}: a session's program is asked for `~^Z`, the shell has its terminal back for some seconds, `fg` gives
 * it to the session again, and the shell's exit code is the session's, 9.
 */
export function suspended(session: readonly string[], seconds = 0.5): readonly Step[] {
  return [
    { expect: "host> " },
    { send: `${session.join(" ")}\r` },
    { expect: "[$#] " },
    { send: "PS1='there'\\>\r" },
    { expect: "there>" },
    // Escapes are understood behind a newline alone.
    { send: "\r" },
    { expect: "there>" },
    { send: "~\u001a" },
    { expect: "Stopped[\\s\\S]*host> " },
    { send: "echo 'it is 'here\r" },
    { expect: "^it is here" },
    { pause: seconds },
    { send: "fg\r" },
    { expect: "ssh" },
    { send: "echo 'it is 'there\r" },
    { expect: "^it is there" },
    { send: "exit 9\r" },
    { expect: "host> " },
    { send: "exit $?\r" },
  ];
}

/** Bash with job control and a plain prompt, as a person's shell on a host. */
export const INTERACTIVE_SHELL = ["env", "PS1=host> ", "TERM=dumb", "bash", "--norc", "--noprofile", "-i"] as const;
