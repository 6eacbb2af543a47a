import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { EngineError, reasonOf } from "../config/errors.ts";
import { shortName } from "./containers.ts";
import { FrameParser } from "./demux.ts";
import { oneLine } from "./failures.ts";
import { number, object, text } from "./json.ts";
import type { Transport } from "./transport.ts";

/** A program that is started in a running container. */
export interface ExecRequest {
  readonly argv: readonly string[];
  /** "UID:GID" as the engine takes it; undefined: the container's own user. */
  readonly user?: string;
}

/** Bytes that are kept of what it says on its standard error: the last ones. */
const KEPT_COMPLAINTS = 16 * 1024;

/**
 * Starts a program in a container, its standard input and output as a stream. Environment and working directory are those
 * that the engine gives to every program that is started so.
 *
 * @throws EngineError where the engine refuses; that the program cannot be executed may show only in the stream
 */
export async function execute(transport: Transport, id: string, { argv, user }: ExecRequest): Promise<ExecStream> {
  const action = `start a program in container ${shortName(id)}`;
  const made = await transport.json(
    {
      method: "POST",
      path: `/containers/${encodeURIComponent(id)}/exec`,
      body: {
        AttachStdin: true,
        AttachStdout: true,
        AttachStderr: true,
        Tty: false,
        Cmd: argv,
        ...(user === undefined ? {} : { User: user }),
      },
      action,
    },
    [200, 201],
  );
  const exec = text(object(made.value).Id);
  if (exec === "") throw new EngineError(`could not ${action}: the engine's answer names nothing`);
  const path = `/exec/${encodeURIComponent(exec)}`;
  const socket = await transport.hijack({
    method: "POST",
    path: `${path}/start`,
    body: { Detach: false, Tty: false },
    action,
  });
  return new ExecStream(socket, transport, `${path}/json`);
}

/**
 * The streams of a program that an engine started: written to it is its standard input, read from it its standard output.
 * What it says on its standard error is kept aside. Nothing is read faster than it is taken.
 *
 * Destroying it closes the program's input and does nothing else: engines end no program for that (moby#9098).
 */
export class ExecStream extends Duplex {
  readonly #socket: Socket;
  readonly #transport: Transport;
  readonly #path: string;
  readonly #parser = new FrameParser();
  #complaints: Buffer = Buffer.alloc(0);
  #over = false;

  constructor(socket: Socket, transport: Transport, path: string) {
    super({ allowHalfOpen: true });
    this.#socket = socket;
    this.#transport = transport;
    this.#path = path;
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.once("end", () => this.#end());
    socket.once("close", () => this.#end());
    socket.on("error", (error) => this.#fail(error));
  }

  /** The last of what it said on its standard error. */
  get complaints(): string {
    return this.#complaints.toString("utf8");
  }

  /** Waits until the program has ended, 10 s at most, and tells its exit code; undefined: it still runs, or nobody knows. */
  async exitCode(): Promise<number | undefined> {
    for (let turn = 0; turn < 200; turn++) {
      const call = { method: "GET", path: this.#path, action: "ask how a program ended" } as const;
      const { status, value } = await this.#transport.json(call, [200, 404]);
      const state = object(value);
      // While it runs, Docker says null and Podman 0.
      if (status === 200 && state.Running !== true) return number(state.ExitCode);
      if (status !== 200) return undefined;
      await sleep(50);
    }
    return undefined;
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, (error) => done(error));
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end(() => done());
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }

  #take(chunk: Buffer): void {
    let room = true;
    try {
      for (const { stream, data } of this.#parser.feed(chunk)) {
        if (stream === 2) this.#complaints = Buffer.concat([this.#complaints, data]).subarray(-KEPT_COMPLAINTS);
        else room = this.push(data) && room;
      }
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (!room) this.#socket.pause();
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#parser.complete) this.push(null);
    else this.#fail(new Error("it was cut in the middle of the output"));
  }

  #fail(error: unknown): void {
    this.#over = true;
    this.destroy(
      new EngineError(`the stream of a program in the container broke: ${oneLine(reasonOf(error))}`, { cause: error }),
    );
  }
}
