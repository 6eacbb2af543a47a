import { setTimeout as sleep } from "node:timers/promises";
import { type ConnectionOptions, connect, createSecureContext, type SecureContext, type TLSSocket } from "node:tls";
import { GangwayError, reasonOf } from "../config/errors.ts";
import { CHANNEL_PROTOCOL, type FirstLine, formatFirstLine, readFirstLine } from "./first-line.ts";
import { type ChannelIdentity, fingerprintOf } from "./identity.ts";
import { KeptConnection } from "./kept.ts";
import { Pulse } from "./pulse.ts";
import { StreamLink } from "./streams.ts";

export interface DialRequest {
  /** The launcher's, the best first; each an IPv4 or IPv6 address. */
  readonly addresses: readonly string[];
  readonly port: number;
  /** The fingerprint of the launcher's key: nobody else is talked to. */
  readonly key: string;
  /** The node's own. */
  readonly identity: ChannelIdentity;
  /** How long to go on trying, milliseconds. */
  readonly timeoutMs: number;
  /** From which of this host's addresses; chosen by the system without it. */
  readonly localAddress?: string;
  /** Ends the dialling. */
  readonly signal?: AbortSignal;
  readonly pulse?: Pulse;
}

/** The launcher as a node has reached it. */
export interface Launcher {
  readonly connection: KeptConnection;
  /**
   * Opens a further connection for the bytes of one direction.
   *
   * @param name what they are, such as `stdout`
   * @throws GangwayError when it cannot be made
   */
  openStream(name: string): Promise<StreamLink>;
}

/** An address that has not even a connection to offer is not waited for (RFC 8305 goes on after 250 ms, too). */
const CONNECT_PATIENCE_MS = 250;
/** One that has may be a launcher with ten thousand nodes before us. */
const ANSWER_PATIENCE_MS = 20_000;
const HANDSHAKE_LIMIT_MS = 60_000;
/** Between two rounds over all addresses. */
const PAUSE_MS = 500;
/** Between two attempts at a connection for bytes. */
const STREAM_PAUSE_MS = 100;

/**
 * Reaches the launcher and makes the connection that the node keeps: ready when the launcher has taken it, which it does
 * once it knows the node's fingerprint from the node's frame.
 *
 * @throws GangwayError that names each address with the reason why not, after `timeoutMs` or when aborted
 */
export async function dial(request: DialRequest): Promise<Launcher> {
  const limit = AbortSignal.timeout(request.timeoutMs);
  const signal = request.signal === undefined ? limit : AbortSignal.any([limit, request.signal]);
  const dialler = new Dialler(request);
  for (;;) {
    const connection = await dialler.round(signal);
    if (connection !== undefined) return { connection, openStream: (name) => dialler.openStream(name) };
    if (signal.aborted) throw dialler.failure(request.signal?.aborted === true);
    await sleep(PAUSE_MS, undefined, { signal }).catch(() => undefined);
  }
}

class Dialler {
  readonly #request: DialRequest;
  readonly #context: SecureContext;
  readonly #reasons = new Map<string, string>();
  #reached: string | undefined;

  constructor(request: DialRequest) {
    this.#request = request;
    const { privateKeyPem: key, certificatePem: cert } = request.identity;
    // Nobody's authority counts here. Left out, `ca` means all that Node has built in: reading these takes 40 ms.
    this.#context = createSecureContext({ key, cert, ca: [], minVersion: "TLSv1.3" });
  }

  /** Tries the addresses once, the next one when there is nothing to hope for from those before; the first that takes us wins. */
  async round(signal: AbortSignal): Promise<KeptConnection | undefined> {
    const others = new AbortController();
    const either = this.#request.addresses.length === 1 ? signal : AbortSignal.any([signal, others.signal]);
    const attempts: Promise<{ readonly address: string; readonly connection: KeptConnection }>[] = [];
    for (const address of this.#request.addresses) {
      if (either.aborted) break;
      const progress = new Progress();
      const attempt = this.#keep(address, either, progress).then((connection) => {
        others.abort();
        return { address, connection };
      });
      attempts.push(attempt);
      await progress.hope(attempt, either);
    }
    const first = await Promise.any(attempts).catch(() => undefined);
    others.abort();
    // Two may have been taken at once: the launcher refuses the second, and nobody here waits for it.
    for (const attempt of attempts) {
      void attempt.then(
        ({ connection }) => (connection === first?.connection ? undefined : connection.close()),
        () => undefined,
      );
    }
    this.#reached = first?.address;
    return first?.connection;
  }

  /** Strangers may crowd the door: who is hung up on there, or refused, comes again until the time is over. */
  async openStream(name: string): Promise<StreamLink> {
    const address = this.#reached;
    if (address === undefined) throw new GangwayError("no launcher was reached");
    const limit = AbortSignal.timeout(HANDSHAKE_LIMIT_MS);
    const signal = this.#request.signal === undefined ? limit : AbortSignal.any([limit, this.#request.signal]);
    let reason: unknown;
    do {
      try {
        const socket = await this.#connect(address, signal);
        socket.write(formatFirstLine({ kind: "stream", name }));
        return new StreamLink(socket, Buffer.alloc(0));
      } catch (error) {
        if (reason === undefined || !signal.aborted) reason = error;
      }
      // A launcher that is gone is no reason for this process to stay.
      await sleep(STREAM_PAUSE_MS, undefined, { signal, ref: false }).catch(() => undefined);
    } while (!signal.aborted && mayPass(reason));
    throw new GangwayError(`the launcher's ${place(address, this.#request.port)}: ${reasonOf(reason)}`, {
      cause: reason,
    });
  }

  failure(aborted: boolean): GangwayError {
    const tried = [...this.#reasons].map(([address, reason]) => `${place(address, this.#request.port)}: ${reason}`);
    const why = tried.length === 0 ? "no address answered" : tried.join("; ");
    if (aborted) return new GangwayError(`the launcher was not reached before the end (${why})`);
    return new GangwayError(`the launcher cannot be reached (${why})`, {
      hint: "the nodes must be able to open TCP connections to the launcher's host (setting rendezvousPorts, for a firewall)",
    });
  }

  async #keep(address: string, signal: AbortSignal, progress: Progress): Promise<KeptConnection> {
    try {
      const socket = await this.#connect(address, signal, progress);
      progress.proven.resolve();
      const drop = () => socket.destroy();
      signal.addEventListener("abort", drop, { once: true });
      try {
        const said: FirstLine = { kind: "kept", protocol: CHANNEL_PROTOCOL };
        socket.write(formatFirstLine(said));
        const { line, early } = await readFirstLine(socket);
        if (line?.kind !== "kept" || line.protocol !== CHANNEL_PROTOCOL) {
          throw new Error("the launcher speaks another protocol");
        }
        return new KeptConnection(socket, this.#request.pulse ?? new Pulse(), early);
      } catch (error) {
        socket.destroy();
        throw error;
      } finally {
        signal.removeEventListener("abort", drop);
      }
    } catch (error) {
      // What another attempt's success has cut off is no reason.
      if (!signal.aborted || !this.#reasons.has(address)) {
        this.#reasons.set(address, signal.aborted ? "no answer in time" : reasonOf(error));
      }
      throw error;
    }
  }

  /** A connection to the one who has the launcher's key; anybody else is hung up on before a byte is said. */
  #connect(address: string, signal: AbortSignal, progress?: Progress): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      const options: ConnectionOptions & { readonly allowHalfOpen: boolean } = {
        host: address,
        port: this.#request.port,
        ...(this.#request.localAddress !== undefined && { localAddress: this.#request.localAddress }),
        secureContext: this.#context,
        // The certificate is what is checked, below; one that signed itself has no authority to ask.
        rejectUnauthorized: false,
        checkServerIdentity: () => undefined,
        allowHalfOpen: true,
      };
      const socket = connect(options);
      const limit = setTimeout(() => fail(new Error("no answer in time")), HANDSHAKE_LIMIT_MS);
      const drop = () => fail(new Error("given up"));
      const settle = () => {
        clearTimeout(limit);
        signal.removeEventListener("abort", drop);
        socket.off("error", fail);
        socket.off("close", drop);
      };
      const fail = (error: Error) => {
        settle();
        socket.on("error", () => undefined);
        socket.destroy();
        reject(error);
      };
      signal.addEventListener("abort", drop, { once: true });
      socket.on("error", fail);
      socket.on("close", drop);
      socket.once("connect", () => progress?.connected.resolve());
      socket.once("secureConnect", () => {
        const certificate = socket.getPeerX509Certificate();
        if (certificate === undefined || fingerprintOf(certificate) !== this.#request.key) {
          fail(new Impostor("somebody else answers there: the key is not the launcher's"));
          return;
        }
        settle();
        socket.on("error", () => undefined);
        socket.setNoDelay(true);
        resolve(socket);
      });
      if (signal.aborted) drop();
    });
  }
}

/** Another has the launcher's port: coming again does not help. */
class Impostor extends Error {}

/** Whether a connection that failed so may be had by another attempt. */
function mayPass(reason: unknown): boolean {
  return !(reason instanceof Impostor);
}

/** How far an attempt has come. */
class Progress {
  /** Somebody is there. */
  readonly connected = new Milestone();
  /** It is the launcher: there is nothing better to be found elsewhere, while it waits for this node's frame. */
  readonly proven = new Milestone();

  /** Resolves when the next address should be tried as well. */
  async hope(attempt: Promise<unknown>, signal: AbortSignal): Promise<void> {
    const settled = attempt.then(
      () => undefined,
      () => undefined,
    );
    await this.connected.within(CONNECT_PATIENCE_MS, settled, signal);
    if (!this.connected.reached) return;
    await this.proven.within(ANSWER_PATIENCE_MS, settled, signal);
    if (this.proven.reached) await settled;
  }
}

class Milestone {
  reached = false;
  #resolve: () => void = () => undefined;
  readonly #promise = new Promise<void>((resolve) => {
    this.#resolve = resolve;
  });

  resolve(): void {
    this.reached = true;
    this.#resolve();
  }

  /** Resolves when it is reached, or cannot be any more, or so much time has passed. */
  async within(milliseconds: number, settled: Promise<void>, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const enough = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", enough);
        resolve();
      };
      const timer = setTimeout(enough, milliseconds);
      signal.addEventListener("abort", enough, { once: true });
      if (signal.aborted) enough();
      void this.#promise.then(enough);
      void settled.then(enough);
    });
  }
}

function place(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
