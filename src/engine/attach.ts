import type { Socket } from "node:net";
import { Readable, Writable } from "node:stream";
import { EngineError, reasonOf } from "../config/errors.ts";
import { shortName } from "./containers.ts";
import { FrameParser, type OutputStream } from "./demux.ts";
import { oneLine } from "./failures.ts";
import type { Transport } from "./transport.ts";
import type { Attachment } from "./types.ts";

/**
 * Attaches to the standard streams of a container that is created and not yet started, so that no byte is lost.
 *
 * Two connections: a command that ends without having read its input makes writing to it fail, and Node drops a socket
 * whose writing failed, with all that had still to be read from it. So the outputs have one of their own. It costs 1 ms.
 *
 * When the engine dies, the kernel closes its connection just as it would itself at the end of the output: where that
 * happens between two frames, only the command's exit report can tell the one from the other.
 *
 * @param tty whether the container has a terminal: then its output is one raw stream
 * @throws EngineError also when the command cannot be executed: Podman prepares it here, Docker at the start
 */
export async function attach(transport: Transport, id: string, tty: boolean): Promise<Attachment> {
  // One after the other: Podman prepares the container at the first.
  const output = await hijack(transport, id, { stdout: "1", stderr: "1" });
  try {
    const input = await hijack(transport, id, { stdin: "1" });
    return new Outputs(output, input, tty).attachment();
  } catch (error) {
    output.destroy();
    throw error;
  }
}

function hijack(transport: Transport, id: string, streams: Record<string, string>): Promise<Socket> {
  const action = `attach to container ${shortName(id)}`;
  const query = { stream: "1", ...streams };
  return transport.hijack({ method: "POST", path: `/containers/${encodeURIComponent(id)}/attach`, query, action });
}

/** Copies from the engine's connection to the two outputs, never faster than they are read. */
class Outputs {
  readonly #socket: Socket;
  /** Owned too: it is of no use when the outputs have ended. */
  readonly #input: Socket;
  readonly #parser: FrameParser | undefined;
  readonly #stdout: Readable;
  readonly #stderr: Readable;
  /** The outputs whose readers are behind; while there is one, the connection is not read. */
  readonly #full = new Set<Readable>();
  /** The outputs that were told their end; telling it twice is an error. */
  readonly #ended = new Set<Readable>();
  #failure: Error | undefined;

  constructor(socket: Socket, input: Socket, tty: boolean) {
    this.#socket = socket;
    this.#parser = tty ? undefined : new FrameParser();
    this.#stdout = this.#output();
    this.#stderr = this.#output();
    if (tty) this.#endOutput(this.#stderr);
    this.#input = input;
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.once("end", () => this.#end());
    socket.on("error", (error) => this.#fail(error));
    socket.once("close", () => this.#end());
  }

  attachment(): Attachment {
    return {
      stdin: inputOf(this.#input),
      stdout: this.#stdout,
      stderr: this.#stderr,
      destroy: () => {
        this.#input.destroy();
        this.#socket.destroy();
      },
    };
  }

  #output(): Readable {
    const output: Readable = new Readable({
      read: () => this.#drained(output),
      // Who drops one output still gets the other.
      destroy: (error, done) => {
        this.#drained(output);
        done(error);
      },
    });
    // A reader who is not listening yet must not make the error an unhandled one; who reads later still gets it.
    output.on("error", () => undefined);
    return output;
  }

  #drained(output: Readable): void {
    if (this.#full.delete(output) && this.#full.size === 0) this.#socket.resume();
  }

  #take(chunk: Buffer): void {
    if (this.#parser === undefined) {
      this.#push(1, chunk);
      return;
    }
    try {
      for (const { stream, data } of this.#parser.feed(chunk)) this.#push(stream, data);
    } catch (error) {
      this.#fail(error);
      this.#socket.destroy();
    }
  }

  #push(stream: OutputStream, data: Buffer): void {
    const output = stream === 1 ? this.#stdout : this.#stderr;
    if (output.destroyed || output.push(data)) return;
    this.#full.add(output);
    this.#socket.pause();
  }

  #fail(error: unknown): void {
    this.#failure ??= new EngineError(`the connection to the container's streams broke: ${oneLine(reasonOf(error))}`, {
      cause: error,
    });
    this.#end();
  }

  /** Ends both outputs, once: cleanly only where the stream ended where a frame ends. */
  #end(): void {
    if (this.#parser?.complete === false) {
      this.#failure ??= new EngineError(
        "the connection to the container's streams was cut in the middle of its output",
      );
    }
    for (const output of [this.#stdout, this.#stderr]) {
      if (this.#failure !== undefined) output.destroy(this.#failure);
      else this.#endOutput(output);
    }
    this.#input.destroy();
  }

  #endOutput(output: Readable): void {
    if (output.destroyed || this.#ended.has(output)) return;
    this.#ended.add(output);
    output.push(null);
  }
}

/** A connection as a stream to write to; ending it closes the sending half, which the command sees as its input's end. */
function inputOf(socket: Socket): Writable {
  const input = new Writable({
    // Else the connection would be closed as soon as its sending half is, and Podman, which sends outputs here too, asked for
    // or not, would fail at that and throw away the input that it still holds.
    autoDestroy: false,
    write: (chunk: Buffer, _encoding, done) => {
      socket.write(chunk, done);
    },
    final: (done) => {
      socket.end(done);
    },
    destroy: (error, done) => {
      socket.destroy();
      done(error);
    },
  });
  socket.resume();
  // A command that ended, or closed its standard input, makes writing fail: no failure of the launch.
  socket.on("error", () => undefined);
  input.on("error", () => undefined);
  return input;
}
