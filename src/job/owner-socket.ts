import { chmodSync } from "node:fs";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { JobError } from "../config/errors.ts";

/** What the owner of a job may ask its launcher, a line of JSON each. */
export type OwnerRequest =
  | { readonly op: "wait" }
  | { readonly op: "stop"; readonly signal: number; readonly graceMs: number };

/** What comes back: a line of JSON; "ended" closes the connection. */
export type OwnerReply =
  | { readonly kind: "ended"; readonly exitCode: number }
  | { readonly kind: "accepted" }
  | { readonly kind: "refused"; readonly reason: string };

const LONGEST_REQUEST = 64 * 1024;

function parseRequest(line: string): OwnerRequest | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { op, signal, graceMs } = value as Record<string, unknown>;
  if (op === "wait") return { op };
  if (op !== "stop" || typeof signal !== "number" || typeof graceMs !== "number") return undefined;
  if (!Number.isInteger(signal) || signal < 1 || signal > 64 || !(graceMs >= 0)) return undefined;
  return { op, signal, graceMs };
}

/**
 * The launcher's socket for the job's owner. It lies in the job's private directory outside of what is mounted, so
 * nothing in the container can ask.
 */
export class OwnerSocket {
  readonly #server: Server;
  readonly #waiting = new Set<Socket>();
  readonly #onStop: (request: Extract<OwnerRequest, { op: "stop" }>) => void;

  /** Listens at once, synchronously. */
  constructor(path: string, onStop: (request: Extract<OwnerRequest, { op: "stop" }>) => void) {
    this.#onStop = onStop;
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

  #serve(socket: Socket): void {
    this.#waiting.add(socket);
    socket.unref();
    let text = "";
    socket.setEncoding("utf8");
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#waiting.delete(socket));
    socket.on("data", (chunk: string) => {
      text += chunk;
      for (let end = text.indexOf("\n"); end !== -1; end = text.indexOf("\n")) {
        this.#answer(socket, parseRequest(text.slice(0, end)));
        text = text.slice(end + 1);
      }
      if (text.length > LONGEST_REQUEST) socket.destroy();
    });
  }

  #answer(socket: Socket, request: OwnerRequest | undefined): void {
    const reply = (message: OwnerReply) => socket.write(`${JSON.stringify(message)}\n`);
    if (request === undefined) {
      reply({ kind: "refused", reason: "this launcher does not know that request" });
    } else if (request.op === "stop") {
      this.#onStop(request);
      reply({ kind: "accepted" });
    } else {
      reply({ kind: "accepted" });
    }
  }
}

/**
 * Asks a job's launcher, and waits for the job's end.
 *
 * @returns its exit code; undefined when there is no launcher (any more) behind the socket
 * @throws JobError when the launcher refuses, or goes away without a word
 */
export async function askLauncher(path: string, request: OwnerRequest): Promise<number | undefined> {
  const socket = createConnection({ path });
  let text = "";
  let connected = false;
  socket.once("connect", () => {
    connected = true;
    socket.write(`${JSON.stringify(request)}\n`);
  });
  try {
    for await (const chunk of socket.setEncoding("utf8")) {
      text += String(chunk);
      for (let end = text.indexOf("\n"); end !== -1; end = text.indexOf("\n")) {
        const reply = JSON.parse(text.slice(0, end)) as OwnerReply;
        text = text.slice(end + 1);
        if (reply.kind === "ended") return reply.exitCode;
        if (reply.kind === "refused") throw new JobError(`the launcher refused: ${reply.reason}`);
      }
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (!connected && (code === "ENOENT" || code === "ECONNREFUSED")) return undefined;
    if (error instanceof JobError) throw error;
    if (code !== "ECONNRESET") throw new JobError(`the launcher's socket ${path} cannot be used`, { cause: error });
  } finally {
    socket.destroy();
  }
  throw new JobError("the job's launcher was killed", { hint: "what it left is being cleared; see `gangway ps`" });
}
