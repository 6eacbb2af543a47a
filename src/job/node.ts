import { createConnection } from "node:net";
import { join } from "node:path";
import type { AllocatedNode } from "../allocation/allocation.ts";
import { LaunchError } from "../config/errors.ts";
import { ControlChannel, type InitMessage } from "./control.ts";
import { Deferred } from "./deferred.ts";
import type { JobDirectory } from "./directory.ts";
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

/** A node of the job, seen from the launcher: its container and what its init has said. */
export class JobNode {
  readonly node: AllocatedNode;
  readonly container: string;
  readonly up = new Deferred<UpReport>();
  readonly ended = new Deferred<NodeEnd>();
  /** The control channel is closed: init is gone. */
  readonly closed = new Deferred<void>();
  readonly #directory: JobDirectory;
  readonly #channel: ControlChannel;
  readonly #events: NodeEvents;
  #end: NodeEnd | undefined;
  /** Init could not start the command, and why. */
  failure: string | undefined;
  sessions = 0;

  /** Starts to listen for init; the node's directory must be there. */
  constructor(node: AllocatedNode, container: string, directory: JobDirectory, events: NodeEvents) {
    this.node = node;
    this.container = container;
    this.#directory = directory;
    this.#events = events;
    this.#channel = directory.as(
      () =>
        new ControlChannel(node.name, join(directory.node(node.index), "ctl"), {
          onMessage: (message) => this.#hear(message),
          onClose: () => {
            this.#close();
            events.onLost();
          },
        }),
    );
  }

  get send(): ControlChannel["send"] {
    return this.#channel.send.bind(this.#channel);
  }

  get connected(): boolean {
    return this.#channel.connected;
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
    this.#channel.close();
  }

  /** Its container has ended without a connection of its init. */
  giveUp(): void {
    this.#close();
  }

  /**
   * Waits until the node's sshd answers: a banner (RFC 4253, 4.2) through its unix socket.
   *
   * @throws LaunchError when the connection ends before
   */
  async readBanner(): Promise<void> {
    const path = join(this.#directory.node(this.node.index), "ssh");
    const socket = createConnection({ path });
    try {
      let text = "";
      for await (const chunk of socket.setEncoding("latin1")) {
        text += String(chunk);
        if (/^SSH-2\.0-/m.test(text)) return;
        if (text.length > 8192) break;
      }
      throw new LaunchError(this.node.name, "its sshd ended without an answer", {
        hint: "are the limits of processes (--pids-limit) and memory too low for it? it needs a few of either",
      });
    } catch (error) {
      if (error instanceof LaunchError) throw error;
      throw new LaunchError(this.node.name, "its sshd cannot be reached", { cause: error });
    } finally {
      socket.destroy();
    }
  }

  #hear(message: InitMessage): void {
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

  #close(): void {
    this.up.reject(new LaunchError(this.node.name, "its container ended before it was up", WHY_ENDED));
    this.ended.resolve(this.#end ?? { kind: "lost" });
    this.closed.resolve();
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
