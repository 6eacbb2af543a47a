import { chmodSync } from "node:fs";
import { createConnection, createServer, type Server } from "node:net";

/** Asks a line of what listens here, and says what is heard, until the other side ends. */
export async function talk(target: { port: number; host?: string } | { path: string }, line: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    let heard = "";
    const socket = createConnection(target, () => socket.end(line));
    socket.setEncoding("utf8").on("data", (piece: string) => {
      heard += piece;
    });
    socket.once("error", reject).once("close", () => resolve(heard));
  });
}

export async function answers(target: { port: number } | { path: string }): Promise<boolean> {
  return await talk(target, "").then(
    (text) => text !== "",
    () => false,
  );
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** A server on this side, which says where it is. */
export async function listenHere(target: number | string): Promise<Server> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.end("hello from here\n");
  });
  await new Promise<void>((resolve) => {
    if (typeof target === "string") server.listen(target, resolve);
    else server.listen(target, "127.0.0.1", resolve);
  });
  if (typeof target === "string") chmodSync(target, 0o777);
  return server;
}
