import { statSync } from "node:fs";
import { constants } from "node:os";
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import { LAUNCHER_FAILED, LaunchError } from "../config/errors.ts";
import type { Engine } from "../engine/types.ts";
import { Deferred, LongTimer } from "./deferred.ts";
import type { JobNode, NodeEnd } from "./node.ts";
import type { Reporter } from "./reporter.ts";
import type { JobSpec } from "./spec.ts";
import type { StdioBridge } from "./stdio.ts";
import type { Terminal } from "./terminal.ts";

/** Exit code of a job that its own time limit ended, as timeout(1) has it. */
const TIME_LIMIT_REACHED = 124;
/** How long a job that was told to stop may take before it is killed. */
const STOP_GRACE_MS = 10_000;
/** So many interrupts on a terminal end a job whose command does not listen to them. */
const PATIENCE_WITH_INTERRUPTS = 3;

const NOT_FOUND = "is it in the image, or in a directory that is mounted? (a script's #! line counts, too)";
const NOT_EXECUTABLE = "it must be a program of this machine's architecture, or a script, that the user may execute";

/** How long after its streams were broken off a job is let live: its container may be ending as well. */
const BROKEN_OFF_MS = 2000;

/** What a running job needs of the launcher's surroundings. */
export interface Surroundings {
  readonly engine: Engine;
  readonly reporter: Reporter;
  readonly terminal: Terminal;
}

/**
 * A job from its `go` to its command's exit code: its terminal and streams, the signals for its command, its time limit, what
 * may end it before its time, and the sessions it waits for.
 */
export class RunningJob {
  readonly #spec: JobSpec;
  readonly #head: JobNode;
  readonly #others: readonly JobNode[];
  readonly #bridge: StdioBridge;
  readonly #surroundings: Surroundings;
  /** Settled by whatever ends the job before its command ends by itself. */
  readonly #cutShort = new Deferred<number>();
  #timeIsUp = false;
  /** Something the command printed could not be kept: no success, whatever the command says. */
  #outputLost = false;
  #interrupts = 0;

  constructor(spec: JobSpec, nodes: readonly JobNode[], bridge: StdioBridge, surroundings: Surroundings) {
    const [head, ...others] = nodes;
    if (head === undefined) throw new TypeError("a job without a node");
    this.#spec = spec;
    this.#head = head;
    this.#others = others;
    this.#bridge = bridge;
    this.#surroundings = surroundings;
  }

  /**
   * Tells the head to start the command, and waits for the job's end.
   *
   * @param onGo called when it has been told
   * @returns the exit code of `gangway run`
   * @throws LaunchError when a node is lost, or the engine
   */
  async run(onGo: () => void): Promise<number> {
    const { terminal } = this.#surroundings;
    let stopResizing: (() => void) | undefined;
    if (this.#spec.tty) {
      this.#head.send(terminal.size);
      stopResizing = terminal.onResize((size) => this.#head.send(size));
    }
    this.#head.send("go");
    this.#bridge.openInput(this.#spec.stdin, this.#spec.tty, terminal);
    onGo();
    const timer = this.#spec.timeLimitMs === undefined ? undefined : this.#limitTime(this.#spec.timeLimitMs);
    try {
      return await this.#end();
    } finally {
      timer?.clear();
      stopResizing?.();
    }
  }

  /** The launcher got a signal: it is the command's. */
  signal(name: NodeJS.Signals): void {
    const number = constants.signals[name];
    // With a terminal of its own the job hears of a new size from there.
    if (name === "SIGWINCH" && this.#spec.tty) return;
    this.#head.send({ signal: number });
    if (name === "SIGINT") {
      this.#interrupts += 1;
      if (this.#interrupts === PATIENCE_WITH_INTERRUPTS) {
        this.#surroundings.reporter.note("the command does not end by ^C: ending the job");
        this.#cutShort.resolve(128 + number);
      }
    }
  }

  /** The owner wants the job to end: a signal for the command, and after the grace time an end anyway. */
  stop(signal: number, graceMs: number): void {
    this.#head.send({ signal });
    setTimeout(() => this.#cutShort.resolve(128 + constants.signals.SIGKILL), graceMs).unref();
  }

  #limitTime(milliseconds: number): LongTimer {
    return new LongTimer(milliseconds, () => {
      this.#surroundings.reporter.note("the job's time limit is reached");
      this.#timeIsUp = true;
      this.#head.send({ signal: constants.signals.SIGTERM });
      const cut = () => this.#cutShort.resolve(TIME_LIMIT_REACHED);
      setTimeout(cut, STOP_GRACE_MS).unref();
      void this.#head.ended.promise.then(cut);
    });
  }

  /** The command was stopped by ^Z on its terminal. */
  suspend(): void {
    if (!this.#spec.tty) return;
    this.#surroundings.terminal.suspendSelf();
    this.#head.send("continue");
  }

  /** Standard output or error takes no more: the command gets what a local one would, SIGPIPE. */
  outputFailed(descriptor: number, error: NodeJS.ErrnoException): void {
    if (error.code !== "EPIPE") {
      const name = descriptor === 1 ? "standard output" : "standard error";
      this.#surroundings.reporter.note(`${name} cannot be written: ${error.message}`);
      this.#outputLost = true;
    }
    this.#head.send({ signal: constants.signals.SIGPIPE });
  }

  async #end(): Promise<number> {
    const head = this.#head;
    const bridge = this.#bridge;
    const others = this.#others;
    const never = new Promise<never>(() => undefined);
    const lost = Promise.race(others.map((node) => node.closed.promise.then(() => ({ lost: node }))).concat([never]));
    const engine = this.#engineInstance();
    const brokenOff = bridge.drained.then(async () => {
      // What init has reported before it ended is read by then.
      await turn();
      return !head.reported && (await this.#engineWent(engine, head));
    });
    const broken = brokenOff.then((yes) => (yes ? sleep(BROKEN_OFF_MS, { broken: true as const }) : never));
    const first = await Promise.race([
      head.ended.promise.then((end) => ({ end })),
      lost,
      broken,
      this.#cutShort.promise.then((code) => ({ code })),
    ]);
    if ("code" in first) return first.code;
    if ("broken" in first) throw this.#brokenOff(head);
    if ("lost" in first) {
      const name = first.lost.node.name;
      throw new LaunchError(name, "its container ended while the command was running", {
        hint: "somebody removed it, or its engine stopped; the job was ended with it",
      });
    }
    const exitCode = this.#timeIsUp ? TIME_LIMIT_REACHED : await this.#exitCodeOf(first.end, head);
    if (this.#spec.linger === "none") for (const node of others) node.send("end");
    else await this.#lingerElsewhere();
    // The last output comes after the report, and a lingering head stays until its sessions are closed.
    const done = Promise.all([bridge.drained, head.closed.promise]).then(() => brokenOff);
    if (first.end.kind !== "lost" && (await Promise.race([done, this.#cutShort.promise])) === true) {
      throw this.#brokenOff(head);
    }
    return exitCode === 0 && this.#outputLost ? LAUNCHER_FAILED : exitCode;
  }

  #brokenOff(head: JobNode): LaunchError {
    return new LaunchError(head.node.name, "the engine broke off the command's input and output", {
      hint: "it was restarted, or ended; the job was ended with it",
    });
  }

  /** What a restarted engine has not in common with the one before: its socket. */
  #engineInstance(): string {
    const socket = statSync(this.#surroundings.engine.endpoint.socketPath, { throwIfNoEntry: false });
    return `${socket?.ino} ${socket?.ctimeMs}`;
  }

  /** Whether the engine is not the one that it was. A command may also have closed its streams by itself. */
  async #engineWent(instance: string, head: JobNode): Promise<boolean> {
    if (this.#engineInstance() !== instance) return true;
    return await this.#surroundings.engine.inspect(head.container).then(
      () => false,
      () => true,
    );
  }

  async #exitCodeOf(end: NodeEnd, head: JobNode): Promise<number> {
    const { engine, reporter } = this.#surroundings;
    switch (end.kind) {
      case "exit":
        if (head.failure !== undefined) {
          reporter.note(`${head.node.name}: ${head.failure}\n  ${end.code === 127 ? NOT_FOUND : NOT_EXECUTABLE}`);
        }
        return end.code;
      case "signal":
        return 128 + end.signal;
      case "lost": {
        const state = await engine.inspect(head.container).catch(() => undefined);
        const why =
          state?.oomKilled === true ? "it ran out of its memory limit" : "somebody killed it, or its engine stopped";
        reporter.note(`${head.node.name}: its container ended without a word: ${why}`);
        return 128 + constants.signals.SIGKILL;
      }
    }
  }

  /** The other nodes' sessions count as well when the job waits for sessions. */
  async #lingerElsewhere(): Promise<void> {
    const others = this.#others;
    const { linger } = this.#spec;
    const limit = typeof linger === "object" ? linger.seconds * 1000 : Number.POSITIVE_INFINITY;
    const deadline = Date.now() + limit;
    await Promise.race([Promise.all(others.map((node) => node.untilIdle(deadline))), this.#cutShort.promise]);
    for (const node of others) node.send("end");
  }
}
