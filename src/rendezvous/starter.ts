import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import { GangwayError, reasonOf } from "../config/errors.ts";
import { programNamed, whyNotStarted } from "../config/program-path.ts";
import { type Frame, parseFrame } from "./frames.ts";
import { LineSplitter } from "./lines.ts";
import type { Noise } from "./noise.ts";

/** A node on which a process is to be started. */
export interface StartNode {
  /** In the allocation. */
  readonly index: number;
  readonly name: string;
}

export interface StartRequest {
  readonly nodes: readonly StartNode[];
  /** `GANGWAY node WORDS`: what is run on each. Public, since command lines are. */
  readonly argv: readonly string[];
  /** The environment of the launcher. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface StartEvents {
  /** @param node the index of the node that said it, as far as the way of starting vouches for that */
  onFrame(frame: Frame, node: number): void;
  /**
   * The process by which these nodes were started has ended, or could not be started: whichever of them has not come will
   * not. Called once for each node; not any more after `stop`.
   *
   * @param reason for a message
   * @param hint what can be done about it, where what was said tells
   */
  onEnd(nodes: readonly number[], reason: string, hint?: string): void;
}

/** Node processes that were started, or are being started. */
export interface Started {
  /** The last 64 KiB of what was said beside the frames. */
  noise(): string;
  /** What was said by or about a node last: why it did not come, perhaps. */
  about(node: number): string | undefined;
  /** Ends what started them, by TERM and after two seconds KILL; resolves when it is gone. */
  stop(): Promise<void>;
}

/** A way of starting a process on each node. */
export interface Starter {
  /** For messages: `srun`, `ssh`. */
  readonly title: string;
  /** @throws GangwayError for words that cannot be handed on */
  start(request: StartRequest, events: StartEvents): Started;
}

/** Longer lines are no frames; of those, the beginning is kept. */
const LONGEST_NOISE = 4096;
const TERM_LIMIT_MS = 2000;
const KILLED_LIMIT_MS = 100;

/** One program that runs beside this process and says lines. */
export interface ProgramEvents {
  /** A line of its standard output that is a frame. */
  onFrame(frame: Frame, label: string | undefined): void;
  /** A line of its standard error. @returns whether it was understood, and is no noise */
  onComplaint?(line: string): boolean;
  /** Called once. */
  onEnd(reason: string): void;
}

export interface ProgramOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly noise: Noise;
  /** The node that all it says is of. */
  readonly node?: number;
  /** Takes a label off a line of its standard output. */
  readonly unlabel?: (line: string) => { readonly label: string; readonly text: string } | undefined;
}

/**
 * A starter's program, without a shell, its standard input empty, in a session of its own: what a terminal sends to the
 * launcher's group (^C) is the launcher's to judge.
 */
export class Program {
  readonly #child: ChildProcess;
  readonly #gone: Promise<void>;
  #over = false;

  constructor(argv: readonly string[], options: ProgramOptions, events: ProgramEvents) {
    const [program = "", ...words] = argv;
    this.#child = spawnAlone(program, words, options.env);
    this.#read(options, events);
    this.#gone = new Promise((resolve) => {
      const end = (reason: string) => {
        if (this.#over) return;
        this.#over = true;
        events.onEnd(reason);
        resolve();
      };
      this.#child.once("error", (error) => end(`${program} cannot be started: ${whyNotStarted(error)}`));
      // "close" is when its output is read; but who has inherited that (a master of ssh's) may keep it open for ever.
      this.#child.once("close", (code, signal) => end(endOf(program, code, signal)));
      this.#child.once("exit", (code, signal) => {
        // Who was killed had no last words.
        const limit = signal === null ? TERM_LIMIT_MS : KILLED_LIMIT_MS;
        setTimeout(() => {
          this.#child.stdout?.destroy();
          this.#child.stderr?.destroy();
          end(endOf(program, code, signal));
        }, limit).unref();
      });
    });
  }

  async stop(): Promise<void> {
    if (this.#over) return;
    this.#kill("SIGTERM");
    const limit = setTimeout(() => this.#kill("SIGKILL"), TERM_LIMIT_MS);
    await this.#gone;
    clearTimeout(limit);
  }

  /** All of its session that is in its group: a script may have started others. */
  #kill(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    try {
      process.kill(-pid, signal);
    } catch {
      // It has ended meanwhile.
    }
  }

  #read({ noise, node, unlabel }: ProgramOptions, events: ProgramEvents): void {
    const told = new LineSplitter(LONGEST_NOISE, (line) => {
      const labelled = unlabel?.(line);
      const text = labelled?.text ?? line;
      const frame = unlabel === undefined || labelled !== undefined ? parseFrame(text) : undefined;
      if (frame === undefined) noise.add(line, node);
      else events.onFrame(frame, labelled?.label);
    });
    const complained = new LineSplitter(LONGEST_NOISE, (line) => {
      if (events.onComplaint?.(line) !== true) noise.add(line, node);
    });
    this.#child.stdout?.on("data", (chunk: Buffer) => told.push(chunk));
    this.#child.stdout?.on("end", () => told.end());
    this.#child.stderr?.on("data", (chunk: Buffer) => complained.push(chunk));
    this.#child.stderr?.on("end", () => complained.end());
  }
}

/** @throws GangwayError for what cannot even be tried: words longer than the kernel takes */
function spawnAlone(program: string, words: readonly string[], env: ProgramOptions["env"]): ChildProcess {
  try {
    return spawn(programNamed(program, env.PATH), words, {
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
      env: { ...env },
    });
  } catch (error) {
    throw new GangwayError(`${program} cannot be started: ${reasonOf(error)}`, { cause: error });
  }
}

function endOf(program: string, code: number | null, signal: NodeJS.Signals | null): string {
  if (signal !== null) return `${program} was killed by signal ${constants.signals[signal]}`;
  return `${program} ended with status ${code ?? 0}`;
}

/** Whether that is the reason of a program that did all it was to do, as {@link StartEvents.onEnd} tells it. */
export function endedWell(reason: string): boolean {
  return reason.endsWith(" ended with status 0");
}

/** What means nothing to any shell, wherever it stands in a word but at its beginning. */
const PLAIN_WORD = /^[A-Za-z0-9_.,:/@+-][A-Za-z0-9_.,:/@%+=-]*$/;

/**
 * Checks words that a shell on another host will read: nothing in them may mean anything to it. There is no quoting that
 * all shells agree upon.
 *
 * @throws GangwayError naming the word
 */
export function checkPlainWords(words: readonly string[]): void {
  for (const word of words) {
    if (PLAIN_WORD.test(word)) continue;
    throw new GangwayError(`${JSON.stringify(word)} cannot be handed to another host's shell`, {
      hint: "install Gangway under a path of letters, digits and _ . , : / @ % + = -",
    });
  }
}
