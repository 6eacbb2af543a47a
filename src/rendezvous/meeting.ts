import type { TLSSocket } from "node:tls";
import { monotonicMs } from "../config/clock.ts";
import { ownAddresses } from "./addresses.ts";
import { DOOR_LIMITS, Door, type DoorLimits } from "./door.ts";
import { CHANNEL_PROTOCOL, formatFirstLine, readFirstLine } from "./first-line.ts";
import type { ChannelIdentity } from "./identity.ts";
import { KeptConnection } from "./kept.ts";
import { checkDescriptors, type PortRange } from "./listen.ts";
import { Pulse } from "./pulse.ts";
import { StreamLink } from "./streams.ts";
import { Threshold } from "./threshold.ts";

export type { PortRange } from "./listen.ts";

export interface MeetingOptions {
  readonly identity: ChannelIdentity;
  /** How many nodes will come. */
  readonly nodes: number;
  /** How many connections for bytes they will open in all, perhaps at once; a few without it. */
  readonly streams?: number;
  /** The setting `rendezvousPorts`; any port without it. */
  readonly ports?: PortRange;
  readonly pulse?: Pulse;
  readonly limits?: DoorLimits;
}

export interface MeetingEvents {
  /** A node that was admitted has come. {@link KeptConnection.attend} it now. */
  onKept(node: number, connection: KeptConnection): void;
  /** A node that has come opened a connection for the bytes of one direction. */
  onStream(node: number, name: string, link: StreamLink): void;
}

/** Beyond one for each node and stream. */
const SPARE_PLACES = 256;
/** Connections for bytes that one node may have at once. */
const MOST_STREAMS = 16;
const SWEEP_MS = 1000;
/** What all nodes open may stand at the door at the same time: none of it must have to go for another. */
function placesFor({ nodes, streams = 0 }: MeetingOptions): number {
  return nodes + streams + SPARE_PLACES;
}

interface Known {
  readonly node: number;
  came: boolean;
  /** Few nodes ever have any. */
  streams: Set<TLSSocket> | undefined;
}

/**
 * Where the nodes of a launch meet their launcher: a TCP port with TLS 1.3, at which each node is known by the fingerprint of
 * its key (docs/internals.md, section 11). What nobody knows, is too slow, or is too much, is hung up on without a word.
 */
export class Meeting {
  readonly #pulse: Pulse;
  readonly #limits: DoorLimits;
  readonly #events: MeetingEvents;
  readonly #known = new Map<string, Known>();
  /** Who is known, and has not said yet what the connection is. */
  readonly #speaking: Door;
  /** Who has proven a key, but nobody has said yet whose that is. */
  readonly #held: Door;
  readonly #heldBy = new Map<string, TLSSocket[]>();
  readonly #kept = new Set<KeptConnection>();
  readonly #sweep: NodeJS.Timeout;
  #threshold: Threshold | undefined;

  private constructor(options: MeetingOptions, events: MeetingEvents) {
    const { pulse = new Pulse(), limits = DOOR_LIMITS } = options;
    const places = placesFor(options);
    this.#events = events;
    this.#pulse = pulse;
    this.#limits = limits;
    this.#held = new Door(places);
    this.#speaking = new Door(places);
    this.#sweep = setInterval(() => this.#expire(monotonicMs()), Math.min(SWEEP_MS, limits.handshakeMs));
    this.#sweep.unref();
  }

  /**
   * Listens on every address, IPv6 and IPv4.
   *
   * @throws GangwayError when no port can be had, or this process may not open so many connections
   */
  static async open(options: MeetingOptions, events: MeetingEvents): Promise<Meeting> {
    const { identity, nodes, ports, limits = DOOR_LIMITS } = options;
    const places = placesFor(options);
    checkDescriptors(nodes, places - nodes);
    const meeting = new Meeting(options, events);
    try {
      meeting.#threshold = await Threshold.open({ identity, places, ports, limits }, (socket, fingerprint) => {
        const known = meeting.#known.get(fingerprint);
        if (known === undefined) meeting.#hold(socket, fingerprint);
        else void meeting.#welcome(socket, known);
      });
    } catch (error) {
      clearInterval(meeting.#sweep);
      throw error;
    }
    return meeting;
  }

  get port(): number {
    return this.#threshold?.port ?? 0;
  }

  /** This host's addresses that are worth dialling, the best first. */
  addresses(): Promise<string[]> {
    return ownAddresses();
  }

  /**
   * Says whose key a fingerprint is: that node's connection is taken, now if it is there already.
   *
   * @param node its index in the allocation
   */
  admit(node: number, fingerprint: string): void {
    if (this.#known.has(fingerprint)) return;
    const known: Known = { node, came: false, streams: undefined };
    this.#known.set(fingerprint, known);
    for (const socket of this.#heldBy.get(fingerprint) ?? []) {
      this.#held.remove(socket);
      void this.#welcome(socket, known);
    }
    this.#heldBy.delete(fingerprint);
  }

  /** Ends everything: what was said is still handed over, for two seconds at most. */
  async close(): Promise<void> {
    clearInterval(this.#sweep);
    const shut = this.#threshold?.close();
    this.#held.clear();
    this.#speaking.clear();
    for (const { streams = [] } of this.#known.values()) for (const socket of streams) socket.destroy();
    await Promise.all([...this.#kept].map((connection) => connection.close()));
    await shut;
  }

  #hold(socket: TLSSocket, fingerprint: string): void {
    const same = this.#heldBy.get(fingerprint) ?? [];
    this.#heldBy.set(fingerprint, [...same, socket]);
    this.#held.add(socket, monotonicMs());
    socket.once("close", () => {
      this.#held.remove(socket);
      const others = this.#heldBy.get(fingerprint)?.filter((other) => other !== socket) ?? [];
      if (others.length > 0) this.#heldBy.set(fingerprint, others);
      else this.#heldBy.delete(fingerprint);
    });
  }

  async #welcome(socket: TLSSocket, known: Known): Promise<void> {
    this.#speaking.add(socket, monotonicMs());
    const { line, early } = await readFirstLine(socket).catch(() => ({ line: undefined, early: Buffer.alloc(0) }));
    this.#speaking.remove(socket);
    if (line?.kind === "kept" && line.protocol === CHANNEL_PROTOCOL && !known.came) {
      known.came = true;
      socket.write(formatFirstLine({ kind: "kept", protocol: CHANNEL_PROTOCOL }));
      const connection = new KeptConnection(socket, this.#pulse, early);
      this.#kept.add(connection);
      socket.once("close", () => this.#kept.delete(connection));
      this.#events.onKept(known.node, connection);
    } else if (line?.kind === "stream" && known.came && (known.streams?.size ?? 0) < MOST_STREAMS) {
      known.streams ??= new Set();
      known.streams.add(socket);
      socket.once("close", () => known.streams?.delete(socket));
      this.#events.onStream(known.node, line.name, new StreamLink(socket, early));
    } else socket.destroy();
  }

  #expire(now: number): void {
    this.#speaking.expire(now - this.#limits.handshakeMs);
    this.#held.expire(now - this.#limits.heldMs);
  }
}
