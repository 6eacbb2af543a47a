import { constants } from "node:os";
import type { AllocatedNode } from "../allocation/allocation.ts";
import { EngineError, GangwayError, LAUNCHER_FAILED, LaunchError, reasonOf } from "../config/errors.ts";
import type { Identity } from "../config/identity.ts";
import type { Attachment, Engine, ImageQuestions } from "../engine/types.ts";
import { collectContainers, collectDirectories } from "./collect.ts";
import { Deferred, unlessAborted, within } from "./deferred.ts";
import { JobDirectory } from "./directory.ts";
import { recordEnd } from "./ended.ts";
import { containerName, lookName } from "./id.ts";
import { examineImage, obtainImage, recallImage } from "./image.ts";
import { LABEL } from "./labels.ts";
import { JobAuthority, type Member } from "./membership.ts";
import { checkMounted, type Expected, expectMounts } from "./mounted.ts";
import { checkImageVolumes, checkVolume, placesOfTheUser } from "./mounts.ts";
import { JobNode, type UpReport } from "./node.ts";
import { JobOwnerService } from "./owner-service.ts";
import { OwnerSocket } from "./owner-socket.ts";
import {
  checkArchitecture,
  containerSpec,
  equipNode,
  makePlan,
  type NodeKeys,
  type Plan,
  writeMountedFiles,
} from "./prepare.ts";
import { formatIdentity, thisProcess } from "./process.ts";
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
/** HTTP's word for a container's name that is taken. */
const CONFLICT = 409;
/** How often it is looked whether a container that says nothing is still there. */
const SILENCE_MS = 500;

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
  #nodes: JobNode[] = [];
  /** Requests that make containers and may still be under way when the launch is given up. */
  #making: Promise<unknown>[] = [];
  /** Names that the engine says are taken: what has them is not ours to remove. */
  readonly #foreign = new Set<string>();
  /** The watchdog is there. */
  readonly #watched = new Deferred<void>();
  /** The look into an image that nothing was known of. */
  #looking: Promise<unknown> | undefined;
  #created = false;
  /** There from `go` on. */
  #running: RunningJob | undefined;

  constructor(spec: JobSpec, context: LaunchContext) {
    this.#spec = spec;
    this.#context = context;
    this.#terminal = new Terminal(context.udiImage);
    this.#directory = new JobDirectory(context.runBase, spec.id, context.identity);
    this.#service = new JobOwnerService(spec.sshd, (signal, graceMs) => this.#stop(signal, graceMs));
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

  // ---- prepare -------------------------------------------------------------------------------------------------

  async #plan(): Promise<Plan> {
    const { engine, reporter, udiImage, identity, cacheDirectory } = this.#context;
    const spec = this.#spec;
    for (const volume of spec.volumes) this.#directory.as(() => checkVolume(volume, this.#context.runBase));
    const info = engine.identify();
    info.catch(() => undefined);
    reporter.phase(`looking for image ${spec.image}`);
    const image = await obtainImage(
      engine,
      spec.image,
      spec.pull,
      (progress) => reporter.pull(spec.image, progress),
      this.#interrupt.signal,
    );
    checkArchitecture(udiImage, image, spec.image);
    checkImageVolumes(spec.image, image.volumes);
    const shell = spec.shell ?? spec.account.shell;
    const known = recallImage(image, shell, identity, cacheDirectory);
    const knowledge =
      known ??
      (await this.#look((container) => examineImage(engine, image, shell, identity, cacheDirectory, container)));
    const places = this.#directory.as(() => placesOfTheUser(spec, this.#context.runBase));
    return makePlan(spec, { engine: await info, image, knowledge, udiImage, places });
  }

  /** Looks into the image, by a container that has to go again whatever happens to us. */
  async #look<T>(examine: (container: ImageQuestions["container"]) => Promise<T>): Promise<T> {
    const { account, id } = this.#spec;
    await this.#watched.promise;
    this.#interrupt.signal.throwIfAborted();
    const labels = { [LABEL.uid]: String(account.uid), [LABEL.launcher]: formatIdentity(thisProcess()) };
    const looking = examine({ name: lookName(account.uid, id), labels });
    this.#looking = looking;
    return await looking;
  }

  async #launch(): Promise<number> {
    const { engine, udiImage, identity } = this.#context;
    const { account, allocation, id } = this.#spec;
    const names = allocation.nodes.map((node) => containerName(account.uid, id, node.index));
    const watch = () => {
      const all = [...names, lookName(account.uid, id)];
      const watchdog = new Watchdog(udiImage, engine.endpoint.socketPath, this.#directory.path, identity, all);
      this.#watched.resolve();
      return watchdog;
    };
    this.#directory.claim();
    // Acting for another user changes the rights of the whole process, and what is under way must not meet that.
    const early = this.#acting ? watch() : undefined;
    const planning = this.#abortable(this.#plan());
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
    const expected = this.#acting ? this.#expectMounts(plan) : [];
    const creating = this.#phase("prepare", spec.prepareTimeoutMs, this.#createAll(plan));
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
    return new JobNode(node, containerName(account.uid, id, node.index), this.#directory, {
      onStopped: () => {
        if (node.index === 0) this.#running?.suspend();
      },
      onLingering: (sessions) =>
        this.#context.reporter.note(
          `the command has ended; waiting for ${sessions} session${sessions === 1 ? "" : "s"} to be closed`,
        ),
    });
  }

  /** Makes every container, and attaches to the head's streams before anything can come out of them. */
  async #createAll(plan: Plan): Promise<StdioBridge> {
    const { engine } = this.#context;
    const attachments = await Promise.all(
      this.#nodes.map(async ({ node }) => {
        try {
          const making = engine.create(containerSpec(plan, node, this.#directory));
          this.#making.push(making);
          const id = await making;
          return node.index === 0 ? await engine.attach(id, plan.spec.tty) : undefined;
        } catch (error) {
          if (error instanceof EngineError && error.status === CONFLICT) {
            this.#foreign.add(containerName(plan.spec.account.uid, plan.spec.id, node.index));
          }
          throw atNode(node.name, error);
        }
      }),
    );
    return new StdioBridge(required(attachments[0] as Attachment | undefined), {
      onOutputError: (descriptor, error) => this.#running?.outputFailed(descriptor, error),
    });
  }

  // ---- up, membership ------------------------------------------------------------------------------------------

  async #bringUp(plan: Plan, keys: readonly NodeKeys[], expected: readonly Expected[][]): Promise<void> {
    const banners: Promise<void>[] = [];
    const reports = Promise.all(
      this.#nodes.map(async (node, index): Promise<Member> => {
        const up = await this.#start(node);
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
    authority?.equipOwner(this.#directory);
    void this.#clearRemains();
    const members = await reports;
    await this.#checkMounts(expected);
    // And while the sshds start: an sshd reads its certificate later than it says its banner.
    if (authority !== undefined) {
      authority.admit(members, this.#directory);
      this.#service.open({ authority, nodes: this.#nodes, directory: this.#directory, limits: plan.spec.keys });
    }
    writeRecord(
      plan,
      members,
      this.#nodes.map((node) => node.container),
      authority?.publicKey,
      this.#directory,
    );
    await Promise.all(banners);
  }

  #expectMounts(plan: Plan): Expected[][] {
    const { udiImage } = this.#context;
    const own = (path: string) => path.startsWith(`${this.#directory.path}/`);
    return plan.spec.allocation.nodes.map((node) => {
      const { mounts } = containerSpec(plan, node, this.#directory);
      const open = mounts.filter(({ source }) => source !== udiImage && !source.startsWith(`${udiImage}/`));
      return this.#directory.as(() => expectMounts(open, ({ source }) => own(source)));
    });
  }

  async #checkMounts(expected: readonly Expected[][]): Promise<void> {
    await Promise.all(
      expected.map(async (mounts, index) => {
        const { container, node } = required(this.#nodes[index]);
        const state = await this.#context.engine.inspect(container);
        if (state?.running !== true) throw new LaunchError(node.name, "its container ended before it was up");
        checkMounted(node.name, state.pid, mounts);
      }),
    );
  }

  /** Of earlier launches. What cannot be cleared is no reason for this one to fail; `gangway gc` tells why. */
  async #clearRemains(): Promise<void> {
    const { engine, identity, runBase } = this.#context;
    try {
      collectDirectories(identity, runBase);
      await collectContainers(engine, identity.uid);
    } catch {
      // The next launch tries again.
    }
  }

  async #start(node: JobNode): Promise<UpReport> {
    const started = this.#context.engine.start(node.container).catch((error: unknown) => {
      throw atNode(node.node.name, error);
    });
    // Init reports before the engine answers: when it is up, the engine's answer is of no interest any more.
    started.catch(() => undefined);
    return await Promise.race([started.then(() => this.#untilUp(node)), node.up.promise]);
  }

  /** An init that cannot even connect to us says nothing: then its container ends, and only the engine knows. */
  async #untilUp(node: JobNode): Promise<UpReport> {
    const timer = setInterval(() => {
      if (node.connected) return;
      const look = this.#context.engine.inspect(node.container).then((state) => {
        if (state?.running !== true) node.giveUp();
      });
      look.catch(() => undefined);
    }, SILENCE_MS);
    try {
      return await node.up.promise;
    } finally {
      clearInterval(timer);
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
    // A container that is still being made would appear behind our back.
    const [look] = await Promise.allSettled([this.#looking, ...this.#making]);
    const made = this.#making.length > 0 ? names.filter((name) => !this.#foreign.has(name)) : [];
    if (look.status === "rejected") made.push(lookName(this.#spec.account.uid, this.#spec.id));
    const results = await Promise.allSettled(made.map((name) => engine.remove(name)));
    for (const node of this.#nodes) node.close();
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

/** Resolves when requests that were just made are on their way: a connection is made in one turn and written to in the next. */
async function requestsToLeave(): Promise<void> {
  for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
}

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("a node without its counterpart");
  return value;
}

function atNode(node: string, error: unknown): Error {
  if (!(error instanceof GangwayError)) return new LaunchError(node, reasonOf(error), { cause: error });
  return new LaunchError(node, error.message, {
    cause: error,
    exitCode: error.exitCode,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  });
}
