import { type ChildProcess, spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { rootOf } from "./cluster.ts";

type ComputeHost = "n1" | "n2" | "n3";

/** Where the gate's socket is, on every host that has one. */
export const GATE = "unix:///run/gate.sock";

/** Listens where the first word says and hands everything on to the second's, until its standard input ends. */
const RELAY = `
const [, place, gate] = process.argv, net = require("net"), fs = require("fs");
fs.rmSync(place, { force: true });
net.createServer({ allowHalfOpen: true }, (client) => {
  const engine = net.connect({ path: gate, allowHalfOpen: true });
  for (const [one, other] of [[client, engine], [engine, client]]) {
    one.on("error", () => other.destroy());
    one.on("close", () => other.destroy());
    one.pipe(other);
  }
}).listen(place, () => { fs.chmodSync(place, 0o666); console.log("ready"); });
process.stdin.on("end", () => { fs.rmSync(place, { force: true }); process.exit(0); }).resume();
`;

/**
 * Stands before a host's real engine and hands everything on, but can hold a request back: so a launch stays in one of its
 * phases for as long as a test needs.
 */
export class EngineGate {
  readonly #host: ComputeHost;
  readonly #path: string;
  /** On the host itself: who listens as an engine is looked at, and whose paths it has. */
  #relay: ChildProcess | undefined;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #wanted: RegExp | undefined;
  #arrived: (() => void) | undefined;
  #release: (() => void)[] = [];

  constructor(host: ComputeHost) {
    this.#host = host;
    this.#path = join(process.env.GANGWAY_CLUSTER_PLACE ?? "", `gate-${host}.sock`);
  }

  async open(): Promise<void> {
    rmSync(this.#path, { force: true });
    const server = createServer({ allowHalfOpen: true }, (client) => this.#serve(client));
    await new Promise<void>((resolve) => server.listen(this.#path, resolve));
    this.#server = server;
    const words = ["on", this.#host, process.execPath, "-e", RELAY, GATE.replace("unix://", ""), this.#path];
    const relay = spawn(process.env.GANGWAY_CLUSTER ?? "", words, { stdio: ["pipe", "pipe", "inherit"] });
    this.#relay = relay;
    await new Promise((resolve) => relay.stdout.once("data", resolve));
  }

  /** Nobody is served any more; the socket's file goes. */
  async close(): Promise<void> {
    this.release();
    const server = this.#server;
    const relay = this.#relay;
    if (relay !== undefined && relay.exitCode === null) {
      const gone = new Promise((resolve) => relay.once("exit", resolve));
      relay.stdin?.end();
      await gone;
    }
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)));
  }

  /** @returns when a request whose first line is such a one is held back */
  hold(wanted: RegExp): Promise<void> {
    this.#wanted = wanted;
    return new Promise((resolve) => {
      this.#arrived = resolve;
    });
  }

  release(): void {
    this.#wanted = undefined;
    for (const go of this.#release.splice(0)) go();
  }

  #serve(client: Socket): void {
    const engine = createConnection({ path: `${rootOf(this.#host)}/run/docker.sock`, allowHalfOpen: true });
    for (const [one, other] of [
      [client, engine],
      [engine, client],
    ] as const) {
      this.#sockets.add(one);
      one.on("error", () => other.destroy());
      one.on("close", () => {
        this.#sockets.delete(one);
        other.destroy();
      });
    }
    engine.pipe(client);
    client.on("end", () => engine.end());
    client.on("data", (chunk: Buffer) => {
      const [line = ""] = chunk.toString("latin1").split("\r\n", 1);
      if (this.#wanted?.test(line) !== true) {
        engine.write(chunk);
        return;
      }
      client.pause();
      this.#release.push(() => {
        engine.write(chunk);
        client.resume();
      });
      this.#arrived?.();
    });
  }
}
