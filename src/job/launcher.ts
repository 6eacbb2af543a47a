import { constants } from "node:os";
import type { AllocatedNode } from "../allocation/allocation.ts";
import { GangwayError, JobTakenError, LAUNCHER_FAILED, reasonOf } from "../config/errors.ts";
import { JobAuthority } from "./authority.ts";
import { unlessAborted, within } from "./deferred.ts";
import { JobDirectory } from "./directory.ts";
import { recordEnd } from "./ended.ts";
import { type HostContext, type HostPlace, required } from "./host.ts";
import { containerName } from "./id.ts";
import { IndexPresence } from "./index-presence.ts";
import type { JobFacts, JobHosts, Upward } from "./job-hosts.ts";
import { JobNode } from "./node.ts";
import { NodesLostError } from "./nodes-lost.ts";
import { OwnerKit } from "./owner-kit.ts";
import { JobOwnerService } from "./owner-service.ts";
import { answerOwner, OwnerSocket } from "./owner-socket.ts";
import { writeRecord } from "./record.ts";
import { RunningJob } from "./running-job.ts";
import { SharedSignal } from "./shared-signal.ts";
import { type JobSpec, runsCommand } from "./spec.ts";
import { type Outlet, StdioBridge } from "./stdio.ts";
import { Terminal } from "./terminal.ts";

/** What a launch needs of its surroundings. */
export interface LaunchContext extends Omit<HostContext, "signal" | "engine" | "view"> {
  /** Where a detached job's end is noted. */
  readonly stateDirectory: string;
  /** Called when the command has been told to go: a detached launcher tells its parent. */
  readonly onRunning?: () => void;
  /** Who does what has to be done on the job's hosts. */
  readonly hosts: (place: HostPlace, nodes: readonly JobNode[], upward: Upward) => JobHosts;
}

const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGALRM"] as const;
/** Those that end the launch as long as there is no command to hand them to. */
const ENDING: readonly string[] = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"];
/** Who asked for the launch would try it once more: without these nodes, or under another name. */
function begunAnew(error: unknown): error is NodesLostError | JobTakenError {
  return error instanceof NodesLostError || error instanceof JobTakenError;
}

interface Trust {
  readonly authority: JobAuthority;
  readonly kit: OwnerKit;
}

/** A signal came before the command was started. */
class Interrupted extends GangwayError {}

/**
 * One launch, from its specification to its end: prepare, up, membership, go, end (docs/internals.md, section 6).
 * Whatever happens, nothing is left: what was made is removed here, or, when this process is killed, by the watchdog.
 */
export class Launcher {
  readonly #spec: JobSpec;
  readonly #context: LaunchContext;
  readonly #directory: JobDirectory;
  readonly #terminal: Terminal;
  readonly #interrupt = new AbortController();
  /** A signal, or the owner, ended the launch before there was a command. */
  #givenUp: Interrupted | undefined;
  readonly #service: JobOwnerService;
  readonly #index: IndexPresence;
  readonly #hosts: JobHosts;
  #trusted: Trust | undefined;
  /** There from `go` on. */
  #running: RunningJob | undefined;

  readonly #signals = new SharedSignal((name) => this.#signalled(name));

  /** Does what the owner asks. */
  readonly #answer = (line: string): string => answerOwner(this.#service, line);

  constructor(spec: JobSpec, context: LaunchContext) {
    this.#spec = spec;
    this.#context = context;
    this.#terminal = new Terminal(context.udiImage);
    this.#directory = new JobDirectory(context.runBase, spec.id, context.identity);
    this.#service = new JobOwnerService(spec.sshd, (signal, graceMs) => this.#stop(signal, graceMs));
    this.#index = new IndexPresence(spec, context);
    const place = { directory: this.#directory, joined: false, also: this.#index.files };
    const nodes = spec.allocation.nodes.map((node) => this.#makeNode(node));
    this.#hosts = context.hosts(place, nodes, {
      signal: this.#interrupt.signal,
      answer: this.#answer,
      onSignal: (signal) => this.#signals.hear(signal),
    });
  }

  /**
   * Runs the job to its end.
   *
   * @returns the exit code of `gangway run`
   * @throws GangwayError when the launch failed; then, too, nothing is left
   */
  async run(): Promise<number> {
    const stopListening = this.#listenToSignals();
    try {
      return await this.#launch();
    } catch (error) {
      if (error instanceof Interrupted) return error.exitCode;
      // It came while this was cleared: then nothing is begun anew on the nodes that are left.
      if (this.#givenUp === undefined || !begunAnew(error)) throw error;
      this.#context.reporter.note(error.message);
      return this.#givenUp.exitCode;
    } finally {
      this.#context.reporter.quiet();
      stopListening();
    }
  }

  async #launch(): Promise<number> {
    let ownerSocket: OwnerSocket | undefined;
    let exitCode: number | undefined;
    let begun = false;
    try {
      await this.#hosts.begin();
      begun = true;
      ownerSocket = this.#directory.as(() => new OwnerSocket(this.#directory.launcherSocket, this.#answer));
      exitCode = await this.#life();
      return exitCode;
    } finally {
      await this.#clear(exitCode ?? LAUNCHER_FAILED, begun);
      await ownerSocket?.close(exitCode ?? LAUNCHER_FAILED);
    }
  }

  async #life(): Promise<number> {
    const { reporter } = this.#context;
    const { nodes } = this.#spec.allocation;
    const many = nodes.length > 1 ? `${nodes.length} nodes` : "the container";
    const { prepareTimeoutMs, upTimeoutMs } = this.#spec;
    const facts = await this.#abortable(this.#hosts.plan(() => this.#trust()));
    reporter.phase(`preparing ${many}`);
    await this.#phase("prepare", prepareTimeoutMs, this.#hosts.prepare());
    const bridge = new StdioBridge(this.#outlets(), {
      onOutputError: (descriptor, error) => this.#running?.outputFailed(descriptor, error),
    });
    try {
      reporter.phase(`waiting for ${many} to come up`);
      await this.#phase("up", upTimeoutMs, this.#bringUp(facts));
      return await this.#go(bridge);
    } finally {
      this.#terminal.restore();
      bridge.close();
    }
  }

  #outlets(): readonly Outlet[] {
    const commanded = this.#hosts.nodes.filter(({ node }) => runsCommand(this.#spec, node));
    return this.#hosts.attachments.map((attachment, index) =>
      this.#spec.everywhere ? { attachment, label: required(commanded[index]).node.name } : { attachment },
    );
  }

  #makeNode(node: AllocatedNode): JobNode {
    const { account, id } = this.#spec;
    const made: JobNode = new JobNode(node, containerName(account.uid, id, node.index), {
      onStopped: () => {
        if (node.index === 0) void this.#running?.suspend();
      },
      onLingering: (sessions) =>
        this.#context.reporter.note(
          `the command has ended; waiting for ${sessions} session${sessions === 1 ? "" : "s"} to be closed`,
        ),
      onSession: (message) => this.#service.hear(made, message),
      onLost: () => this.#service.lost(made),
    });
    return made;
  }

  // ---- up, membership ------------------------------------------------------------------------------------------

  /** Who is believed in the job, and the owner's access kit, of which there is none without sshd. */
  #trust(): Trust | undefined {
    if (this.#trusted === undefined && this.#spec.sshd) {
      const authority = new JobAuthority(this.#spec);
      const kit = new OwnerKit(this.#spec, this.#directory, this.#context.udiImage);
      kit.certify(authority.signKit(kit.publicKey), authority.publicKey);
      this.#trusted = { authority, kit };
    }
    return this.#trusted;
  }

  async #bringUp({ command, workdir }: JobFacts): Promise<void> {
    const { reporter, udiImage } = this.#context;
    const spec = this.#spec;
    const members = await this.#hosts.up(() => this.#trust());
    const trust = this.#trust();
    if (trust !== undefined) {
      const { authority, kit } = trust;
      await this.#hosts.admit(members, authority, kit);
      kit.configure(members);
      this.#service.open(spec, { authority, hosts: this.#hosts, directory: this.#directory, reporter });
    }
    writeRecord(
      spec,
      members,
      {
        command,
        workdir,
        udiImage,
        ...(trust === undefined ? {} : { authority: trust.authority.publicKey }),
        here: this.#hosts.here,
      },
      this.#directory,
    );
    this.#index.enter();
    await this.#hosts.answered(members);
  }

  // ---- go ------------------------------------------------------------------------------------------------------

  async #go(bridge: StdioBridge): Promise<number> {
    const { reporter, onRunning } = this.#context;
    reporter.quiet();
    this.#interrupt.signal.throwIfAborted();
    this.#running = new RunningJob(this.#spec, this.#hosts, bridge, { reporter, terminal: this.#terminal });
    return await this.#running.run(() => onRunning?.());
  }

  // ---- what can come in between --------------------------------------------------------------------------------

  #listenToSignals(): () => void {
    const handlers = FORWARDED.map((name) => {
      const handler = () => this.#signals.hearHere(constants.signals[name]);
      process.on(name, handler);
      return () => process.off(name, handler);
    });
    return () => {
      for (const remove of handlers) remove();
    };
  }

  #signalled(name: NodeJS.Signals): void {
    if (this.#running !== undefined) this.#running.signal(name);
    else if (ENDING.includes(name)) this.#giveUp(constants.signals[name]);
  }

  #stop(signal: number, graceMs: number): void {
    if (this.#running !== undefined) this.#running.stop(signal, graceMs);
    else this.#giveUp(signal);
  }

  /** Nothing runs yet that a signal could be handed to: the launch is over. */
  #giveUp(signal: number): void {
    this.#givenUp ??= new Interrupted(`signal ${signal}`, { exitCode: 128 + signal });
    this.#interrupt.abort(this.#givenUp);
  }

  // ---- the end -------------------------------------------------------------------------------------------------

  async #clear(exitCode: number, begun: boolean): Promise<void> {
    // What is planned is not begun any more.
    this.#interrupt.abort(new Interrupted("the launch is over"));
    this.#index.leave();
    await this.#hosts.end(exitCode);
    await this.#service.close();
    // Before the job's directory goes: at every moment one of the two tells `gangway wait` of the job.
    if (begun) this.#noteEnd(exitCode);
    await this.#hosts.clear();
  }

  #noteEnd(exitCode: number): void {
    const { id, outputFile } = this.#spec;
    if (outputFile === undefined) return;
    try {
      this.#directory.as(() =>
        recordEnd(this.#context.stateDirectory, { job: id, exitCode, outputFile, ended: new Date().toISOString() }),
      );
    } catch (error) {
      this.#context.reporter.note(`the job's end could not be noted for \`gangway wait\`: ${reasonOf(error)}`);
    }
  }

  #abortable<T>(work: Promise<T>): Promise<T> {
    work.catch(() => undefined);
    return unlessAborted(work, this.#interrupt.signal);
  }

  #phase<T>(name: string, milliseconds: number, work: Promise<T>): Promise<T> {
    return this.#abortable(
      within(work, milliseconds, () => {
        const missing = this.#hosts.missing;
        const who = missing.length > 0 ? missing : this.#hosts.nodes.map(({ node }) => node.name);
        return new NodesLostError(who, `not done with phase "${name}" within ${milliseconds / 1000} s`, {
          hint: `is the engine overloaded? --${name}-timeout gives it longer`,
        });
      }),
    );
  }
}
