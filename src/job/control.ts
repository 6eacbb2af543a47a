import { chmodSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { LaunchError } from "../config/errors.ts";
import { isSerial } from "./owner-protocol.ts";
import { parseSessionLine, type SessionMessage } from "./session-lines.ts";

/** A line that init sent (docs/internals.md, "The control channel"). */
export type InitMessage =
  | { readonly kind: "hello"; readonly version: number }
  | { readonly kind: "up"; readonly port: number; readonly addresses: readonly string[] }
  | { readonly kind: "started"; readonly pid: number }
  | { readonly kind: "failed"; readonly errno: number; readonly text: string }
  | { readonly kind: "stopped"; readonly signal: number }
  | { readonly kind: "continued" }
  | { readonly kind: "exit"; readonly code: number }
  | { readonly kind: "signal"; readonly signal: number; readonly core: boolean }
  | { readonly kind: "sessions"; readonly count: number }
  | { readonly kind: "lingering"; readonly count: number }
  | { readonly kind: "error"; readonly text: string }
  | SessionMessage;

/** What the launcher tells init. */
export type LauncherMessage =
  | "go"
  | "end"
  | "continue"
  | "suspend"
  | "resume"
  | { readonly signal: number }
  | { readonly revoke: string }
  | { readonly rows: number; readonly columns: number };

const LONGEST_LINE = 1024;
const PROTOCOL_VERSION = 1;

function integer(word: string | undefined, least: number, most: number): number | undefined {
  if (word === undefined || !/^\d{1,10}$/.test(word)) return undefined;
  const value = Number(word);
  return value >= least && value <= most ? value : undefined;
}

/**
 * Parses one line of init's; undefined for words that are not known (a newer init) and for damaged lines, since what
 * arrives here comes out of a container.
 */
export function parseInitLine(line: string): InitMessage | undefined {
  const [word, ...rest] = line.split(" ");
  const tail = rest.join(" ");
  switch (word) {
    case "hello": {
      const version = integer(rest[0], 0, 1000);
      return version === undefined ? undefined : { kind: "hello", version };
    }
    case "up": {
      const port = integer(rest[0], 0, 65535);
      const addresses = rest.slice(1).filter((address) => /^[0-9a-fA-F.:]+$/.test(address));
      return port === undefined ? undefined : { kind: "up", port, addresses };
    }
    case "started": {
      const pid = integer(rest[0], 1, 2 ** 31);
      return pid === undefined ? undefined : { kind: "started", pid };
    }
    case "failed": {
      const errno = integer(rest[0], 0, 4096);
      return errno === undefined ? undefined : { kind: "failed", errno, text: rest.slice(1).join(" ") };
    }
    case "stopped": {
      const signal = integer(rest[0], 1, 64);
      return signal === undefined ? undefined : { kind: "stopped", signal };
    }
    case "continued":
      return { kind: "continued" };
    case "exit": {
      const code = integer(rest[0], 0, 255);
      return code === undefined ? undefined : { kind: "exit", code };
    }
    case "signal": {
      const signal = integer(rest[0], 1, 64);
      return signal === undefined ? undefined : { kind: "signal", signal, core: rest[1] === "1" };
    }
    case "sessions":
    case "lingering": {
      const count = integer(rest[0], 0, 1_000_000);
      return count === undefined ? undefined : { kind: word, count };
    }
    case "error":
      return { kind: "error", text: tail };
    default:
      return parseSessionLine(word ?? "", rest);
  }
}

export function formatLauncherMessage(message: LauncherMessage): string {
  if (typeof message === "string") return `${message}\n`;
  if ("revoke" in message) return `revoke ${message.revoke}\n`;
  if ("signal" in message) return `signal ${message.signal}\n`;
  return `winsize ${message.rows} ${message.columns}\n`;
}

/** The inverse of {@link formatLauncherMessage}, its newline left out; undefined for anything else. */
export function parseLauncherLine(line: string): LauncherMessage | undefined {
  const [word, first, second] = line.split(" ");
  switch (word) {
    case "go":
    case "end":
    case "continue":
      return word;
    case "signal": {
      const signal = integer(first, 1, 64);
      return signal === undefined ? undefined : { signal };
    }
    case "winsize": {
      const [rows, columns] = [integer(first, 0, 65_535), integer(second, 0, 65_535)];
      return rows === undefined || columns === undefined ? undefined : { rows, columns };
    }
    case "revoke":
      return isSerial(first) ? { revoke: first } : undefined;
    default:
      return undefined;
  }
}

/** Handlers of a node's control channel. */
export interface ControlEvents {
  /** @param line as it came */
  onMessage(message: InitMessage, line: string): void;
  /** The channel is closed: init has ended, or was killed. Called once. */
  onClose(): void;
}

/**
 * The launcher's end of a node's control socket: barrier, report and life line. Only the first connection is taken;
 * it is init's, since nothing else runs in the container yet. Then the socket is shut for everybody.
 */
export class ControlChannel {
  readonly #server: Server;
  readonly #node: string;
  readonly #events: ControlEvents;
  #socket: Socket | undefined;
  #pending = "";
  #closed = false;

  /**
   * Starts to listen at once, synchronously (so that it can be done in the name of the job's user).
   *
   * @param path of the socket, at most 107 bytes
   * @throws whatever bind(2) does
   */
  constructor(node: string, path: string, events: ControlEvents) {
    this.#node = node;
    this.#events = events;
    this.#server = createServer((socket) => this.#accept(socket));
    let failure: Error | undefined;
    this.#server.once("error", (error) => {
      failure = error;
    });
    this.#server.listen({ path, backlog: 1 });
    if (!this.#server.listening) {
      throw new LaunchError(node, `the control socket ${path} cannot be made`, { cause: failure });
    }
    chmodSync(path, 0o600);
  }

  send(message: LauncherMessage): void {
    if (this.#socket?.writable === true) this.#socket.write(formatLauncherMessage(message));
  }

  get connected(): boolean {
    return this.#socket !== undefined && !this.#closed;
  }

  /** Shuts everything; init, if it still lives, takes it for the launcher's death. */
  close(): void {
    this.#server.close();
    this.#socket?.destroy();
  }

  #accept(socket: Socket): void {
    if (this.#socket !== undefined) {
      socket.destroy();
      return;
    }
    this.#socket = socket;
    this.#server.close();
    socket.setEncoding("latin1");
    socket.on("data", (text: string) => this.#read(text));
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#end());
  }

  #read(text: string): void {
    this.#pending += text;
    for (let end = this.#pending.indexOf("\n"); end !== -1; end = this.#pending.indexOf("\n")) {
      const line = this.#pending.slice(0, end);
      this.#pending = this.#pending.slice(end + 1);
      const message = parseInitLine(line);
      if (message?.kind === "hello" && message.version !== PROTOCOL_VERSION) {
        this.#fail(`init of the udiImage speaks protocol ${message.version}, this launcher ${PROTOCOL_VERSION}`);
      } else if (message !== undefined) {
        this.#events.onMessage(message, line);
      }
    }
    if (this.#pending.length > LONGEST_LINE) {
      this.#fail(`${this.#node} sent a line that is too long`);
      this.#socket?.destroy();
    }
  }

  /** As if init had said so. */
  #fail(text: string): void {
    this.#events.onMessage({ kind: "error", text }, `error ${text}`);
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#events.onClose();
  }
}
