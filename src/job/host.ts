import { statSync } from "node:fs";
import { join } from "node:path";
import { GangwayError, reasonOf, systemReasonOf } from "../config/errors.ts";
import type { Identity } from "../config/identity.ts";
import type { Attachment, Engine } from "../engine/types.ts";
import { readBanner } from "./banner.ts";
import { collectContainers, collectDirectories } from "./collect.ts";
import { JobContainers } from "./containers.ts";
import { ControlChannel, type InitMessage } from "./control.ts";
import { Deferred, requestsToLeave } from "./deferred.ts";
import type { JobDirectory } from "./directory.ts";
import type { EngineView } from "./engine-view.ts";
import { containerName, lookName } from "./id.ts";
import { collectIndex } from "./index-entry.ts";
import { type Admission, admitNodes } from "./membership.ts";
import { ELSEWHERE, type Expected, SWAPPED } from "./mounted.ts";
import type { JobNode, UpReport } from "./node.ts";
import { Planning } from "./planning.ts";
import { equipNode, type NodeKeys, type Plan, writeMountedFiles } from "./prepare.ts";
import type { Reporter } from "./reporter.ts";
import { endsWithLauncher } from "./runtime-engine.ts";
import type { JobSpec } from "./spec.ts";
import { Suspension, type TellNodes } from "./suspension.ts";
import { Watchdog } from "./watchdog.ts";

/** What the nodes of a job on one host need of that host. */
export interface HostContext {
  readonly engine: Engine;
  readonly view: EngineView;
  /** The tree on the host that becomes /opt/udiImage. */
  readonly udiImage: string;
  /** BASE of docs/internals.md, section 3, checked. */
  readonly runBase: string;
  readonly cacheDirectory: string | undefined;
  readonly identity: Identity;
  readonly reporter: Reporter;
  /** Aborted when the launch is given up. */
  readonly signal: AbortSignal;
  /** Told when this process is about to be stopped with its job, and when it goes on; waited for before the stop. */
  readonly onSuspension?: TellNodes;
}

/** What of the job's directory this host's part makes, and so removes. */
export interface HostPlace {
  readonly directory: JobDirectory;
  /** Another process of this host made the job's directory: ours are the nodes' alone. */
  readonly joined: boolean;
  /** Files elsewhere that go with the job. */
  readonly also: readonly string[];
}

/** What was prepared for a node. */
export interface PreparedNode {
  readonly keys: NodeKeys;
  /** The streams of a command, where this node runs one. */
  readonly attachment: Attachment | undefined;
}

/**
 * The nodes of a job on one host: their directories, containers and what is heard of them, from the first file to the
 * last. It decides nothing of the job; whatever happens, what it made it removes, or its watchdog does.
 */
export class Host {
  readonly #spec: JobSpec;
  readonly #nodes: readonly JobNode[];
  readonly #context: HostContext;
  readonly #place: HostPlace;
  readonly #onLine: (line: string) => void;
  readonly #directory: JobDirectory;
  readonly #containers: JobContainers;
  readonly #planning: Planning;
  /** Root launches for another user. */
  readonly #acting: boolean;
  /** The watchdog is there. */
  readonly #watched = new Deferred<void>();
  #watchdog: Watchdog | undefined;
  #plan: Promise<Plan> | undefined;
  #ending: Promise<void> | undefined;
  #expected: readonly Expected[][] = [];
  #created = false;
  /** Something could not be removed. */
  #remains = false;
  #engineInstance = "";
  /** No more is heard of the manager's wish to suspend. */
  #stopHeeding: () => void = () => undefined;

  /**
   * @param nodes those of the job that are on this host
   * @param onLine is told what the inits say, as it stands
   */
  constructor(
    spec: JobSpec,
    nodes: readonly JobNode[],
    place: HostPlace,
    context: HostContext,
    onLine: (line: string) => void = () => undefined,
  ) {
    this.#spec = spec;
    this.#nodes = nodes;
    this.#place = place;
    this.#onLine = onLine;
    this.#directory = place.directory;
    this.#context = context;
    this.#containers = new JobContainers(context.engine, this.#directory);
    this.#planning = new Planning(spec, { ...context, watched: this.#watched.promise }, this.#directory);
    this.#acting = process.geteuid?.() !== context.identity.uid;
  }

  /**
   * Makes the job's directory; from then on there is something to clear, and the watchdog is there to do it.
   *
   * @throws JobTakenError when there is a job of that name; nothing was made then
   */
  async begin(): Promise<void> {
    if (!this.#place.joined) this.#directory.claim();
    // Acting for another user changes the rights of the whole process, and what is under way must not meet that.
    if (this.#acting) this.#watch();
    this.#plan = this.#planning.plan();
    this.#plan.catch(() => undefined);
    // The engine has been asked already when this process gets busy with its own part.
    await requestsToLeave();
    if (this.#acting) await this.#plan.catch(() => undefined);
    // It has to be there before there is anything that it may have to clear.
    if (!this.#acting) this.#watch();
    const indices = this.#nodes.map(({ node }) => node.index);
    if (this.#place.joined) this.#directory.addNodes(indices);
    else this.#directory.create(indices);
    this.#created = true;
    for (const node of this.#nodes) this.#listen(node);
    this.#stopHeeding = new Suspension((word) => {
      for (const node of this.#nodes) node.send(word);
      return this.#context.onSuspension?.(word);
    }).listen();
  }

  #watch(): void {
    const { engine, udiImage, identity } = this.#context;
    const directories = this.#place.joined
      ? this.#nodes.map(({ node }) => this.#directory.node(node.index))
      : [this.#directory.path];
    const names = endsWithLauncher(engine.endpoint)
      ? []
      : [...this.#names, lookName(this.#spec.account.uid, this.#spec.id)];
    const [directory = this.#directory.path] = directories;
    const socket = engine.endpoint.socketPath;
    this.#watchdog = new Watchdog(udiImage, socket, directory, identity, names, this.#place.also);
    this.#watched.resolve();
  }

  get #names(): string[] {
    const { account, id } = this.#spec;
    return this.#nodes.map(({ node }) => containerName(account.uid, id, node.index));
  }

  /** What was decided for this host; there once the image is known. @throws GangwayError for what cannot be launched */
  async plan(): Promise<Plan> {
    if (this.#plan === undefined) throw new TypeError("a host that was not begun");
    return await this.#plan;
  }

  /**
   * Makes every container, and the nodes' keys.
   *
   * @returns in the order of the nodes
   * @throws GangwayError
   */
  async prepare(): Promise<readonly PreparedNode[]> {
    const plan = await this.plan();
    this.#context.signal.throwIfAborted();
    const nodes = this.#nodes.map(({ node }) => node);
    for (const node of nodes) writeMountedFiles(plan, node, this.#directory);
    this.#expected = this.#acting || !this.#context.view.certain ? this.#containers.expectMounts(plan, nodes) : [];
    const creating = this.#containers.create(plan, this.#nodes);
    creating.catch(() => undefined);
    await requestsToLeave();
    const keys = nodes.map((node) => equipNode(this.#spec, node, this.#directory));
    const attachments = await creating;
    this.#engineInstance = this.#instance();
    return keys.map((own, index) => ({ keys: own, attachment: attachments[index] }));
  }

  /** Starts to listen for a node's init; the node's directory must be there. */
  #listen(node: JobNode): void {
    const path = join(this.#directory.node(node.node.index), "ctl");
    const onMessage = (message: InitMessage, line: string) => {
      this.#onLine(line);
      node.hear(message);
    };
    const events = { onMessage, onClose: () => node.lose() };
    node.join(this.#directory.as(() => new ControlChannel(node.node.name, path, events)));
  }

  /**
   * Starts every container.
   *
   * @param meanwhile is done while the engine is busy
   * @returns what each init reports, in the order of the nodes, and what is fulfilled when each sshd has answered
   * @throws LaunchError
   */
  async up(meanwhile: () => void): Promise<{ readonly reports: readonly UpReport[]; readonly banners: Promise<void> }> {
    const banners: Promise<void>[] = [];
    const starting = Promise.all(
      this.#nodes.map(async (node) => {
        const up = await this.#containers.start(node);
        if (this.#spec.sshd) {
          const banner = readBanner(node.node.name, join(this.#directory.node(node.node.index), "ssh"));
          banner.catch(() => undefined);
          banners.push(banner);
        }
        return up;
      }),
    );
    starting.catch(() => undefined);
    await requestsToLeave();
    meanwhile();
    void this.#clearRemains();
    const reports = await starting;
    await this.#containers.checkMounts(this.#nodes, this.#expected, this.#acting ? SWAPPED : ELSEWHERE);
    return {
      reports,
      banners: Promise.all([...banners, this.#containers.checkPlaces(this.#nodes)]).then(() => undefined),
    };
  }

  /** Gives the nodes what they need to know and be known by the others. */
  admit(admission: Admission): void {
    const nodes = this.#nodes.map(({ node }) => node);
    admitNodes(this.#spec, nodes, admission, this.#directory);
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

  /**
   * Replaces the list of revoked keys of every node.
   *
   * @throws GangwayError naming the nodes where that failed; none keeps the others from it
   */
  writeRevocations(list: Uint8Array): void {
    const failures = this.#nodes.flatMap(({ node }) => {
      try {
        this.#directory.rewrite(this.#directory.node(node.index), "revoked_keys", list);
        return [];
      } catch (error) {
        return [`${node.name}: ${reasonOf(error)}`];
      }
    });
    if (failures.length > 0) throw new GangwayError(failures.join("; "));
  }

  /** What a restarted engine has not in common with the one before: its socket. */
  #instance(): string {
    const socket = statSync(this.#context.engine.endpoint.socketPath, { throwIfNoEntry: false });
    return `${socket?.ino} ${socket?.ctimeMs}`;
  }

  /** Whether the engine is not the one that made the containers. A command may also have closed its streams by itself. */
  async engineWent({ container }: JobNode): Promise<boolean> {
    if (this.#instance() !== this.#engineInstance) return true;
    return await this.#context.engine.inspect(container).then(
      () => false,
      () => true,
    );
  }

  async ranOutOfMemory({ container }: JobNode): Promise<boolean> {
    const state = await this.#context.engine.inspect(container).catch(() => undefined);
    return state?.oomKilled === true;
  }

  /** Removes the containers. What cannot be removed now is told of, and left to the watchdog. May be called again. */
  end(): Promise<void> {
    this.#ending ??= this.#endNow();
    return this.#ending;
  }

  async #endNow(): Promise<void> {
    this.#stopHeeding();
    for (const node of this.#nodes) node.send("end");
    const [look] = await Promise.allSettled([this.#planning.looking, this.#containers.settle()]);
    const made = this.#containers.made(this.#names);
    if (look.status === "rejected") made.push(lookName(this.#spec.account.uid, this.#spec.id));
    const ending = new Set(this.#nodes.filter(({ gone }) => gone).map(({ container }) => container));
    const results = await Promise.allSettled(made.map((name) => this.#context.engine.remove(name, ending.has(name))));
    for (const node of this.#nodes) node.close();
    const failed = results.find((result) => result.status === "rejected");
    if (failed === undefined) return;
    this.#remains = true;
    this.#context.reporter.note(
      `a container could not be removed now, and will be when the engine answers: ${reasonOf(failed.reason)}`,
    );
  }

  /** Removes what was made in the job's directory, and lets the watchdog go. To be called after {@link end}. */
  async clear(): Promise<void> {
    try {
      if (this.#created) this.#removeDirectories();
    } catch (error) {
      this.#remains = true;
      this.#context.reporter.note(`${this.#directory.path} could not be removed: ${systemReasonOf(error)}`);
    }
    if (this.#remains) this.#watchdog?.takeOver();
    else await this.#watchdog?.dismiss();
  }

  #removeDirectories(): void {
    if (!this.#place.joined) this.#directory.remove();
    else for (const { node } of this.#nodes) this.#directory.removeNode(node.index);
  }
}

/** The counterpart of a node in a list that must have one for each. */
export function required<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("a node without its counterpart");
  return value;
}
