import type { ConnectionEntry, ConnectionKey, SessionEntry } from "./owner-protocol.ts";
import type { SessionMessage } from "./session-lines.ts";

/** Far above what init lets in; what it says comes out of a container. */
const MOST_CONNECTIONS = 20_000;
const MOST_SESSIONS = 1024;
/** Open ones of all connections together. */
const MOST_SESSIONS_IN_ALL = 20_000;
/**
 * Code in the job runs as the user that the sshds run as, and could tell init of sessions without end: it must neither fill
 * the launcher's memory nor wash the audit log out. So many are noted at once, and so many a second.
 */
const NOTED_AT_ONCE = 2000;
const NOTED_A_SECOND = 50;
/** A connection usually ends right behind its session: so long the session's line waits for the count of bytes. */
const BYTES_WAIT_MS = 1000;

/** A session that ended, or a connection without one. */
export interface AuditRecord {
  readonly node: string;
  readonly connection: number;
  readonly way: "socket" | "tcp";
  readonly from: string | null;
  readonly key: ConnectionKey;
  /** `forward`: a connection that had no session; `connection`: the end of one whose sessions were told before. */
  readonly kind: SessionEntry["kind"] | "forward" | "connection";
  readonly tty: string | null;
  readonly command: string | null;
  /** ISO 8601. */
  readonly start: string;
  readonly end: string;
  /** Null: it had not ended when its connection did, or that is not known. */
  readonly exit: number | null;
  /** Of the whole connection, in the line that is its last; null in every other, and where it is not known. */
  readonly bytes: { readonly received: number; readonly sent: number } | null;
  /** Sessions of the connection that came too fast to be noted; only in the line that is its last, else 0. */
  readonly unnoted: number;
}

type Login = Extract<SessionMessage, { kind: "login" }>;
type Told = Pick<AuditRecord, "kind" | "tty" | "command" | "start" | "end" | "exit">;

interface Connection {
  readonly node: string;
  readonly login: Login;
  readonly since: string;
  readonly sessions: Map<number, SessionEntry>;
  /** Ended, and not yet told. */
  ended: Told[];
  told: boolean;
  unnoted: number;
  timer?: NodeJS.Timeout;
}

/** What may be noted now, by the clock of the lines heard. */
class Allowance {
  #left = NOTED_AT_ONCE;
  #last = 0;

  take(now: number): boolean {
    const more = Math.max(0, ((now - this.#last) / 1000) * NOTED_A_SECOND);
    this.#left = Math.min(NOTED_AT_ONCE, this.#left + more);
    this.#last = Math.max(this.#last, now);
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}

/**
 * The connections into all nodes of a job with their sessions, as the nodes' inits tell of them; each session that ends is
 * handed on.
 */
export class SessionTable {
  readonly #connections = new Map<string, Connection>();
  readonly #onEnd: (record: AuditRecord) => void;
  readonly #allowance = new Allowance();
  #open = 0;

  constructor(onEnd: (record: AuditRecord) => void) {
    this.#onEnd = onEnd;
  }

  /** @param node its name */
  hear(node: string, message: SessionMessage, now = new Date()): void {
    const name = `${message.connection} ${node}`;
    const time = now.toISOString();
    if (message.kind === "login") {
      if (this.#connections.size >= MOST_CONNECTIONS || this.#connections.has(name)) return;
      const connection: Connection = {
        node,
        login: message,
        since: time,
        sessions: new Map(),
        ended: [],
        told: false,
        unnoted: 0,
      };
      this.#connections.set(name, connection);
      return;
    }
    const connection = this.#connections.get(name);
    if (connection === undefined) return;
    if (message.kind === "open") this.#begin(connection, message, now);
    else if (message.kind === "close") this.#close(connection, message.session, message.exit, time);
    else {
      const { received, sent } = message;
      this.#connections.delete(name);
      this.#end(connection, received === null || sent === null ? null : { received, sent }, time);
    }
  }

  /** The node's init is gone, and every connection with it. */
  lost(node: string, now = new Date()): void {
    for (const [name, connection] of this.#connections) {
      if (connection.node !== node) continue;
      this.#connections.delete(name);
      this.#end(connection, null, now.toISOString());
    }
  }

  /** Those that are open. */
  list(): ConnectionEntry[] {
    return [...this.#connections.values()].map(({ node, login, since, sessions }) => ({
      node,
      connection: login.connection,
      way: login.way,
      from: login.from,
      key: keyOf(login),
      since,
      sessions: [...sessions.values()],
    }));
  }

  /** How many open connections logged in by a certificate's serial number. */
  countOf(serial: string): number {
    let count = 0;
    for (const { login } of this.#connections.values()) if (login.serial === serial) count += 1;
    return count;
  }

  #begin(connection: Connection, message: Extract<SessionMessage, { kind: "open" }>, now: Date): void {
    const { session, tty, what, command } = message;
    const since = now.toISOString();
    // sshd uses a number again when its session is over: a close that got lost is made up for.
    this.#close(connection, session, null, since);
    const full = connection.sessions.size >= MOST_SESSIONS || this.#open >= MOST_SESSIONS_IN_ALL;
    if (full || !this.#allowance.take(now.getTime())) {
      connection.unnoted += 1;
      return;
    }
    connection.sessions.set(session, { tty, kind: what, command, since });
    this.#open += 1;
  }

  #close(connection: Connection, number: number, exit: number | null, end: string): void {
    const session = connection.sessions.get(number);
    if (session === undefined) return;
    connection.sessions.delete(number);
    this.#open -= 1;
    const { tty, kind, command, since } = session;
    connection.ended.push({ kind, tty, command, start: since, end, exit });
    connection.timer ??= setTimeout(() => this.#tell(connection, null), BYTES_WAIT_MS).unref();
    if (connection.ended.length >= MOST_SESSIONS) this.#tell(connection, null);
  }

  #end(connection: Connection, bytes: AuditRecord["bytes"], end: string): void {
    for (const number of [...connection.sessions.keys()]) this.#close(connection, number, null, end);
    if (connection.ended.length === 0 && (!connection.told || bytes !== null || connection.unnoted > 0)) {
      const kind = connection.told || connection.unnoted > 0 ? "connection" : "forward";
      connection.ended.push({ kind, tty: null, command: null, start: connection.since, end, exit: null });
    }
    this.#tell(connection, bytes, connection.unnoted);
  }

  #tell(connection: Connection, bytes: AuditRecord["bytes"], unnoted = 0): void {
    clearTimeout(connection.timer);
    delete connection.timer;
    const { node, login, ended } = connection;
    connection.ended = [];
    connection.told = true;
    const { connection: number, way, from } = login;
    for (const [index, told] of ended.entries()) {
      const last = index === ended.length - 1;
      const ofAll = last ? { bytes, unnoted } : { bytes: null, unnoted: 0 };
      this.#onEnd({ node, connection: number, way, from, key: keyOf(login), ...told, ...ofAll });
    }
  }
}

function keyOf({ serial, fingerprint, keyId }: Login): ConnectionKey {
  return { serial, fingerprint, id: keyId };
}
