import { Agent, type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request } from "node:http";
import type { Socket } from "node:net";
import { EngineError, reasonOf } from "../config/errors.ts";
import { connectionFailure, refusal } from "./failures.ts";
import type { Endpoint } from "./types.ts";

/*
 * HTTP to an engine over its unix socket, on node:http alone: loading dockerode costs 25 to 35 ms of each launch.
 *
 * Paths carry no API version. Docker 20.10 refuses versions above 1.41, Docker 29 below 1.44, and a later one will raise
 * that again; a path without version is served by every engine, as its newest. So only fields are read and sent that
 * all versions have, and none that a later version took away (NetworkSettings.IPAddress). Podman ignores the version.
 */

/** One call of the engine. */
export interface Call {
  readonly method: "GET" | "HEAD" | "POST" | "DELETE";
  /** Without query. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** What is asked for, to follow "could not" in an error. */
  readonly action: string;
  /** Gives up after so many milliseconds; without it the answer is awaited for as long as the connection lives. */
  readonly timeoutMs?: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** An answer that is still arriving. Who gets it reads it to its end or destroys it. */
export interface StreamedAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly stream: IncomingMessage;
}

const KEPT_CONNECTIONS = 4;

/** Calls that may be sent again when a kept connection turns out to be dead: twice is the same as once. */
const REPEATABLE = new Set(["GET", "HEAD", "DELETE"]);

/** The kept connections to one engine. */
export class Transport {
  readonly endpoint: Endpoint;
  readonly #agent = new Agent({ keepAlive: true, maxFreeSockets: KEPT_CONNECTIONS });

  constructor(endpoint: Endpoint) {
    this.endpoint = endpoint;
  }

  /**
   * Sends a call and reads the answer to its end.
   *
   * @param accepted the statuses the caller understands; every other is thrown
   * @throws EngineError when the engine cannot be reached, refuses, or the answer is cut short
   */
  async call(call: Call, accepted: readonly number[]): Promise<Answer> {
    const { status, headers, stream } = await this.stream(call);
    let body: Buffer;
    try {
      // Reading by iteration rejects when the connection ends before the answer does; docker-modem waits for ever then.
      const chunks: Buffer[] = [];
      for await (const chunk of stream) chunks.push(chunk as Buffer);
      body = Buffer.concat(chunks);
    } catch (error) {
      throw connectionFailure(this.endpoint, call.action, error);
    }
    if (!accepted.includes(status)) throw refusal(call.action, status, body);
    return { status, headers, body };
  }

  /**
   * As {@link call}, for answers in JSON.
   *
   * @throws EngineError also when the answer is no JSON object or array
   */
  async json(call: Call, accepted: readonly number[]): Promise<{ readonly status: number; readonly value: unknown }> {
    const { status, body } = await this.call(call, accepted);
    return { status, value: parseJson(body, call.action, status) };
  }

  /** Sends a call and returns as soon as the head of the answer is there. */
  async stream(call: Call): Promise<StreamedAnswer> {
    for (;;) {
      try {
        return await this.#send(call);
      } catch (error) {
        // Each turn uses up one kept connection, so this ends.
        if (!(error instanceof StaleConnection)) throw error;
      }
    }
  }

  #send(call: Call): Promise<StreamedAnswer> {
    return new Promise((resolve, reject) => {
      const sent = this.#request(call, {});
      sent.once("response", (stream) => {
        // Without a timer from here on: how long an answer takes to arrive is its reader's affair.
        sent.setTimeout(0);
        // A reader that iterates hears of errors by itself; between two reads nobody would.
        stream.on("error", () => undefined);
        resolve({ status: stream.statusCode ?? 0, headers: stream.headers, stream });
      });
      sent.on("error", (error) => reject(this.#failure(call, sent, error)));
    });
  }

  #request(call: Call, extraHeaders: Record<string, string>): ClientRequest {
    const query = call.query === undefined ? "" : `?${new URLSearchParams(call.query).toString()}`;
    const body = call.body === undefined ? undefined : Buffer.from(JSON.stringify(call.body));
    const sent = request({
      socketPath: this.endpoint.socketPath,
      agent: this.#agent,
      method: call.method,
      path: `${call.path}${query}`,
      headers: {
        Host: "engine",
        ...(body === undefined ? {} : { "Content-Type": "application/json", "Content-Length": String(body.length) }),
        ...extraHeaders,
      },
    });
    if (call.timeoutMs !== undefined) {
      sent.setTimeout(call.timeoutMs, () =>
        sent.destroy(
          new EngineError(`the engine at ${this.endpoint.socketPath} does not answer`, {
            hint: "it may be overloaded or hang: look into its log, or restart it",
          }),
        ),
      );
    }
    sent.end(body);
    return sent;
  }

  #failure(call: Call, sent: ClientRequest, error: NodeJS.ErrnoException): Error {
    const lost = error.code === "ECONNRESET" || error.code === "EPIPE";
    // An engine that restarted, or closes idle connections, is noticed only when the next call is sent.
    if (lost && sent.reusedSocket && REPEATABLE.has(call.method)) return new StaleConnection();
    return connectionFailure(this.endpoint, call.action, error);
  }

  /**
   * Turns a call into a raw stream in both directions. No body is sent: Podman feeds one to the container's standard
   * input (apocas/dockerode#742, #777).
   *
   * @returns the socket, which now belongs to the caller; what had arrived with the head is already put back into it
   * @throws EngineError when the engine refuses, or answers without giving the connection away
   */
  hijack(call: Call): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const sent = this.#request(call, { Connection: "Upgrade", Upgrade: "tcp" });
      sent.once("upgrade", (_answer, socket: Socket, head) => {
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
      });
      sent.once("response", (stream) => {
        const chunks: Buffer[] = [];
        stream.on("data", (chunk: Buffer) => chunks.push(chunk));
        stream.on("error", (error) => reject(connectionFailure(this.endpoint, call.action, error)));
        stream.on("end", () => reject(refusal(call.action, stream.statusCode ?? 0, Buffer.concat(chunks))));
      });
      sent.on("error", (error) => reject(connectionFailure(this.endpoint, call.action, error)));
    });
  }

  /** Closes kept connections; calls that are under way fail. */
  close(): void {
    this.#agent.destroy();
  }
}

/** A kept connection was dead when the next call was sent over it. */
class StaleConnection extends Error {}

function parseJson(body: Buffer, action: string, status: number): unknown {
  try {
    const value: unknown = JSON.parse(body.toString("utf8"));
    if (typeof value === "object" && value !== null) return value;
  } catch (error) {
    throw new EngineError(`could not ${action}: the engine's answer is no JSON (${reasonOf(error)})`, {
      status,
      cause: error,
    });
  }
  throw new EngineError(`could not ${action}: the engine's answer is empty`, { status });
}
