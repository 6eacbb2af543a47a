import { setTimeout as sleep } from "node:timers/promises";
import { foldHostlist } from "../allocation/hostlist.ts";
import { GangwayError, JobTakenError, LaunchError } from "../config/errors.ts";
import type { Attachment } from "../engine/types.ts";
import { generateChannelIdentity } from "../rendezvous/identity.ts";
import { Meeting, type PortRange } from "../rendezvous/meeting.ts";
import { heartbeat, Pulse } from "../rendezvous/pulse.ts";
import type { Started, Starter } from "../rendezvous/starter.ts";
import type { JobAuthority } from "./authority.ts";
import { requestsToLeave, within } from "./deferred.ts";
import { oddEngines } from "./engine-agreement.ts";
import { FarNode, type FarNodeEvents, ForMany } from "./far-node.ts";
import { keepHeapSmaller } from "./heap.ts";
import { type HostContext, type HostPlace, required } from "./host.ts";
import { requireOneImage } from "./image-agreement.ts";
import type { JobFacts, JobHosts, Upward } from "./job-hosts.ts";
import type { Member } from "./membership.ts";
import type { JobNode } from "./node.ts";
import { foldPlaces, type HostSettings, NODE_PROTOCOL, type ToNode } from "./node-protocol.ts";
import { lostNodes, shortened } from "./nodes-lost.ts";
import type { OwnerKit } from "./owner-kit.ts";
import { formatIdentity, thisProcess } from "./process.ts";
import { Rest } from "./rest.ts";
import { type JobSpec, runsCommand } from "./spec.ts";
import { sweep } from "./sweep.ts";
import { inTurns } from "./turns.ts";
import { Watchdog } from "./watchdog.ts";

export interface FarContext extends Omit<HostContext, "engine" | "signal" | "cacheDirectory" | "view"> {
  readonly upward: Upward;
  readonly starter: Starter;
  /** Of this Gangway. */
  readonly version: string;
  /** The program and its words up to the command's name, as it is called on the hosts. */
  readonly program: readonly string[];
  readonly settings: HostSettings;
  readonly ports: PortRange | undefined;
  /** After so long without a word a node is lost, milliseconds. */
  readonly silenceMs: number;
  /** Whether nodes may have images of one name that differ. */
  readonly imagesMayDiffer: boolean;
}

/** When one node fails, others are about to for the same reason: a message should name them together. */
const GATHER_MS = 300;
/** How long nodes may take to clear, before they are left to their watchdogs. */
const CLEAR_LIMIT_MS = 30_000;
/** Standard input, output and error of a command. */
const STREAMS = 3;

/** The nodes of a job on several hosts, each led by a process there (docs/internals.md, section 11). */
export class FarHosts implements JobHosts {
  readonly nodes: readonly JobNode[];
  readonly #spec: JobSpec;
  readonly #place: HostPlace;
  readonly #context: FarContext;
  readonly #far: readonly FarNode[];
  readonly #identity = generateChannelIdentity();
  readonly #rest = new Rest(() => this.#far.map(({ connection }) => connection));
  #stopHeeding: () => void = () => undefined;
  #watchdog: Watchdog | undefined;
  #created = false;
  #meeting: Meeting | undefined;
  #started: Started | undefined;
  #attachments: readonly Attachment[] = [];
  #here: readonly number[] = [];
  /** Those that the launch waits for just now. */
  #awaited: ReadonlySet<FarNode> = new Set();

  constructor(spec: JobSpec, nodes: readonly JobNode[], place: HostPlace, context: FarContext) {
    this.#spec = spec;
    this.nodes = nodes;
    this.#place = place;
    this.#context = context;
    const events: FarNodeEvents = {
      onNote: (text) => context.reporter.note(text),
      onPull: ({ image, progress }, node) => context.reporter.pull(image, progress, node),
      onSignal: context.upward.onSignal,
      onAsk: context.upward.answer,
    };
    this.#far = nodes.map((node) => new FarNode(node, events));
  }

  get here(): readonly number[] {
    return this.#here;
  }

  get attachments(): readonly Attachment[] {
    return this.#attachments;
  }

  get missing(): readonly string[] {
    return [...this.#awaited].map(({ name }) => name);
  }

  // ---- start ---------------------------------------------------------------------------------------------------

  async begin(): Promise<void> {
    const { directory, also } = this.#place;
    const { udiImage, identity } = this.#context;
    directory.claim();
    const { ports, silenceMs } = this.#context;
    const pulse = new Pulse(heartbeat(silenceMs));
    const streams = STREAMS * this.#commanded.length;
    this.#meeting = await Meeting.open(
      { identity: this.#identity, nodes: this.#far.length, streams, pulse, ...(ports && { ports }) },
      {
        onKept: (node, connection) => this.#far[node]?.meet(connection),
        onStream: (node, name, link) => {
          const far = this.#far[node];
          if (far === undefined) link.refuse();
          else far.takeStream(name, link);
        },
      },
    );
    await this.#start(this.#meeting);
    // While the hosts are reached: what is made there is looked after there.
    this.#watchdog = new Watchdog(udiImage, NO_ENGINE, directory.path, identity, [], also);
    directory.create([]);
    this.#created = true;
    this.#stopHeeding = this.#rest.listen();
  }

  async #start(meeting: Meeting): Promise<void> {
    const addresses = await meeting.addresses();
    if (addresses.length === 0) {
      throw new GangwayError("this host has no address that the job's nodes could reach it by", {
        hint: "is its network up? (ip addr)",
      });
    }
    const { starter, program, version, silenceMs } = this.#context;
    const { id, account } = this.#spec;
    const argv = [
      ...[...program, "node", "--protocol", `${NODE_PROTOCOL}`, "--gangway", version],
      ...["--job", id, "--uid", `${account.uid}`, "--meet", addresses.join(",")],
      ...["--port", `${meeting.port}`, "--key", this.#identity.fingerprint, "--silence", `${silenceMs}`],
    ];
    const nodes = this.#far.map(({ index, name }) => ({ index, name }));
    this.#started = starter.start(
      { nodes, argv, env: process.env },
      {
        onFrame: (frame, node) => {
          const far = this.#far[node];
          if (far === undefined) return;
          if (frame.kind !== "hello") far.hearFrame(frame);
          else if (frame.version === version) meeting.admit(node, frame.fingerprint);
          else far.fail(`it has Gangway ${frame.version}, and the launcher has ${version}`, SAME_VERSION);
        },
        onEnd: (ended, reason, hint) => this.#processesEnded(ended, reason, hint),
      },
    );
  }

  #processesEnded(ended: readonly number[], reason: string, hint = ENDED): void {
    for (const index of ended) {
      const far = this.#far[index];
      const what = `its process ended (${reason})`;
      const about = this.#started?.about(index);
      // What was said before it came, long ago, is no reason.
      if (far?.connection !== undefined) far.fail(what, KILLED);
      else far?.fail(about === undefined ? what : `${what}: ${about}`, hint);
    }
  }

  // ---- the phases ----------------------------------------------------------------------------------------------

  async plan(meanwhile: () => void): Promise<JobFacts> {
    // The node processes have yet to be started.
    await requestsToLeave();
    meanwhile();
    const { prepareTimeoutMs } = this.#spec;
    const limit = `${prepareTimeoutMs / 1000} s`;
    const launcher = formatIdentity(thisProcess());
    const { settings, upward } = this.#context;
    const launch = new ForMany({ kind: "launch", spec: this.#spec, launcher, settings });
    // Who comes first does not wait for the last, and what it makes is cleared where that one never comes. How it fares is
    // looked at when all have come, so that those that fail for the same reason are named together.
    const begun = this.#all(async (far) => {
      await far.came.promise;
      upward.signal.throwIfAborted();
      far.say({ kind: "index", node: far.index });
      far.say(launch);
    });
    await within(begun, prepareTimeoutMs, () => this.#late(`did not come within ${limit}`));
    const plans = await this.#all(({ planned }) => planned.promise);
    if (!this.#context.imagesMayDiffer) {
      const images = plans.map(({ image }, index) => ({ node: required(this.#far[index]).name, image }));
      requireOneImage(this.#spec.image, images);
    }
    for (const note of oddEngines(
      plans.map(({ engine }, index) => ({ node: required(this.#far[index]).name, engine })),
    )) {
      this.#context.reporter.note(note);
    }
    const { command, workdir } = required(plans[0]);
    return { command, workdir };
  }

  /** Nodes that started and never came: what was said about them tells why. */
  #late(what: string): LaunchError {
    const late = [...this.#awaited];
    for (const far of late) {
      const about = this.#started?.about(far.index);
      far.fail(about === undefined ? `its process ${what}` : `its process ${what}: ${about}`, LATE);
    }
    return lostNodes(late);
  }

  async prepare(): Promise<void> {
    const up = new ForMany({ kind: "up" });
    // As soon as its container exists: the containers of the others do not depend on it.
    const prepared = await this.#all(async (far) => {
      const said = await far.prepared.promise;
      this.#context.upward.signal.throwIfAborted();
      far.say(up);
      return said;
    });
    this.#here = prepared.flatMap(({ joined }, index) => (joined ? [index] : []));
    this.#attachments = await Promise.all(this.#commanded.map((far) => far.attachment()));
  }

  /** Those that run the command. */
  get #commanded(): readonly FarNode[] {
    return this.#far.filter(({ node }) => runsCommand(this.#spec, node.node));
  }

  async up(meanwhile: () => void): Promise<readonly Member[]> {
    keepHeapSmaller(this.#far.length);
    meanwhile();
    const ups = await this.#all(({ up }) => up.promise);
    return await Promise.all(
      this.#far.map(async ({ node, came, prepared }, index): Promise<Member> => {
        const { port, addresses, network } = required(ups[index]);
        const { hostKey } = await prepared.promise;
        const { remoteAddress } = await came.promise;
        const address = network === "host" ? remoteAddress : (addresses[0] ?? remoteAddress);
        return { node: node.node, address, ownAddresses: [address], port, addresses: [address], hostKey };
      }),
    );
  }

  async admit(members: readonly Member[], authority: JobAuthority, kit: OwnerKit): Promise<void> {
    const places = new ForMany({ kind: "places", places: foldPlaces(members) });
    await inTurns(this.#far, this.#context.upward.signal, async (far, index) => {
      const { hostKey, userKey } = await far.prepared.promise;
      const { kitKey } = await far.up.promise;
      const { host, user } = authority.signNode(required(members[index]), { hostKey, userKey });
      const trust = {
        authority: authority.publicKey,
        hostCertificate: host,
        userCertificate: user,
        ...(kitKey === undefined ? {} : { kitCertificate: authority.signKit(kitKey) }),
        kitKeys: [kit.publicKey, ...(kitKey === undefined ? [] : [kitKey])],
      };
      far.say(places);
      far.say({ kind: "membership", trust });
    });
  }

  async answered(members: readonly Member[]): Promise<void> {
    if (!this.#spec.sshd) {
      this.#tellAll({ kind: "places", places: foldPlaces(members) });
      this.#tellAll({ kind: "membership", trust: null });
    }
    await this.#all(({ answered }) => answered.promise);
  }

  #tellAll(message: ToNode): void {
    const forMany = new ForMany(message);
    for (const far of this.#far) far.say(forMany);
  }

  /** Waits for something of every node; of several that fail at about the same time, all are named. */
  async #all<T>(pick: (far: FarNode) => Promise<T>): Promise<T[]> {
    const awaited = new Set(this.#far);
    this.#awaited = awaited;
    try {
      return await Promise.all(
        this.#far.map(async (far) => {
          const value = await pick(far);
          awaited.delete(far);
          return value;
        }),
      );
    } catch (error) {
      await sleep(GATHER_MS);
      const lost = this.#far.filter((far) => far.error !== undefined);
      const taken = lost.find((far) => far.taken)?.error;
      // The node is none to do without: under another name the launch may go on with it.
      if (taken !== undefined) throw new JobTakenError(taken.message, { cause: taken, ...hintOf(taken) });
      throw lost.length === 0 ? error : lostNodes(lost);
    }
  }

  // ---- while it runs -------------------------------------------------------------------------------------------

  async engineWent(node: JobNode): Promise<boolean> {
    return await this.#farOf(node)
      .inspect()
      .then(({ engineWent }) => engineWent)
      .catch(() => true);
  }

  async ranOutOfMemory(node: JobNode): Promise<boolean> {
    return await this.#farOf(node)
      .inspect()
      .then(({ outOfMemory }) => outOfMemory)
      .catch(() => false);
  }

  async outputIsWhole(node: JobNode): Promise<boolean> {
    return await this.#farOf(node).outputIsWhole();
  }

  #farOf({ node }: JobNode): FarNode {
    return required(this.#far[node.index]);
  }

  writeRevocations(list: Uint8Array): void {
    this.#tellAll({ kind: "revocations", list: Buffer.from(list).toString("base64") });
  }

  async rest(): Promise<void> {
    await this.#rest.begin();
  }

  wake(): void {
    this.#rest.end();
  }

  // ---- the end -------------------------------------------------------------------------------------------------

  async end(exitCode: number): Promise<void> {
    const there = this.#far.filter(({ connection }) => connection !== undefined);
    this.#tellAll({ kind: "end", exitCode });
    const limit = new LaunchError("the nodes", "not cleared in time");
    await within(Promise.all(there.map(({ over }) => over.promise)), CLEAR_LIMIT_MS, () => limit).catch(
      () => undefined,
    );
    await Promise.all([this.#started?.stop(), this.#meeting?.close()]);
    this.#stopHeeding();
    const silent = there.filter(({ confirmed }) => !confirmed);
    if (silent.length > 0) await this.#sweep(silent);
  }

  async #sweep(silent: readonly FarNode[]): Promise<void> {
    const { starter, program, settings, reporter } = this.#context;
    const nodes = silent.map(({ index, name }) => ({ index, name }));
    if (await sweep(starter, nodes, program, settings.engine)) return;
    const names = shortened(foldHostlist(nodes.map(({ name }) => name)));
    reporter.note(`${names}: not known to be cleared; \`gangway gc\` there, or the next launch, clears what is left`);
  }

  async clear(): Promise<void> {
    if (this.#created) this.#place.directory.remove();
    await this.#watchdog?.dismiss();
  }
}

function hintOf({ hint }: LaunchError): { hint?: string } {
  return hint === undefined ? {} : { hint };
}

/** A watchdog without containers asks no engine. */
const NO_ENGINE = "/nonexistent";
const SAME_VERSION = "install the same version of Gangway on every host";
const ENDED = "is Gangway installed there, at the same path? the manager may also have ended it";
const KILLED = "somebody, or the manager, ended it; the job was ended with it";
const LATE = "can it reach this host by TCP? (setting rendezvousPorts, for a firewall)";
