import { connect, type Socket } from "node:net";
import { asUser } from "../config/identity.ts";
import type { Endpoint } from "./types.ts";

/*
 * As much of HTTP/1.1 (RFC 9112) as engines speak over a unix socket: one request at a time on a connection, connections
 * kept for the next one. Node's own client costs each launch 10 ms, most of it before the first byte is sent.
 */

/** A request, ready to be sent. */
export interface HttpRequest {
  readonly method: string;
  /** With query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer | undefined;
}

/** The head of an answer. */
export interface HttpHead {
  readonly status: number;
  /** Names in small letters. */
  readonly headers: Readonly<Record<string, string>>;
}

/** An answer whose body is still arriving. Who gets it reads it to its end, or leaves the loop, which drops the connection. */
export interface HttpAnswer extends HttpHead {
  readonly body: AsyncIterable<Buffer>;
}

/** Engines' heads have a few hundred bytes. What sends more without an end of line is no engine. */
const LONGEST_LINE = 64 * 1024;
const MOST_HEADERS = 200;
/** Heads that only say that the answer will come. */
const MOST_INTERIM = 20;

/** The connection ended where more had to come. */
class CutShort extends Error {
  readonly code = "ECONNRESET";

  constructor() {
    super("the connection was closed");
  }
}

/** A connection, read piece by piece: nothing is taken from the kernel before somebody asks for it. */
class Connection {
  readonly socket: Socket;
  /** Whether it has carried an answer already: then the engine may have closed it meanwhile. */
  used = false;
  /** Whether a byte of the answer has come. */
  answered = false;
  /** Whether it waits for the next request: what comes then is the end. */
  idle = false;
  #rest: Buffer = Buffer.alloc(0);
  #failure: Error | undefined;
  #ended = false;
  #wake: (() => void) | undefined;
  readonly #onReadable = () => {
    // Node tells of a connection's end when it is read.
    if (this.idle && this.socket.read() !== null) this.socket.destroy(new Error("it speaks unasked"));
    this.#wake?.();
  };
  readonly #onEnd = () => {
    this.#ended = true;
    this.#wake?.();
  };

  constructor({ socketPath, as, dial = () => connect({ path: socketPath }) }: Endpoint) {
    // connect(2) is done before connect() returns: the kernel looks at the path with that user's rights.
    this.socket = as === undefined ? dial() : asUser(as, dial);
    this.socket.on("readable", this.#onReadable);
    this.socket.on("error", (error) => {
      this.#failure ??= error;
      this.#wake?.();
    });
    this.socket.on("end", this.#onEnd);
    this.socket.on("close", this.#onEnd);
  }

  /** Waits for bytes; undefined at the connection's end. */
  async #next(): Promise<Buffer | undefined> {
    for (;;) {
      if (this.#rest.length > 0) {
        const bytes = this.#rest;
        this.#rest = Buffer.alloc(0);
        return bytes;
      }
      const bytes = this.socket.read() as Buffer | null;
      if (bytes !== null) {
        this.answered = true;
        return bytes;
      }
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }

  /** A line without its end. */
  async line(): Promise<string> {
    const parts: Buffer[] = [];
    let length = 0;
    for (;;) {
      const bytes = await this.#next();
      if (bytes === undefined) throw new CutShort();
      const end = bytes.indexOf(0x0a);
      parts.push(end === -1 ? bytes : bytes.subarray(0, end));
      length += parts.at(-1)?.length ?? 0;
      if (length > LONGEST_LINE) throw new Error("what it answers is no HTTP");
      if (end === -1) continue;
      this.#rest = bytes.subarray(end + 1);
      return Buffer.concat(parts).toString("latin1").replace(/\r$/, "");
    }
  }

  /** So many bytes, as they come. */
  async *bytes(count: number): AsyncGenerator<Buffer> {
    for (let left = count; left > 0; ) {
      const bytes = await this.#next();
      if (bytes === undefined) throw new CutShort();
      this.#rest = bytes.subarray(left);
      yield bytes.subarray(0, left);
      left -= Math.min(left, bytes.length);
    }
  }

  /** Everything up to the connection's end. */
  async *remainder(): AsyncGenerator<Buffer> {
    for (let bytes = await this.#next(); bytes !== undefined; bytes = await this.#next()) yield bytes;
  }

  /** Whether it can carry another request. */
  get reusable(): boolean {
    return !this.#ended && this.#failure === undefined && this.#rest.length === 0 && this.socket.readableLength === 0;
  }

  /** Gives the socket away, with what was read too much put back. */
  release(): Socket {
    // The listener for errors stays: without one they would end the process.
    this.socket.off("readable", this.#onReadable);
    this.socket.off("end", this.#onEnd);
    this.socket.off("close", this.#onEnd);
    if (this.#rest.length > 0) this.socket.unshift(this.#rest);
    return this.socket;
  }
}

async function readHead(connection: Connection): Promise<HttpHead> {
  const match = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(await connection.line());
  if (match === null) throw new Error("what it answers is no HTTP");
  const headers: Record<string, string> = {};
  for (let count = 0; ; count++) {
    const line = await connection.line();
    if (line === "") break;
    const colon = line.indexOf(":");
    if (colon < 1 || count === MOST_HEADERS) throw new Error("what it answers is no HTTP");
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return { status: Number(match[1]), headers };
}

/** Past the words in between, 100 to 199 but 101, behind which the answer is still to come (RFC 9110, 15.2). */
async function readAnswerHead(connection: Connection): Promise<HttpHead> {
  for (let count = 0; count < MOST_INTERIM; count++) {
    const head = await readHead(connection);
    if (head.status >= 200 || head.status === 101) return head;
  }
  throw new Error("it answers again and again that it will answer");
}

async function* chunks(connection: Connection): AsyncGenerator<Buffer> {
  for (;;) {
    const line = await connection.line();
    const digits = /^([0-9a-f]{1,8})\s*(?:;|$)/i.exec(line)?.[1];
    if (digits === undefined) throw new Error(`a part of its answer has no length ("${line.slice(0, 20)}")`);
    const size = Number.parseInt(digits, 16);
    yield* connection.bytes(size);
    if (size > 0) {
      await connection.line();
      continue;
    }
    // Fields behind the last part tell nothing that is of use here.
    for (let count = 0; count < MOST_HEADERS; count++) if ((await connection.line()) === "") return;
    throw new Error("its answer does not end");
  }
}

function bodyOf(connection: Connection, request: HttpRequest, { status, headers }: HttpHead): AsyncGenerator<Buffer> {
  if (request.method === "HEAD" || status === 204 || status === 304) return connection.bytes(0);
  if (/\bchunked$/i.test(headers["transfer-encoding"] ?? "")) return chunks(connection);
  const length = headers["content-length"];
  if (length === undefined) return connection.remainder();
  if (!/^\d{1,15}$/.test(length)) throw new Error(`its answer has no length ("${length.slice(0, 20)}")`);
  return connection.bytes(Number(length));
}

/** Whether the engine keeps the connection open after this answer, and where the answer ends is known without its end. */
function isKept({ status, headers }: HttpHead): boolean {
  const delimited =
    headers["content-length"] !== undefined ||
    headers["transfer-encoding"] !== undefined ||
    status === 204 ||
    status === 304;
  return delimited && !/\bclose\b/i.test(headers.connection ?? "");
}

function headOf({ method, path, headers, body }: HttpRequest): string {
  if (/[^\x21-\x7e]/.test(path)) throw new TypeError(`not a path of a request: ${JSON.stringify(path)}`);
  const length = body !== undefined || method === "POST" ? [`Content-Length: ${body?.length ?? 0}`] : [];
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return [`${method} ${path} HTTP/1.1`, "Host: engine", ...fields, ...length, "", ""].join("\r\n");
}

/** A kept connection was dead before a byte of the answer came: the request may not have been seen. */
export class StaleConnection extends Error {}

/** Requests to one engine's socket. */
export class HttpClient {
  readonly #endpoint: Endpoint;
  readonly #kept: Connection[] = [];
  readonly #open = new Set<Connection>();
  readonly #most: number;
  #over: Error | undefined;

  /** @param most so many idle connections are kept */
  constructor(endpoint: Endpoint, most: number) {
    this.#endpoint = endpoint;
    this.#most = most;
  }

  /**
   * Sends a request, and returns when the head of the answer is there.
   *
   * @param arm is given a function that breaks the connection off with an error; what it returns is called when the head is there
   * @throws StaleConnection, or what the connection ended with
   */
  async send(request: HttpRequest, arm?: (breakOff: (error: Error) => void) => () => void): Promise<HttpAnswer> {
    const { connection, head } = await this.#exchange(request, arm);
    return { ...head, body: this.#deliver(connection, bodyOf(connection, request, head), isKept(head)) };
  }

  /** As {@link send}; an answer with status 101 gives the connection away. */
  async upgrade(request: HttpRequest): Promise<Socket | HttpAnswer> {
    const { connection, head } = await this.#exchange(request);
    if (head.status !== 101)
      return { ...head, body: this.#deliver(connection, bodyOf(connection, request, head), false) };
    this.#open.delete(connection);
    return connection.release();
  }

  async #exchange(
    request: HttpRequest,
    arm?: (breakOff: (error: Error) => void) => () => void,
  ): Promise<{ connection: Connection; head: HttpHead }> {
    const head = headOf(request);
    const connection = this.#connection();
    connection.answered = false;
    const disarm = arm?.((error) => connection.socket.destroy(error));
    try {
      if (request.body === undefined) connection.socket.write(head);
      else connection.socket.write(Buffer.concat([Buffer.from(head), request.body]));
      return { connection, head: await readAnswerHead(connection) };
    } catch (error) {
      this.#drop(connection);
      const { code } = error as NodeJS.ErrnoException;
      const lost = code === "ECONNRESET" || code === "EPIPE";
      if (lost && connection.used && !connection.answered) throw new StaleConnection();
      throw error;
    } finally {
      disarm?.();
    }
  }

  async *#deliver(connection: Connection, body: AsyncGenerator<Buffer>, kept: boolean): AsyncGenerator<Buffer> {
    let whole = false;
    try {
      yield* body;
      whole = true;
    } finally {
      if (whole && kept) this.#keep(connection);
      else this.#drop(connection);
    }
  }

  #connection(): Connection {
    if (this.#over !== undefined) throw this.#over;
    for (let kept = this.#kept.pop(); kept !== undefined; kept = this.#kept.pop()) {
      if (kept.reusable) {
        kept.idle = false;
        kept.socket.ref();
        return kept;
      }
      this.#drop(kept);
    }
    const fresh = new Connection(this.#endpoint);
    this.#open.add(fresh);
    return fresh;
  }

  #keep(connection: Connection): void {
    connection.used = true;
    if (this.#kept.length >= this.#most || !connection.reusable) {
      this.#drop(connection);
      return;
    }
    // Being kept is no reason for the process to live.
    connection.socket.unref();
    connection.idle = true;
    this.#kept.push(connection);
  }

  #drop(connection: Connection): void {
    this.#open.delete(connection);
    connection.socket.destroy();
  }

  /** Breaks off what is under way, and refuses all that is asked later, with an error. */
  end(error: Error): void {
    this.#over = error;
    for (const connection of this.#open) connection.socket.destroy(error);
  }

  /** Closes all connections; requests that are under way fail. */
  close(): void {
    for (const connection of this.#open) connection.socket.destroy();
    this.#open.clear();
    this.#kept.length = 0;
  }
}
