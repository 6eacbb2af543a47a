import type { AllocatedNode } from "../allocation/allocation.ts";
import { LaunchError } from "../config/errors.ts";
import type { InitMessage, LauncherMessage } from "./control.ts";
import { Deferred } from "./deferred.ts";
import type { SessionMessage } from "./session-lines.ts";

/** Where a node's container can be reached. */
export interface UpReport {
  /** 0: no TCP. */
  readonly port: number;
  readonly addresses: readonly string[];
}

/** How the command of a node ended; "lost": its container ended without a word. */
export type NodeEnd =
  | { readonly kind: "exit"; readonly code: number }
  | { readonly kind: "signal"; readonly signal: number; readonly core: boolean }
  | { readonly kind: "lost" };

export interface NodeEvents {
  onStopped(): void;
  onLingering(sessions: number): void;
  /** Somebody logged in, a session began or ended, somebody left. */
  onSession(message: SessionMessage): void;
  /** Init is gone. Called once. */
  onLost(): void;
}

/** The way to a node's init: its control channel, or the connection to the process on its host that has that. */
export interface NodeLink {
  send(message: LauncherMessage): void;
  readonly connected: boolean;
  close(): void;
}

/** A node of the job, seen from the launcher: what its init has said, wherever it is. */
export class JobNode {
  readonly node: AllocatedNode;
  readonly container: string;
  readonly up = new Deferred<UpReport>();
  readonly ended = new Deferred<NodeEnd>();
  /** Init is gone. */
  readonly closed = new Deferred<void>();
  readonly #events: NodeEvents;
  #link: NodeLink | undefined;
  #end: NodeEnd | undefined;
  #lost = false;
  /** Init could not start the command, and why. */
  failure: string | undefined;
  /** Why the node was lost, where more is known than that. */
  reason: LaunchError | undefined;
  sessions = 0;

  constructor(node: AllocatedNode, container: string, events: NodeEvents) {
    this.node = node;
    this.container = container;
    this.#events = events;
  }

  join(link: NodeLink): void {
    this.#link = link;
  }

  send(message: LauncherMessage): void {
    this.#link?.send(message);
  }

  /** Init has connected, and is there. */
  get connected(): boolean {
    return this.#link?.connected === true && !this.#lost;
  }

  /** Init is gone, and its container ends, or was never heard of. */
  get gone(): boolean {
    return this.#lost;
  }

  /** Init has said how the command ended. */
  get reported(): boolean {
    return this.#end !== undefined;
  }

  /** Resolves when no session is open on the node, its container has ended, or the deadline (epoch, ms) has come. */
  async untilIdle(deadline: number): Promise<void> {
    while (this.connected && this.sessions > 0 && Date.now() < deadline) {
      await Promise.race([new Promise((resolve) => setTimeout(resolve, 100)), this.closed.promise]);
    }
  }

  close(): void {
    this.#link?.close();
  }

  /** Init said something. */
  hear(message: InitMessage): void {
    switch (message.kind) {
      case "up":
        this.up.resolve({ port: message.port, addresses: message.addresses });
        break;
      case "failed":
        this.failure = message.text;
        break;
      case "exit":
        this.#end = { kind: "exit", code: message.code };
        this.ended.resolve(this.#end);
        break;
      case "signal":
        this.#end = { kind: "signal", signal: message.signal, core: message.core };
        this.ended.resolve(this.#end);
        break;
      case "stopped":
        this.#events.onStopped();
        break;
      case "sessions":
        this.sessions = message.count;
        break;
      case "lingering":
        this.#events.onLingering(message.count);
        break;
      case "login":
      case "open":
      case "close":
      case "logout":
        this.#events.onSession(message);
        break;
      case "error":
        this.up.reject(new LaunchError(this.node.name, message.text, hintFor(message.text)));
        break;
      case "hello":
      case "started":
      case "continued":
        break;
    }
  }

  /** Its init is gone, or cannot be heard of any more; its container ended, or its host was lost. */
  lose(reason?: LaunchError): void {
    if (this.#lost) return;
    this.#lost = true;
    this.reason = reason;
    this.up.reject(reason ?? new LaunchError(this.node.name, "its container ended before it was up", WHY_ENDED));
    this.ended.resolve(this.#end ?? { kind: "lost" });
    this.closed.resolve();
    this.#events.onLost();
  }
}

const WHY_ENDED = {
  hint: "has something been mounted over ours, or is the udiImage on a file system that forbids to execute?",
};

function hintFor(text: string): { hint?: string } {
  if (/Address already in use/i.test(text)) {
    return { hint: "leave --port out, and a free one is chosen; or name another" };
  }
  if (/^listen \d+: Permission denied/.test(text)) {
    return { hint: "ports below 1024 are root's: name a higher one, or leave --port out" };
  }
  return /No space left/i.test(text) ? { hint: "make room, or set runDirectory to another directory in memory" } : {};
}
