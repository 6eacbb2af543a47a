import type { Socket } from "node:net";
import { EngineError, reasonOf } from "../config/errors.ts";
import { connectionFailure, refusal } from "./failures.ts";
import { type HttpAnswer, HttpClient, type HttpRequest, StaleConnection } from "./http.ts";
import type { Endpoint } from "./types.ts";

/*
 * HTTP to an engine over its unix socket, by a client of our own: loading dockerode costs 25 to 35 ms of each launch,
 * node:http another 10.
 *
 * Paths carry no API version. Docker 20.10 refuses versions above 1.41, Docker 29 below 1.44, and a later one will raise
 * that again; a path without version is served by every engine, as its newest. So only fields are read and sent that
 * all versions have, and none that a later version took away (NetworkSettings.IPAddress). Podman ignores the version.
 */

/** One call of the engine. */
export interface Call {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
  /** Without query. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Sent as JSON; bytes as they are, as an archive. */
  readonly body?: unknown;
  /** What is asked for, to follow "could not" in an error. */
  readonly action: string;
  /** Gives up after so many milliseconds; without it the answer is awaited for as long as the connection lives. */
  readonly timeoutMs?: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** An answer that is still arriving. Who gets it reads it to its end, or leaves the loop. */
export interface StreamedAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly stream: AsyncIterable<Buffer>;
}

const KEPT_CONNECTIONS = 4;
/** Bytes. Of the answers that are read as a whole the longest is the list of containers, some KiB each. */
const LONGEST_ANSWER = 64 * 1024 * 1024;

/** Calls that may be sent again when a kept connection turns out to be dead: twice is the same as once. */
const REPEATABLE = new Set(["GET", "HEAD", "DELETE"]);

/** The kept connections to one engine. */
export class Transport {
  readonly endpoint: Endpoint;
  readonly #http: HttpClient;
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(endpoint: Endpoint) {
    this.endpoint = endpoint;
    this.#http = new HttpClient(endpoint, KEPT_CONNECTIONS);
    if (endpoint.limitMs !== undefined)
      this.#timer = setTimeout(() => this.#http.end(this.#silent()), endpoint.limitMs).unref();
  }

  /**
   * Sends a call and reads the answer to its end.
   *
   * @param accepted the statuses the caller understands; every other is thrown
   * @throws EngineError when the engine cannot be reached, refuses, or the answer is cut short
   */
  async call(call: Call, accepted: readonly number[]): Promise<Answer> {
    const { status, headers, stream } = await this.stream(call);
    const body = await this.#whole(call, stream);
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
        const { status, headers, body } = await this.#http.send(requestOf(call), this.#limit(call));
        return { status, headers, stream: body };
      } catch (error) {
        // An engine that restarted, or closes idle connections, is noticed only when the next call is sent. Each turn
        // uses up one kept connection, so this ends.
        if (!(error instanceof StaleConnection && REPEATABLE.has(call.method))) {
          throw connectionFailure(this.endpoint, call.action, error);
        }
      }
    }
  }

  /** What breaks a call off that is not answered in time. How long an answer takes to arrive is its reader's affair. */
  #limit({ timeoutMs }: Call): ((breakOff: (error: Error) => void) => () => void) | undefined {
    if (timeoutMs === undefined) return undefined;
    return (breakOff) => {
      const timer = setTimeout(() => breakOff(this.#silent()), timeoutMs);
      return () => clearTimeout(timer);
    };
  }

  #silent(): EngineError {
    return new EngineError(`the engine at ${this.endpoint.socketPath} does not answer`, {
      hint: "it may be overloaded or hang: look into its log, or restart it",
    });
  }

  async #whole(call: Call, stream: AsyncIterable<Buffer>): Promise<Buffer> {
    try {
      const chunks: Buffer[] = [];
      let length = 0;
      for await (const chunk of stream) {
        chunks.push(chunk);
        length += chunk.length;
        if (length > LONGEST_ANSWER) throw new EngineError(`could not ${call.action}: the engine's answer is too long`);
      }
      return Buffer.concat(chunks);
    } catch (error) {
      throw connectionFailure(this.endpoint, call.action, error);
    }
  }

  /**
   * Turns a call into a raw stream in both directions. To attach, no body may be sent: Podman feeds one to the container's
   * standard input (apocas/dockerode#742, #777).
   *
   * @returns the socket, which now belongs to the caller; what had arrived with the head is already put back into it
   * @throws EngineError when the engine refuses, or answers without giving the connection away
   */
  async hijack(call: Call): Promise<Socket> {
    let answer: Socket | HttpAnswer;
    try {
      answer = await this.#http.upgrade(requestOf(call, { Connection: "Upgrade", Upgrade: "tcp" }));
    } catch (error) {
      throw connectionFailure(this.endpoint, call.action, error);
    }
    if (!("status" in answer)) return answer;
    throw refusal(call.action, answer.status, await this.#whole(call, answer.body));
  }

  /** Closes kept connections; calls that are under way fail. */
  close(): void {
    clearTimeout(this.#timer);
    this.#http.close();
  }
}

function requestOf(call: Call, headers: Readonly<Record<string, string>> = {}): HttpRequest {
  const query = call.query === undefined ? "" : `?${new URLSearchParams(call.query).toString()}`;
  const path = `${call.path}${query}`;
  if (call.body === undefined) return { method: call.method, path, headers };
  if (Buffer.isBuffer(call.body)) {
    return { method: call.method, path, headers: { ...headers, "Content-Type": "application/x-tar" }, body: call.body };
  }
  const body = Buffer.from(JSON.stringify(call.body));
  return { method: call.method, path, headers: { ...headers, "Content-Type": "application/json" }, body };
}

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
