import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { makeDirectory } from "./helpers.ts";

/** Two ends of a connection by a unix socket; `inside` is paused, so that it can be given to another process. */
export async function connection(): Promise<{ inside: Socket; outside: Socket }> {
  const path = join(makeDirectory(), "socket");
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  await new Promise<void>((done) => server.listen(path, done));
  const accepted = new Promise<Socket>((done) => server.once("connection", done));
  const outside = connect({ path, allowHalfOpen: true });
  const inside = await accepted;
  server.close();
  for (const socket of [inside, outside]) socket.on("error", () => undefined);
  return { inside, outside };
}

/** The first so many bytes; fewer where the stream ends before. */
export async function take(stream: Socket, bytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  await new Promise<void>((resolve) => {
    stream.once("end", resolve);
    stream.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      size += chunk.length;
      if (size >= bytes) resolve();
    });
  });
  return Buffer.concat(chunks);
}
