import { constants } from "node:crypto";
import { createServer as createTcpServer, type Socket, type Server as TcpServer } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from "node:tls";
import { monotonicMs } from "../config/clock.ts";
import { Door, type DoorLimits } from "./door.ts";
import { type ChannelIdentity, fingerprintOf } from "./identity.ts";
import { listen, type PortRange } from "./listen.ts";
import { LookPace } from "./look-pace.ts";
import { type Ends, lookUp, Neighbourhood } from "./neighbours.ts";

export interface ThresholdOptions {
  readonly identity: ChannelIdentity;
  /** How many may wait for their turn. */
  readonly places: number;
  readonly ports: PortRange | undefined;
  readonly limits: DoorLimits;
}

/** Told of each connection whose other side has proven that it has the key of that fingerprint. */
type OnProven = (socket: TLSSocket, fingerprint: string) => void;

const SWEEP_MS = 1000;
/** More than any ClientHello of a node has, bytes. */
const MOST_HELLO = 16_384;

/**
 * The launcher's port: from a TCP connection to a key that was proven by TLS 1.3. Who comes from this host, and is neither
 * the user nor root, is hung up on. Of the others only so many shake hands at a time, each source in turn, once they have
 * sent something; the rest wait, and cost next to nothing. Who shows no certificate, or is too slow, is hung up on.
 */
export class Threshold {
  readonly port: number;
  readonly #tcp: TcpServer;
  readonly #identity: ChannelIdentity;
  #tlsMade: TlsServer | undefined;
  readonly #limits: DoorLimits;
  readonly #onProven: OnProven;
  readonly #neighbourhood = new Neighbourhood();
  /** Who comes from this host: whose it is has yet to be found out. */
  readonly #asked: Door;
  #looking = false;
  readonly #pace: LookPace;
  /** Who waits for a turn. */
  readonly #waiting: Door;
  /** Whose turn it is. */
  readonly #shaking: Door;
  /** The connection below a TLS whose outcome is not known yet, by the other side's address and port. */
  readonly #below = new Map<string, Socket>();
  readonly #sweep: NodeJS.Timeout;

  private constructor(tcp: TcpServer, port: number, options: ThresholdOptions, onProven: OnProven) {
    const { identity, places, limits } = options;
    this.port = port;
    this.#tcp = tcp;
    this.#limits = limits;
    this.#onProven = onProven;
    this.#asked = new Door(places);
    this.#pace = new LookPace(places / 2);
    this.#waiting = new Door(places);
    this.#shaking = new Door(limits.turns);
    this.#identity = identity;
    // Loading what TLS is made of takes some milliseconds, in which the nodes can be started.
    setImmediate(() => this.#tls).unref();
    tcp.on("connection", (socket: Socket) => this.#come(socket));
    tcp.on("error", () => undefined);
    const often = Math.min(SWEEP_MS, limits.handshakeMs, limits.yieldMs);
    this.#sweep = setInterval(() => this.#expire(monotonicMs()), often);
    this.#sweep.unref();
  }

  get #tls(): TlsServer {
    this.#tlsMade ??= this.#makeTls();
    return this.#tlsMade;
  }

  #makeTls(): TlsServer {
    const tls = createTlsServer({
      key: this.#identity.privateKeyPem,
      cert: this.#identity.certificatePem,
      minVersion: "TLSv1.3",
      requestCert: true,
      // The certificate is what is checked, by its fingerprint; one that signed itself has no authority to ask.
      rejectUnauthorized: false,
      // Left out, it means all authorities that Node has built in: reading these takes 40 ms.
      ca: [],
      // Nobody comes again: a ticket for that would only cost memory, for each of ten thousand.
      secureOptions: constants.SSL_OP_NO_TICKET,
    });
    tls.on("secureConnection", (socket) => this.#prove(socket));
    // What a stranger's handshake failed by is nobody's concern.
    tls.on("tlsClientError", (_error, socket) => socket.destroy());
    return tls;
  }

  /** @throws GangwayError when no port can be had */
  static async open(options: ThresholdOptions, onProven: OnProven): Promise<Threshold> {
    // Nothing is read of a connection before its turn; and one that is closed by the other side may still be written to.
    const tcp = createTcpServer({ pauseOnConnect: true, allowHalfOpen: true });
    const port = await listen(tcp, options.ports);
    return new Threshold(tcp, port, options, onProven);
  }

  /** Nobody comes in any more. Resolves when all connections that ever did are closed. */
  close(): Promise<void> {
    clearInterval(this.#sweep);
    const shut = new Promise<void>((resolve) => this.#tcp.close(() => resolve()));
    this.#asked.clear();
    this.#pace.stop();
    this.#waiting.clear();
    this.#shaking.clear();
    return shut;
  }

  #come(socket: Socket): void {
    const peer = peerOf(socket);
    socket.on("error", () => undefined);
    socket.once("close", () => {
      this.#asked.remove(socket);
      this.#waiting.remove(socket);
      this.#shaking.remove(socket);
      if (this.#below.get(peer) === socket) this.#below.delete(peer);
      this.#next();
    });
    if (this.#neighbourhood.has(endsOf(socket))) {
      this.#asked.add(socket, monotonicMs());
      if (!this.#looking) void this.#look();
      else this.#pace.came(this.#asked.size);
    } else this.#wait(socket);
  }

  /** Finds out whose the connections from this host are, all that are there at once. */
  async #look(): Promise<void> {
    this.#looking = true;
    // Those that come in one turn of the event loop are looked up together.
    await turn();
    while (this.#asked.size > 0) {
      await this.#pace.pause(() => this.#asked.size);
      const sockets = this.#asked.all();
      const { strangers, cpuMs } = await lookUp(sockets.map(endsOf), process.geteuid?.() ?? 0);
      for (const [index, socket] of sockets.entries()) {
        if (!this.#asked.remove(socket)) continue;
        // By a reset, of which the kernel remembers nothing (TIME_WAIT): its tables are read for each newcomer.
        if (strangers[index] === true) socket.resetAndDestroy();
        else this.#wait(socket);
      }
      this.#pace.looked(cpuMs);
    }
    this.#looking = false;
  }

  /** In TLS it is the client who speaks first: before that there is nothing to give it a turn for. */
  #wait(socket: Socket): void {
    this.#waiting.addSilent(socket, monotonicMs());
    // What is read stays in the socket, and TLS finds it there.
    socket.on("readable", () => {
      if (socket.readableLength === 0 || socket.readableLength > MOST_HELLO) socket.destroy();
      else {
        this.#waiting.speak(socket);
        this.#next();
      }
    });
  }

  #next(): void {
    const { turns, turnsPerSource, yieldMs } = this.#limits;
    for (;;) {
      const slow = monotonicMs() - yieldMs;
      const socket = this.#waiting.take(
        (source) =>
          (this.#shaking.countFrom(source) < turnsPerSource || this.#shaking.yieldOne(slow, source)) &&
          (this.#shaking.size < turns || this.#shaking.yieldOne(slow)),
      );
      if (socket === undefined) return;
      socket.removeAllListeners("readable");
      this.#shaking.add(socket, monotonicMs());
      this.#below.set(peerOf(socket), socket);
      this.#tls.emit("connection", socket);
    }
  }

  #expire(now: number): void {
    const { handshakeMs } = this.#limits;
    this.#waiting.expireSilent(now - handshakeMs);
    this.#shaking.expire(now - handshakeMs);
    this.#next();
  }

  /** TLS has proven that the other side has the key of the certificate it showed. */
  #prove(socket: TLSSocket): void {
    const below = this.#below.get(peerOf(socket));
    if (below !== undefined) this.#shaking.remove(below);
    this.#below.delete(peerOf(socket));
    this.#next();
    socket.on("error", () => undefined);
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) {
      socket.destroy();
      return;
    }
    socket.setNoDelay(true);
    this.#onProven(socket, fingerprintOf(certificate));
  }
}

/** How a connection is told from every other. */
function peerOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}

function endsOf(socket: Socket): Ends {
  const { remoteAddress = "", remotePort = 0, localAddress = "", localPort = 0 } = socket;
  return { remote: { address: remoteAddress, port: remotePort }, local: { address: localAddress, port: localPort } };
}
