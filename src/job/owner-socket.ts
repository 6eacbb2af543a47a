import { chmodSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { GangwayError, reasonOf } from "../config/errors.ts";
import {
  type ConnectionEntry,
  type KeyEntry,
  type OwnerReply,
  type OwnerRequest,
  parseOwnerRequest,
  type SignedKey,
  type SignRequest,
} from "./owner-protocol.ts";

/** What the launcher does for the owner. Each may throw a GangwayError: the owner reads it as a refusal. */
export interface OwnerService {
  stop(signal: number, graceMs: number): void;
  sign(request: SignRequest): SignedKey;
  keys(): readonly KeyEntry[];
  /** @returns how many connections it ended */
  revoke(serial: string): number;
  sessions(): readonly ConnectionEntry[];
}

const LONGEST_REQUEST = 64 * 1024;
/** Somebody who asks this much before reading an answer is not served any more. */
const MOST_UNREAD_BYTES = 64 * 1024 * 1024;

/**
 * The launcher's socket for the job's owner. It lies in the job's private directory outside of what is mounted, so
 * nothing in the container can ask.
 */
export class OwnerSocket {
  readonly #server: Server;
  readonly #waiting = new Set<Socket>();
  readonly #answer: (line: string) => string | Promise<string>;

  /**
   * Listens at once, synchronously.
   *
   * @param answer makes a reply's line of a request's
   */
  constructor(path: string, answer: (line: string) => string | Promise<string>) {
    this.#answer = answer;
    this.#server = createServer((socket) => this.#serve(socket));
    this.#server.on("error", () => undefined);
    this.#server.listen({ path });
    chmodSync(path, 0o600);
    this.#server.unref();
  }

  /** Tells everybody who waits, and shuts. */
  async close(exitCode: number): Promise<void> {
    this.#server.close();
    await Promise.all(
      [...this.#waiting].map(
        (socket) =>
          new Promise<void>((resolve) => {
            // Nothing else may be left by now that keeps this process alive.
            socket.ref();
            const timer = setTimeout(() => socket.destroy(), 1000);
            socket.once("close", () => {
              clearTimeout(timer);
              resolve();
            });
            socket.end(`${JSON.stringify({ kind: "ended", exitCode } satisfies OwnerReply)}\n`);
          }),
      ),
    );
  }

  async #reply(socket: Socket, request: string): Promise<void> {
    const reply = await this.#answer(request);
    if (socket.writable) socket.write(`${reply}\n`);
  }

  #serve(socket: Socket): void {
    this.#waiting.add(socket);
    socket.unref();
    let text = "";
    socket.setEncoding("utf8");
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#waiting.delete(socket));
    socket.on("data", (chunk: string) => {
      text += chunk;
      for (let end = text.indexOf("\n"); end !== -1 && !socket.destroyed; end = text.indexOf("\n")) {
        const request = text.slice(0, end);
        text = text.slice(end + 1);
        void this.#reply(socket, request);
      }
      if (text.length > LONGEST_REQUEST || socket.writableLength > MOST_UNREAD_BYTES) socket.destroy();
    });
  }
}

/** Does what the owner asks, by a line of JSON. @returns the reply's line */
export function answerOwner(service: OwnerService, line: string): string {
  return JSON.stringify(replyTo(service, line));
}

function replyTo(service: OwnerService, line: string): OwnerReply {
  const request = parseOwnerRequest(line);
  if (request === undefined) return { kind: "refused", reason: "this launcher does not know that request" };
  try {
    return serve(service, request);
  } catch (error) {
    if (!(error instanceof GangwayError)) return { kind: "refused", reason: reasonOf(error) };
    const { message: reason, hint, exitCode } = error;
    return { kind: "refused", reason, exitCode, ...(hint === undefined ? {} : { hint }) };
  }
}

function serve(service: OwnerService, request: OwnerRequest): OwnerReply {
  switch (request.op) {
    case "wait":
      return { kind: "accepted" };
    case "stop":
      service.stop(request.signal, request.graceMs);
      return { kind: "accepted" };
    case "sign":
      return { kind: "signed", ...service.sign(request) };
    case "keys":
      return { kind: "keys", keys: service.keys() };
    case "revoke":
      return { kind: "revoked", sessions: service.revoke(request.serial) };
    case "sessions":
      return { kind: "sessions", sessions: service.sessions() };
  }
}
