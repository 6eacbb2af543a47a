// A launcher's meeting and nodes that come to it, in one process.
import type { Socket } from "node:net";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { type DialRequest, dial } from "../../src/rendezvous/dial.ts";
import { generateChannelIdentity } from "../../src/rendezvous/identity.ts";
import type { EndReason, KeptConnection } from "../../src/rendezvous/kept.ts";
import { Meeting, type MeetingOptions } from "../../src/rendezvous/meeting.ts";
import type { StreamLink } from "../../src/rendezvous/streams.ts";

export const launcher = generateChannelIdentity();
export const node = generateChannelIdentity();

/** What has come, and what is still waited for. */
export class Arrivals<T> {
  readonly #items: T[] = [];
  #waiting: ((item: T) => void) | undefined;

  add(item: T): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) this.#items.push(item);
    else waiting(item);
  }

  next(): Promise<T> {
    const item = this.#items.shift();
    return item === undefined ? new Promise((resolve) => (this.#waiting = resolve)) : Promise.resolve(item);
  }

  get count(): number {
    return this.#items.length;
  }
}

export interface Open {
  readonly meeting: Meeting;
  readonly kept: Arrivals<{ node: number; connection: KeptConnection }>;
  readonly streams: Arrivals<{ node: number; name: string; link: StreamLink }>;
}

/** What a test leaves open, to be closed by {@link closeAll}, the latest first. */
export const closing: (() => Promise<unknown> | unknown)[] = [];
export async function closeAll(): Promise<void> {
  for (const close of closing.splice(0).reverse()) await close();
}

export async function open(options: Partial<MeetingOptions> = {}): Promise<Open> {
  const kept: Open["kept"] = new Arrivals();
  const streams: Open["streams"] = new Arrivals();
  const meeting = await Meeting.open(
    { identity: launcher, nodes: 4, ...options },
    {
      onKept: (index, connection) => kept.add({ node: index, connection }),
      onStream: (index, name, link) => streams.add({ node: index, name, link }),
    },
  );
  closing.push(() => meeting.close());
  return { meeting, kept, streams };
}

export async function reach({ meeting }: Open, request: Partial<DialRequest> = {}) {
  const reached = await dial({
    addresses: ["127.0.0.1"],
    port: meeting.port,
    key: launcher.fingerprint,
    identity: node,
    timeoutMs: 10_000,
    ...request,
  });
  closing.push(() => reached.connection.close());
  return reached;
}

export function listenTo(connection: KeptConnection) {
  const messages = new Arrivals<unknown>();
  const ends = new Arrivals<EndReason>();
  connection.attend({ onMessage: (message) => messages.add(message), onEnd: (reason) => ends.add(reason) });
  return { messages, ends };
}

/** Both ends of a kept connection. */
export async function meet(options: Partial<MeetingOptions> = {}) {
  const there = await open(options);
  there.meeting.admit(2, node.fingerprint);
  const reached = await reach(there);
  const { connection } = await there.kept.next();
  return { ...there, reached, connection };
}

/** Resolves when a connection is over, however that came. */
export async function over(socket: Socket): Promise<void> {
  socket.on("error", () => undefined);
  socket.resume();
  if (!socket.closed) await new Promise<void>((resolve) => socket.once("close", () => resolve()));
}

export function raw(meeting: Meeting, options: ConnectionOptions = {}): TLSSocket {
  return connect({ host: "127.0.0.1", port: meeting.port, rejectUnauthorized: false, ...options });
}
