import { constants } from "node:os";
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import { LAUNCHER_FAILED, LaunchError } from "../config/errors.ts";
import type { LauncherMessage } from "./control.ts";
import { Deferred, LongTimer } from "./deferred.ts";
import type { JobHosts } from "./job-hosts.ts";
import type { JobNode, NodeEnd } from "./node.ts";
import { lossOf } from "./nodes-lost.ts";
import type { Reporter } from "./reporter.ts";
import { type JobSpec, runsCommand } from "./spec.ts";
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
/** When one node is lost, others are about to be for the same reason. */
const GATHER_MS = 300;

/** What a running job needs of the launcher's surroundings. */
export interface Surroundings {
  readonly reporter: Reporter;
  readonly terminal: Terminal;
}

/**
 * A job from its `go` to its command's exit code: its terminal and streams, the signals for its command, its time limit, what
 * may end it before its time, and the sessions it waits for.
 */
export class RunningJob {
  readonly #spec: JobSpec;
  /** Those with the command: the head, or all. */
  readonly #commanded: readonly JobNode[];
  readonly #others: readonly JobNode[];
  readonly #hosts: JobHosts;
  readonly #bridge: StdioBridge;
  readonly #surroundings: Surroundings;
  /** Settled by whatever ends the job before its command ends by itself. */
  readonly #cutShort = new Deferred<number>();
  #timeIsUp = false;
  /** Something the command printed could not be kept: no success, whatever the command says. */
  #outputLost = false;
  #interrupts = 0;
  #over = false;

  constructor(spec: JobSpec, hosts: JobHosts, bridge: StdioBridge, surroundings: Surroundings) {
    this.#spec = spec;
    this.#commanded = hosts.nodes.filter(({ node }) => runsCommand(spec, node));
    this.#others = hosts.nodes.filter(({ node }) => !runsCommand(spec, node));
    this.#hosts = hosts;
    this.#bridge = bridge;
    this.#surroundings = surroundings;
  }

  /**
   * Tells the nodes with the command to start it, and waits for the job's end.
   *
   * @param onGo called when they have been told
   * @returns the exit code of `gangway run`
   * @throws LaunchError when a node is lost, or the engine
   */
  async run(onGo: () => void): Promise<number> {
    const { terminal } = this.#surroundings;
    let stopResizing: (() => void) | undefined;
    if (this.#spec.tty) {
      this.#tell(terminal.size);
      stopResizing = terminal.onResize((size) => this.#tell(size));
    }
    this.#tell("go");
    this.#bridge.openInput(this.#spec.stdin, this.#spec.tty, terminal);
    onGo();
    const timer = this.#spec.timeLimitMs === undefined ? undefined : this.#limitTime(this.#spec.timeLimitMs);
    try {
      return await this.#end();
    } finally {
      this.#over = true;
      timer?.clear();
      stopResizing?.();
    }
  }

  #tell(message: LauncherMessage): void {
    for (const node of this.#commanded) node.send(message);
  }

  /** The launcher got a signal: it is the command's. */
  signal(name: NodeJS.Signals): void {
    const number = constants.signals[name];
    // With a terminal of its own the job hears of a new size from there.
    if (name === "SIGWINCH" && this.#spec.tty) return;
    this.#tell({ signal: number });
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
    this.#tell({ signal });
    setTimeout(() => this.#cutShort.resolve(128 + constants.signals.SIGKILL), graceMs).unref();
  }

  #limitTime(milliseconds: number): LongTimer {
    return new LongTimer(milliseconds, () => {
      this.#surroundings.reporter.note("the job's time limit is reached");
      this.#timeIsUp = true;
      this.#tell({ signal: constants.signals.SIGTERM });
      const cut = () => this.#cutShort.resolve(TIME_LIMIT_REACHED);
      setTimeout(cut, STOP_GRACE_MS).unref();
      void Promise.all(this.#commanded.map((node) => node.ended.promise)).then(cut);
    });
  }

  /** The command was stopped by ^Z on its terminal. */
  async suspend(): Promise<void> {
    if (!this.#spec.tty) return;
    await this.#hosts.rest();
    // It may have been ended meanwhile.
    if (this.#over) return;
    this.#surroundings.terminal.suspendSelf();
    this.#hosts.wake();
    this.#tell("continue");
  }

  /** Standard output or error takes no more: the command gets what a local one would, SIGPIPE. */
  outputFailed(descriptor: number, error: NodeJS.ErrnoException): void {
    if (error.code !== "EPIPE") {
      const name = descriptor === 1 ? "standard output" : "standard error";
      this.#surroundings.reporter.note(`${name} cannot be written: ${error.message}`);
      this.#outputLost = true;
    }
    this.#tell({ signal: constants.signals.SIGPIPE });
  }

  async #end(): Promise<number> {
    const commanded = this.#commanded;
    const lost = this.#others.map((node) => node.closed.promise.then(() => ({ lost: node })));
    const broken = commanded.map((node, index) => this.#whenBrokenOff(node, index));
    const first = await Promise.race([
      this.#commandEnds(),
      ...lost,
      ...broken.map(async (state) => ((await state) === undefined ? await NEVER : await sleep(BROKEN_OFF_MS, state))),
      this.#cutShort.promise.then((code) => ({ code })),
    ]);
    if (first === undefined) throw new TypeError("a stream that broke off nowhere");
    if ("code" in first) return first.code;
    if ("broken" in first) throw brokenOff(first.broken);
    if ("lost" in first) throw await this.#lossOf(first.lost);
    const exitCode = this.#timeIsUp ? TIME_LIMIT_REACHED : await this.#worstOf(first.ends);
    if (this.#spec.linger === "none") for (const node of this.#others) node.send("end");
    else await this.#lingerElsewhere();
    if (first.ends.every(({ kind }) => kind !== "lost")) {
      // The last output comes after the report, and a lingering head stays until its sessions are closed.
      const closed = commanded.map((node) => node.closed.promise);
      const done = Promise.all([this.#bridge.drained, ...closed]).then(() => Promise.all(broken));
      const states = await Promise.race([done, this.#cutShort.promise]);
      const state = typeof states === "number" ? undefined : states.find((each) => each !== undefined);
      if (state !== undefined) throw brokenOff(state.broken);
      if (typeof states !== "number") await this.#checkOutput();
    }
    return exitCode === 0 && this.#outputLost ? LAUNCHER_FAILED : exitCode;
  }

  async #checkOutput(): Promise<void> {
    const whole = await Promise.all(this.#commanded.map((node) => this.#hosts.outputIsWhole(node)));
    for (const [index, node] of this.#commanded.entries()) {
      if (whole[index]) continue;
      this.#surroundings.reporter.note(`${node.node.name}: the end of the command's output was lost`);
      this.#outputLost = true;
    }
  }

  /** What one node is lost by may be about to take others, too: then all are named. */
  async #lossOf(node: JobNode): Promise<LaunchError> {
    if (node.reason === undefined) return lostNode(node);
    await sleep(GATHER_MS);
    const lost = this.#hosts.nodes.filter(({ reason }) => reason !== undefined);
    return lossOf(lost.map(({ node: { name }, reason }) => ({ name, error: reason })));
  }

  /** The command has ended on all nodes that run it, or one of these is lost. */
  async #commandEnds(): Promise<{ readonly ends: readonly NodeEnd[] }> {
    const ends = this.#commanded.map((node) => node.ended.promise);
    const oneLost = ends.map(async (end) => ((await end).kind === "lost" ? undefined : await NEVER));
    await Promise.race([Promise.all(ends), ...oneLost]);
    return { ends: await Promise.all(this.#commanded.map((node) => Promise.race([node.ended.promise, UNDER_WAY]))) };
  }

  /** Waits for the end of a command's output: was it broken off, the engine having gone? */
  async #whenBrokenOff(node: JobNode, index: number): Promise<{ readonly broken: JobNode } | undefined> {
    await this.#bridge.drainedOf(index);
    // What init has reported before it ended is read by then.
    await turn();
    if (node.reported || !(await this.#hosts.engineWent(node))) return undefined;
    // From another host the output's end can overtake the report: the engine has then removed what had ended.
    return node.reported ? undefined : { broken: node };
  }

  async #worstOf(ends: readonly NodeEnd[]): Promise<number> {
    const codes = await Promise.all(
      this.#commanded.map(async (node, index) => await this.#exitCodeOf(ends[index] ?? { kind: "lost" }, node)),
    );
    return Math.max(...codes);
  }

  async #exitCodeOf(end: NodeEnd, node: JobNode): Promise<number> {
    const { reporter } = this.#surroundings;
    switch (end.kind) {
      case "exit":
        if (node.failure !== undefined) {
          reporter.note(`${node.node.name}: ${node.failure}\n  ${end.code === 127 ? NOT_FOUND : NOT_EXECUTABLE}`);
        }
        return end.code;
      case "signal":
        return 128 + end.signal;
      case "lost": {
        if (node.reason !== undefined) throw await this.#lossOf(node);
        const outOfMemory = await this.#hosts.ranOutOfMemory(node);
        const why = outOfMemory ? "it ran out of its memory limit" : "somebody killed it, or its engine stopped";
        reporter.note(`${node.node.name}: its container ended without a word: ${why}`);
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

const NEVER = new Promise<never>(() => undefined);
/** A command that has not ended when another was lost counts for nothing. */
const UNDER_WAY = Promise.resolve({ kind: "exit", code: 0 } as const);

function brokenOff({ node }: JobNode): LaunchError {
  return new LaunchError(node.name, "the engine broke off the command's input and output", {
    hint: "it was restarted, or ended; the job was ended with it",
  });
}

function lostNode({ node }: JobNode): LaunchError {
  const hint = "somebody removed it, or its engine stopped; the job was ended with it";
  return new LaunchError(node.name, "its container ended while the command was running", { hint });
}
