import { GangwayError, JobTakenError, LAUNCHER_FAILED, reasonOf } from "../config/errors.ts";
import type { Attachment, Engine } from "../engine/types.ts";
import type { Launcher } from "../rendezvous/dial.ts";
import { specOnHost } from "./allocation-environment.ts";
import { type LauncherMessage, parseLauncherLine } from "./control.ts";
import { Deferred } from "./deferred.ts";
import { JobDirectory } from "./directory.ts";
import { kindOfEngine } from "./engine-agreement.ts";
import { Host, type HostContext, required } from "./host.ts";
import { containerName } from "./id.ts";
import { contentDigest } from "./image.ts";
import { memberHere } from "./membership.ts";
import { JobNode } from "./node.ts";
import {
  admissionOf,
  type FoldedPlaces,
  type HostSettings,
  membersAt,
  parseToNode,
  type ToLauncher,
  type ToNode,
  type Trust,
} from "./node-protocol.ts";
import { join, openStreams } from "./node-streams.ts";
import { OwnerKit } from "./owner-kit.ts";
import { OwnerSocket } from "./owner-socket.ts";
import type { NodeKeys } from "./prepare.ts";
import { PullThrottle } from "./pull-throttle.ts";
import { writeRecord } from "./record.ts";
import type { Reporter } from "./reporter.ts";
import { ProtocolError } from "./shape.ts";
import { type JobSpec, runsCommand } from "./spec.ts";
import { untilClosed } from "./step-engine.ts";

/** What a node process has on its host. */
export interface NodeSurroundings extends Omit<HostContext, "reporter" | "signal"> {
  readonly engine: Engine;
}

/** Finds out what this host has, as its own configuration and the user's settings say. */
export type Surroundings = (settings: HostSettings, spec: JobSpec, reporter: Reporter) => Promise<NodeSurroundings>;

/** The launch of one node, with all that belongs to it. */
interface Undertaking {
  readonly spec: JobSpec;
  readonly node: JobNode;
  readonly host: Host;
  readonly directory: JobDirectory;
  readonly joined: boolean;
  readonly engine: Engine;
  readonly udiImage: string;
  keys?: NodeKeys;
  kit?: OwnerKit;
  ownerSocket?: OwnerSocket;
  banners?: Promise<void>;
  attachment?: Attachment | undefined;
}

/**
 * A node process, from its connection to its launcher to the last file removed: it does on its host what the launcher says,
 * tells what happens, and clears all when the launcher says so, or is gone.
 */
export class NodeAgent {
  readonly #launcher: Launcher;
  readonly #surroundings: Surroundings;
  readonly #abort = new AbortController();
  /** Settled with the job's exit code when everything here is to be cleared. */
  readonly #over = new Deferred<number>();
  readonly #asked = new Map<number, (line: string) => void>();
  #asks = 0;
  #index: number | undefined;
  #places: FoldedPlaces | undefined;
  #undertaking: Promise<Undertaking> | undefined;
  #failed = false;
  /** How many nodes the job has. */
  #nodes = 1;
  #pulls: PullThrottle | undefined;

  constructor(launcher: Launcher, surroundings: Surroundings) {
    this.#launcher = launcher;
    this.#surroundings = surroundings;
  }

  /** Serves the launcher to the end. @returns when nothing is left here */
  async run(): Promise<void> {
    const { connection } = this.#launcher;
    connection.attend({
      onMessage: (message) => this.#hear(message),
      onEnd: () => this.#over.resolve(LAUNCHER_FAILED),
    });
    const exitCode = await this.#over.promise;
    this.#abort.abort(new GangwayError("the launch is over"));
    try {
      await this.#clear(exitCode);
      this.#say({ kind: "ended" });
    } finally {
      await connection.close();
    }
  }

  /** The process got a signal. What would end a program is the launcher's to decide about. */
  signalled(signal: number): void {
    this.#say({ kind: "signalled", signal });
  }

  /** This process is stopped with its job, and not dead. */
  #suspended(word: "suspend" | "resume"): Promise<void> | void {
    const { connection } = this.#launcher;
    return word === "suspend" ? connection.rest() : connection.wake();
  }

  /** The node cannot go on. */
  fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    const known = error instanceof GangwayError ? error : new GangwayError(reasonOf(error), { cause: error });
    const { message, hint, exitCode } = known;
    const taken = known instanceof JobTakenError;
    this.#say({ kind: "failed", message, exitCode, taken, ...(hint === undefined ? {} : { hint }) });
  }

  #say(message: ToLauncher): void {
    this.#launcher.connection.send(message);
  }

  #hear(received: unknown): void {
    try {
      this.#obey(parseToNode(received));
    } catch (error) {
      this.fail(error);
    }
  }

  #obey(message: ToNode): void {
    switch (message.kind) {
      case "index":
        this.#index = message.node;
        break;
      case "launch":
        this.#undertaking ??= this.#begin(message);
        this.#step((undertaking) => this.#prepare(undertaking));
        break;
      case "up":
        this.#step((undertaking) => this.#up(undertaking));
        break;
      case "places":
        this.#places = message.places;
        break;
      case "membership":
        this.#step((undertaking) => this.#admit(undertaking, message.trust));
        break;
      case "say": {
        const said = parseLauncherLine(message.line);
        if (said !== undefined) this.#step((undertaking) => sayTo(undertaking, said));
        break;
      }
      case "revocations":
        this.#step(async ({ host }) => host.writeRevocations(Buffer.from(message.list, "base64")));
        break;
      case "inspect":
        this.#step(async ({ host, node }) => {
          const [engineWent, outOfMemory] = await Promise.all([host.engineWent(node), host.ranOutOfMemory(node)]);
          this.#say({ kind: "inspected", id: message.id, engineWent, outOfMemory });
        });
        break;
      case "answer":
        this.#asked.get(message.id)?.(message.line);
        this.#asked.delete(message.id);
        break;
      case "end":
        this.#over.resolve(message.exitCode);
        break;
    }
  }

  /** What goes wrong is the launcher's to know; it says `end` then. */
  #step(work: (undertaking: Undertaking) => Promise<void>): void {
    const undertaking = this.#undertaking ?? Promise.reject(new GangwayError("there is no launch yet"));
    undertaking.then(work).catch((error: unknown) => this.fail(error));
  }

  readonly #reporter: Reporter = {
    note: (text) => this.#say({ kind: "note", text }),
    phase: () => undefined,
    pull: (image, progress) => {
      this.#pulls ??= new PullThrottle(this.#nodes, (told) => this.#say({ kind: "pull", image, progress: told }));
      this.#pulls.push(progress);
    },
    quiet: () => undefined,
  };

  // ---- prepare, up, membership ---------------------------------------------------------------------------------

  async #begin(told: Extract<ToNode, { kind: "launch" }>): Promise<Undertaking> {
    const { launcher, settings } = told;
    const index = this.#index;
    if (index === undefined) throw new ProtocolError("a launch before the node's index");
    const spec = specOnHost(told.spec, process.env);
    this.#nodes = spec.allocation.nodes.length;
    const { uid } = spec.account;
    if (uid !== process.getuid?.())
      throw new GangwayError(`this process is user ${process.getuid?.()}'s, the job ${uid}'s`);
    const surroundings = await this.#surroundings(settings, spec, this.#reporter);
    const allocated = required(spec.allocation.nodes[index]);
    const node = new JobNode(allocated, containerName(uid, spec.id, index), {
      onStopped: () => undefined,
      onLingering: () => undefined,
      onSession: () => undefined,
      onLost: () => this.#say({ kind: "closed" }),
    });
    const directory = new JobDirectory(surroundings.runBase, spec.id, surroundings.identity);
    const joined = directory.isOf(launcher);
    const context = {
      ...surroundings,
      reporter: this.#reporter,
      signal: this.#abort.signal,
      onSuspension: (word: "suspend" | "resume") => this.#suspended(word),
    };
    const place = { directory, joined, also: [] };
    const host = new Host(spec, [node], place, context, (line) => this.#say({ kind: "heard", line }));
    const { engine, udiImage } = surroundings;
    const undertaking: Undertaking = { spec, node, host, directory, joined, engine, udiImage };
    try {
      await host.begin();
      if (!joined) undertaking.ownerSocket = new OwnerSocket(directory.launcherSocket, (line) => this.#ask(line));
      return undertaking;
    } catch (error) {
      await dissolve(undertaking, LAUNCHER_FAILED);
      throw error;
    }
  }

  async #prepare(undertaking: Undertaking): Promise<void> {
    const { host, spec, node, joined } = undertaking;
    const { image, command, workdir } = await host.plan();
    const engine = kindOfEngine(await undertaking.engine.identify());
    this.#say({ kind: "planned", engine, image: contentDigest(image), command, workdir });
    const preparing = host.prepare();
    preparing.catch(() => undefined);
    // While the engine makes the container.
    const streams = runsCommand(spec, node.node) ? openStreams(this.#launcher) : undefined;
    const [prepared] = await preparing;
    const { keys, attachment } = required(prepared);
    undertaking.keys = keys;
    undertaking.attachment = attachment;
    if (attachment !== undefined && streams !== undefined) {
      void join(attachment, await streams).then((counts) => this.#say({ kind: "output", ...counts }));
    }
    this.#say({ kind: "prepared", ...keys, joined });
  }

  async #up(undertaking: Undertaking): Promise<void> {
    const { host, spec, joined, directory, udiImage } = undertaking;
    const { reports, banners } = await host.up(() => {
      if (spec.sshd && !joined) undertaking.kit = new OwnerKit(spec, directory, udiImage);
    });
    banners.catch(() => undefined);
    undertaking.banners = banners;
    const { port, addresses } = required(reports[0]);
    const { network } = await host.plan();
    const kitKey = undertaking.kit?.publicKey;
    this.#say({ kind: "up", port, addresses, network, ...(kitKey === undefined ? {} : { kitKey }) });
  }

  async #admit(undertaking: Undertaking, trust: Trust | null): Promise<void> {
    const places = this.#places;
    if (places === undefined) throw new ProtocolError("a membership before the nodes' places");
    const { spec, host, node, joined, directory, kit, udiImage } = undertaking;
    const { index } = node.node;
    const plan = await host.plan();
    const own = memberHere(plan, node.node, await node.up.promise, undertaking.keys?.hostKey ?? "");
    const members = membersAt(spec, places).map((member) =>
      member.node.index === index ? { ...member, hostKey: required(own.hostKey) } : member,
    );
    if (trust !== null) {
      host.admit(admissionOf(trust, members, index));
      if (kit !== undefined && trust.kitCertificate !== undefined) {
        kit.certify(trust.kitCertificate, trust.authority);
        kit.configure(members);
      }
    }
    if (!joined) {
      const { command, workdir } = plan;
      const authority = trust === null ? {} : { authority: trust.authority };
      writeRecord(spec, members, { command, workdir, udiImage, ...authority, here: [index] }, directory);
    }
    await undertaking.banners;
    this.#say({ kind: "answered" });
  }

  // ---- the owner on this host ----------------------------------------------------------------------------------

  /** Hands the owner's request on to the launcher. */
  #ask(line: string): Promise<string> {
    const id = ++this.#asks;
    return new Promise((resolve) => {
      this.#asked.set(id, resolve);
      this.#say({ kind: "ask", id, line });
    });
  }

  // ---- the end -------------------------------------------------------------------------------------------------

  async #clear(exitCode: number): Promise<void> {
    const undertaking = await this.#undertaking?.catch(() => undefined);
    if (undertaking !== undefined) await dissolve(undertaking, exitCode);
  }
}

/** A container that was told to end is removed as soon as it has, while the launcher still waits for the command's output. */
async function sayTo({ node, host }: Undertaking, said: LauncherMessage): Promise<void> {
  node.send(said);
  if (said !== "end") return;
  await node.closed.promise;
  await host.end();
}

/** Clears what there is of an undertaking. */
async function dissolve({ host, attachment, ownerSocket, engine }: Undertaking, exitCode: number): Promise<void> {
  await host.end();
  attachment?.destroy();
  await ownerSocket?.close(exitCode);
  await host.clear();
  engine.close();
  await untilClosed(engine);
}
