import type { Socket } from "node:net";
import { sourceOf } from "./source.ts";

/** Times and numbers by which strangers are kept from using up what the launcher has. */
export interface DoorLimits {
  /** Once it is its turn, a TCP connection must have proven itself after so long, milliseconds. */
  readonly handshakeMs: number;
  /** One that nobody knows yet is held so long, milliseconds. */
  readonly heldMs: number;
  /** Handshakes under way at a time: more would only each take longer, and more memory. */
  readonly turns: number;
  /** Of these, from one source. */
  readonly turnsPerSource: number;
  /** Where others wait, a handshake that has taken so long gives its turn up, milliseconds. */
  readonly yieldMs: number;
}

export const DOOR_LIMITS: DoorLimits = {
  handshakeMs: 10_000,
  heldMs: 60_000,
  turns: 256,
  turnsPerSource: 32,
  yieldMs: 2000,
};

interface Entry {
  readonly socket: Socket;
  readonly source: string;
  readonly since: number;
}

/** Connections by their source, those of each in the order in which they came. */
type BySource = Map<string, Set<Socket>>;

/**
 * Connections that stand at the door, in the order in which they came, and no more of them than a limit. When there are
 * too many, one of the source with the most must go: so a stranger, who has few addresses, takes the places of his own
 * connections, and not the nodes'. The oldest that has said nothing goes first: a node speaks at once.
 */
export class Door {
  readonly #most: number;
  readonly #entries = new Map<Socket, Entry>();
  readonly #silent: BySource = new Map();
  readonly #ready: BySource = new Map();

  constructor(most: number) {
    this.#most = most;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Lets one in that has nothing more to say here; another may have to go for it. */
  add(socket: Socket, now: number): void {
    this.#enter(socket, now, this.#ready);
  }

  /** Lets one in that has said nothing yet; another may have to go for it. */
  addSilent(socket: Socket, now: number): void {
    this.#enter(socket, now, this.#silent);
  }

  /** One that was silent has spoken. */
  speak(socket: Socket): void {
    const entry = this.#entries.get(socket);
    if (entry === undefined || !take(this.#silent, entry)) return;
    put(this.#ready, entry);
  }

  /** How many stand here from one source. */
  countFrom(source: string): number {
    return (this.#silent.get(source)?.size ?? 0) + (this.#ready.get(source)?.size ?? 0);
  }

  /** All that stand here, the oldest first. */
  all(): Socket[] {
    return [...this.#entries.keys()];
  }

  /**
   * Takes the oldest of the source whose turn it is, each source in turn; none that is silent.
   *
   * @param mayGo whether one of that source may go just now
   */
  take(mayGo: (source: string) => boolean): Socket | undefined {
    for (const [source, sockets] of this.#ready) {
      if (!mayGo(source)) continue;
      const [oldest] = sockets;
      if (oldest === undefined) continue;
      this.remove(oldest);
      if (sockets.size > 0) {
        this.#ready.delete(source);
        this.#ready.set(source, sockets);
      }
      return oldest;
    }
    return undefined;
  }

  /** It has gone on, or away. @returns whether it stood here */
  remove(socket: Socket): boolean {
    const entry = this.#entries.get(socket);
    if (entry === undefined) return false;
    this.#entries.delete(socket);
    if (!take(this.#silent, entry)) take(this.#ready, entry);
    return true;
  }

  /**
   * Closes the oldest, of a source or of all, that has stood here since `before` or longer.
   *
   * @returns whether there was one
   */
  yieldOne(before: number, source?: string): boolean {
    const [oldest] = source === undefined ? this.#entries.keys() : (this.#ready.get(source) ?? []);
    const entry = oldest && this.#entries.get(oldest);
    if (entry === undefined || entry.since > before) return false;
    this.#drop(entry.socket);
    return true;
  }

  /** Closes all that have stood here since `before` or longer. */
  expire(before: number): void {
    for (const { socket, since } of this.#entries.values()) {
      if (since > before) return;
      this.#drop(socket);
    }
  }

  /** Closes all that have said nothing since `before` or longer. */
  expireSilent(before: number): void {
    for (const sockets of this.#silent.values()) {
      for (const socket of sockets) {
        if ((this.#entries.get(socket)?.since ?? before) > before) break;
        this.#drop(socket);
      }
    }
  }

  clear(): void {
    this.expire(Number.POSITIVE_INFINITY);
  }

  #enter(socket: Socket, now: number, where: BySource): void {
    const entry = { socket, source: sourceOf(socket.remoteAddress ?? ""), since: now };
    this.#entries.set(socket, entry);
    put(where, entry);
    if (this.#entries.size <= this.#most) return;
    const largest = this.#largest();
    const [goes] = this.#silent.get(largest) ?? this.#ready.get(largest) ?? [];
    if (goes !== undefined) this.#drop(goes);
  }

  #drop(socket: Socket): void {
    this.remove(socket);
    socket.destroy();
  }

  #largest(): string {
    let largest = "";
    for (const sources of [this.#silent, this.#ready]) {
      for (const source of sources.keys()) if (this.countFrom(source) > this.countFrom(largest)) largest = source;
    }
    return largest;
  }
}

function put(where: BySource, { socket, source }: Entry): void {
  const same = where.get(source);
  if (same === undefined) where.set(source, new Set([socket]));
  else same.add(socket);
}

/** @returns whether it was there */
function take(where: BySource, { socket, source }: Entry): boolean {
  const same = where.get(source);
  if (same?.delete(socket) !== true) return false;
  if (same.size === 0) where.delete(source);
  return true;
}
