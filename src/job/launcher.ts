import { constants } from "node:os";
import type { AllocatedNode } from "../allocation/allocation.ts";
import { GangwayError, LAUNCHER_FAILED, LaunchError, reasonOf } from "../config/errors.ts";
import type { Identity } from "../config/identity.ts";
import type { Engine } from "../engine/types.ts";
import { collectContainers, collectDirectories } from "./collect.ts";
import { JobContainers } from "./containers.ts";
import { Deferred, requestsToLeave, unlessAborted, within } from "./deferred.ts";
import { JobDirectory } from "./directory.ts";
import { recordEnd } from "./ended.ts";
import { containerName, lookName } from "./id.ts";
import { collectIndex } from "./index-entry.ts";
import { IndexPresence } from "./index-presence.ts";
import { JobAuthority, type Member } from "./membership.ts";
import type { Expected } from "./mounted.ts";
import { JobNode } from "./node.ts";
import { JobOwnerService } from "./owner-service.ts";
import { OwnerSocket } from "./owner-socket.ts";
import { Planning } from "./planning.ts";
import { equipNode, type NodeKeys, type Plan, writeMountedFiles } from "./prepare.ts";
import { writeRecord } from "./record.ts";
import type { Reporter } from "./reporter.ts";
import { RunningJob } from "./running-job.ts";
import type { JobSpec } from "./spec.ts";
import { StdioBridge } from "./stdio.ts";
import { Terminal } from "./terminal.ts";
import { Watchdog } from "./watchdog.ts";

/** What a launch needs of its surroundings. */
export interface LaunchContext {
  readonly engine: Engine;
  /** The tree on the host that becomes /opt/udiImage. */
  readonly udiImage: string;
  /** BASE of docs/internals.md, section 3, checked. */
  readonly runBase: string;
  readonly cacheDirectory: string | undefined;
  /** Where a detached job's end is noted. */
  readonly stateDirectory: string;
  readonly identity: Identity;
  readonly reporter: Reporter;
  /** Called when the command has been told to go: a detached launcher tells its parent. */
  readonly onRunning?: () => void;
}

const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGALRM"] as const;
/** Those that end the launch as long as there is no command to hand them to. */
const ENDING: readonly string[] = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"];
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
  /** Root launches for another user. */
  readonly #acting: boolean;
  readonly #terminal: Terminal;
  readonly #interrupt = new AbortController();
  readonly #service: JobOwnerService;
  readonly #containers: JobContainers;
  readonly #planning: Planning;
  readonly #index: IndexPresence;
  #nodes: JobNode[] = [];
  /** The watchdog is there. */
  readonly #watched = new Deferred<void>();
  #created = false;
  /** There from `go` on. */
  #running: RunningJob | undefined;

  constructor(spec: JobSpec, context: LaunchContext) {
    this.#spec = spec;
    this.#context = context;
    this.#terminal = new Terminal(context.udiImage);
    this.#directory = new JobDirectory(context.runBase, spec.id, context.identity);
    this.#service = new JobOwnerService(spec.sshd, (signal, graceMs) => this.#stop(signal, graceMs));
    this.#containers = new JobContainers(context.engine, this.#directory);
    const { signal } = this.#interrupt;
    this.#planning = new Planning(spec, { ...context, signal, watched: this.#watched.promise }, this.#directory);
    this.#index = new IndexPresence(spec, context);
    this.#acting = process.geteuid?.() !== context.identity.uid;
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
      throw error;
    } finally {
      this.#context.reporter.quiet();
      stopListening();
    }
  }

  async #launch(): Promise<number> {
    const { engine, udiImage, identity } = this.#context;
    const { account, allocation, id } = this.#spec;
    const names = allocation.nodes.map((node) => containerName(account.uid, id, node.index));
    const watch = () => {
      const all = [...names, lookName(account.uid, id)];
      const watchdog = new Watchdog(
        udiImage,
        engine.endpoint.socketPath,
        this.#directory.path,
        identity,
        all,
        this.#index.files,
      );
      this.#watched.resolve();
      return watchdog;
    };
    this.#directory.claim();
    // Acting for another user changes the rights of the whole process, and what is under way must not meet that.
    const early = this.#acting ? watch() : undefined;
    const planning = this.#abortable(this.#planning.plan());
    planning.catch(() => undefined);
    // The engine has been asked already when this process gets busy with its own part.
    await requestsToLeave();
    if (this.#acting) await planning.catch(() => undefined);
    // It has to be there before there is anything that it may have to clear.
    const watchdog = early ?? watch();
    let ownerSocket: OwnerSocket | undefined;
    let exitCode: number | undefined;
    try {
      this.#directory.create(allocation.nodes.length);
      this.#created = true;
      ownerSocket = this.#directory.as(() => new OwnerSocket(this.#directory.launcherSocket, this.#service));
      exitCode = await this.#lifeOf(planning);
      return exitCode;
    } finally {
      await this.#clear(watchdog, names);
      this.#noteEnd(exitCode ?? LAUNCHER_FAILED);
      await ownerSocket?.close(exitCode ?? LAUNCHER_FAILED);
    }
  }

  async #lifeOf(planning: Promise<Plan>): Promise<number> {
    const spec = this.#spec;
    const { reporter } = this.#context;
    const many = spec.allocation.nodes.length > 1 ? `${spec.allocation.nodes.length} nodes` : "the container";
    this.#nodes = spec.allocation.nodes.map((node) => this.#makeNode(node));
    const plan = await planning;
    reporter.phase(`preparing ${many}`);
    for (const node of spec.allocation.nodes) writeMountedFiles(plan, node, this.#directory);
    const expected = this.#acting ? this.#containers.expectMounts(plan) : [];
    const creating = this.#phase("prepare", spec.prepareTimeoutMs, this.#attach(plan));
    creating.catch(() => undefined);
    await requestsToLeave();
    const keys = spec.allocation.nodes.map((node) => equipNode(spec, node, this.#directory));
    const bridge = await creating;
    try {
      reporter.phase(`waiting for ${many} to come up`);
      await this.#phase("up", spec.upTimeoutMs, this.#bringUp(plan, keys, expected));
      return await this.#go(bridge);
    } finally {
      this.#terminal.restore();
      bridge.close();
    }
  }

  #makeNode(node: AllocatedNode): JobNode {
    const { account, id } = this.#spec;
    const made: JobNode = new JobNode(node, containerName(account.uid, id, node.index), this.#directory, {
      onStopped: () => {
        if (node.index === 0) this.#running?.suspend();
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

  async #attach(plan: Plan): Promise<StdioBridge> {
    return new StdioBridge(await this.#containers.create(plan, this.#nodes), {
      onOutputError: (descriptor, error) => this.#running?.outputFailed(descriptor, error),
    });
  }

  // ---- up, membership ------------------------------------------------------------------------------------------

  async #bringUp(plan: Plan, keys: readonly NodeKeys[], expected: readonly Expected[][]): Promise<void> {
    const { reporter } = this.#context;
    const banners: Promise<void>[] = [];
    const reports = Promise.all(
      this.#nodes.map(async (node, index): Promise<Member> => {
        const up = await this.#containers.start(node);
        if (plan.spec.sshd) {
          const banner = node.readBanner();
          banner.catch(() => undefined);
          banners.push(banner);
        }
        return { node: node.node, up, ...required(keys[index]) };
      }),
    );
    reports.catch(() => undefined);
    await requestsToLeave();
    // While the engine is busy: the authority, and what is left of earlier launchers that died with their watchdogs.
    const authority = plan.spec.sshd ? new JobAuthority(plan) : undefined;
    authority?.prepareOwner(this.#directory);
    void this.#clearRemains();
    const members = await reports;
    await this.#containers.checkMounts(this.#nodes, expected);
    // And while the sshds start: an sshd reads its certificate later than it says its banner.
    if (authority !== undefined) {
      authority.admit(members, this.#directory);
      this.#service.open(plan.spec, { authority, nodes: this.#nodes, directory: this.#directory, reporter });
    }
    writeRecord(
      plan,
      members,
      this.#nodes.map((node) => node.container),
      authority?.publicKey,
      this.#directory,
    );
    this.#index.enter();
    await Promise.all(banners);
  }

  /** Of earlier launches. What cannot be cleared is no reason for this one to fail; `gangway gc` tells why. */
  async #clearRemains(): Promise<void> {
    const { engine, identity, runBase } = this.#context;
    try {
      collectDirectories(identity, runBase, () => undefined);
      collectIndex(identity, this.#spec.account.home);
      await collectContainers(engine, identity.uid);
    } catch {
      // The next launch tries again.
    }
  }

  // ---- go ------------------------------------------------------------------------------------------------------

  async #go(bridge: StdioBridge): Promise<number> {
    const { engine, reporter, onRunning } = this.#context;
    reporter.quiet();
    this.#interrupt.signal.throwIfAborted();
    this.#running = new RunningJob(this.#spec, this.#nodes, bridge, { engine, reporter, terminal: this.#terminal });
    return await this.#running.run(() => onRunning?.());
  }

  // ---- what can come in between --------------------------------------------------------------------------------

  #listenToSignals(): () => void {
    const handlers = FORWARDED.map((name) => {
      const handler = () => this.#signalled(name);
      process.on(name, handler);
      return () => process.off(name, handler);
    });
    return () => {
      for (const remove of handlers) remove();
    };
  }

  #signalled(name: (typeof FORWARDED)[number]): void {
    if (this.#running !== undefined) this.#running.signal(name);
    else if (ENDING.includes(name)) this.#giveUp(constants.signals[name]);
  }

  #stop(signal: number, graceMs: number): void {
    if (this.#running !== undefined) this.#running.stop(signal, graceMs);
    else this.#giveUp(signal);
  }

  /** Nothing runs yet that a signal could be handed to: the launch is over. */
  #giveUp(signal: number): void {
    this.#interrupt.abort(new Interrupted(`signal ${signal}`, { exitCode: 128 + signal }));
  }

  // ---- the end -------------------------------------------------------------------------------------------------

  async #clear(watchdog: Watchdog, names: readonly string[]): Promise<void> {
    const { engine, reporter } = this.#context;
    // What is planned is not begun any more.
    this.#interrupt.abort(new Interrupted("the launch is over"));
    for (const node of this.#nodes) node.send("end");
    this.#index.leave();
    const [look] = await Promise.allSettled([this.#planning.looking, this.#containers.settle()]);
    const made = this.#containers.made(names);
    if (look.status === "rejected") made.push(lookName(this.#spec.account.uid, this.#spec.id));
    const results = await Promise.allSettled(made.map((name) => engine.remove(name)));
    for (const node of this.#nodes) node.close();
    await this.#service.close();
    try {
      if (this.#created) this.#directory.remove();
    } catch (error) {
      reporter.note(`${this.#directory.path} could not be removed: ${reasonOf(error)}`);
      watchdog.takeOver();
      return;
    }
    const failed = results.find((result) => result.status === "rejected");
    if (failed === undefined) {
      await watchdog.dismiss();
      return;
    }
    reporter.note(
      `a container could not be removed now, and will be when the engine answers: ${reasonOf(failed.reason)}`,
    );
    watchdog.takeOver();
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
        const missing = this.#nodes.filter((node) => !node.connected).map((node) => node.node.name);
        const who = missing.length > 0 ? missing.join(", ") : this.#nodes.map((node) => node.node.name).join(", ");
        return new LaunchError(who, `not done with phase "${name}" within ${milliseconds / 1000} s`, {
          hint: `is the engine overloaded? --${name}-timeout gives it longer`,
        });
      }),
    );
  }
}

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("a node without its counterpart");
  return value;
}
