import { createServer, type Server } from "node:net";
import type { Duplex } from "node:stream";
import { JobError, reasonOf } from "../config/errors.ts";

/**
 * A stream as a unix socket, which ssh reaches by the connector: the first connection gets it, and there is no second.
 *
 * @param path in a private directory: whoever can connect has the stream
 * @returns what stops listening, and ends connection and stream
 */
export async function serveStream(path: string, stream: Duplex): Promise<() => void> {
  const server = createServer({ allowHalfOpen: true }, (connection) => {
    server.close();
    const end = () => {
      connection.destroy();
      stream.destroy();
    };
    // One that breaks takes the other along; how, the client program says.
    connection.on("error", end);
    stream.on("error", end);
    connection.once("close", end);
    stream.once("close", end);
    connection.pipe(stream);
    stream.pipe(connection);
  });
  await listening(server, path);
  return () => {
    server.close();
    stream.destroy();
  };
}

async function listening(server: Server, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(new JobError(`${path} cannot be listened on: ${reasonOf(error)}`)));
    server.listen(path, resolve);
  });
}

/** What came instead of a first line. */
export class NoFirstLine extends Error {
  readonly said: string;

  constructor(reason: string, said: string) {
    super(reason);
    this.said = said;
  }
}

/**
 * The first line of a stream, without its end; what came behind it is put back.
 *
 * @param limits bytes at most, and milliseconds of patience
 * @throws NoFirstLine
 */
export async function readFirstLine(
  stream: Duplex,
  limits: { readonly bytes: number; readonly patienceMs: number },
): Promise<string> {
  let text: Buffer = Buffer.alloc(0);
  return await new Promise((resolve, reject) => {
    const done = (act: () => void) => {
      clearTimeout(timer);
      stream.off("readable", read);
      stream.off("end", ended);
      stream.off("error", failed);
      act();
    };
    const fail = (reason: string) => done(() => reject(new NoFirstLine(reason, text.toString("utf8"))));
    const ended = () => fail("it ended");
    const failed = (error: Error) => fail(reasonOf(error));
    const read = () => {
      for (let chunk = stream.read() as Buffer | null; chunk !== null; chunk = stream.read() as Buffer | null) {
        text = Buffer.concat([text, chunk]);
        const end = text.indexOf(0x0a);
        if (end === -1 && text.length <= limits.bytes) continue;
        const line = text.subarray(0, end).toString("latin1");
        if (end === -1) return fail("it says too much");
        const rest = text.subarray(end + 1);
        return done(() => {
          if (rest.length > 0) stream.unshift(rest);
          resolve(line);
        });
      }
    };
    const timer = setTimeout(() => fail(`it said nothing within ${limits.patienceMs / 1000} s`), limits.patienceMs);
    stream.on("readable", read);
    stream.once("end", ended);
    stream.once("error", failed);
  });
}
