import { type ChildProcess, spawn } from "node:child_process";
import { createInterface, type Interface } from "node:readline";
import { asUserArgv, environmentOf, INSTALL, USER } from "../test/job/harness.ts";

/** What was measured of one side, in the row's unit. */
export interface Samples {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly samples: readonly number[];
}

export function percentile(samples: readonly number[], percent: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN;
}

export function summary(samples: readonly number[]): Samples {
  return { median: percentile(samples, 50), min: Math.min(...samples), max: Math.max(...samples), samples };
}

/** The user's environment, with the programs under test first in PATH. */
export function userEnvironment(): Record<string, string> {
  const env = environmentOf({});
  return { ...env, PATH: `${INSTALL}/bin:${env.PATH ?? ""}` };
}

/** Starts a program as the user, in a directory of the user's. Errors are shown. */
export function spawnAsUser(argv: readonly string[], cwd: string): ChildProcess {
  const [program = "", ...words] = asUserArgv(USER, argv);
  return spawn(program, words, { cwd, env: userEnvironment(), stdio: ["pipe", "pipe", "inherit"] });
}

/**
 * bench/rounds.c, running somewhere: on the host, or in a job's container. It runs one command line at a time and tells
 * how long that took, so that rounds of several sides can be taken in turn.
 */
export class Stopwatch {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #answers: AsyncIterator<string>;

  /**
   * @param argv ends in the program `rounds`, or in something that starts it
   * @param start how that is run
   */
  constructor(argv: readonly string[], cwd: string, start = spawnAsUser) {
    this.#child = start(argv, cwd);
    if (this.#child.stdout === null) throw new TypeError("no pipe");
    this.#lines = createInterface({ input: this.#child.stdout });
    this.#answers = this.#lines[Symbol.asyncIterator]();
  }

  /**
   * Runs one command.
   *
   * @returns milliseconds from fork to end
   * @throws Error when it fails: a failed round measures nothing
   */
  async time(command: readonly string[], input = "/dev/null"): Promise<number> {
    this.#child.stdin?.write(`${[input, ...command].join(" ")}\n`);
    const answer = await this.#answers.next();
    const [nanoseconds = "", status = ""] = answer.done === true ? [] : answer.value.split(" ");
    if (status !== "0") throw new Error(`${command.join(" ")}: ended with ${status === "" ? "no answer" : status}`);
    return Number(nanoseconds) / 1e6;
  }

  async close(): Promise<void> {
    const gone = new Promise<void>((resolve) => this.#child.once("close", () => resolve()));
    this.#child.stdin?.end();
    this.#lines.close();
    this.#child.stdout?.resume();
    await gone;
  }
}

/** One warm-up of each, then so many rounds, the sides taking turns within each round. */
export async function interleave<Side extends string>(
  rounds: number,
  sides: Readonly<Record<Side, () => Promise<number>>>,
): Promise<Record<Side, Samples>> {
  const names = Object.keys(sides) as Side[];
  const taken = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Side, number[]>;
  for (let round = 0; round <= rounds; round++) {
    for (const name of names) {
      const value = await sides[name]();
      if (round > 0) taken[name].push(value);
    }
  }
  return Object.fromEntries(names.map((name) => [name, summary(taken[name])])) as Record<Side, Samples>;
}
