import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { JobError, STATUS } from "../../config/errors.ts";
import { type KitReply, parseKitReply } from "../kit-reply.ts";
import type { Guess, ManagedJob } from "./client.ts";
import { type CarrierCommand, GuardedCarrier } from "./guard.ts";
import { carriedWords, headWords } from "./managed.ts";
import { CarrierStream } from "./stream.ts";

/** How a manager's way is gone, from the configuration. */
export interface CarrierSettings {
  /** The program on the job's host: the setting nodeProgram, else this program's path. */
  readonly program: string;
  /** The setting nodeSilence, in milliseconds. */
  readonly silenceMs: number;
  /** The same installation is on the job's host: its connector can take the commonest case there. */
  readonly same: boolean;
  /** Where the user's jobs may have their directories. */
  readonly bases: readonly string[];
  /** Of this installation: its connector is ssh's way to this process. */
  readonly udiImage: string;
  /** Absolute path of that. */
  readonly connector: string;
}

/**
 * Begins a way to where a job most likely is, before its manager is asked: nothing is said on it before that has answered.
 *
 * @param directory of the session, private and in memory; it need not be there before the carrier is started
 * @returns the carrier, which is still to be started
 * @throws JobError
 */
export function beginCarrier(guess: Guess, settings: CarrierSettings, directory: string): GuardedCarrier {
  return new GuardedCarrier(guess.carrier(headWords(settings, guess.job, guess.padding)), directory);
}

/** What is carried, and where from. */
export interface Opening {
  /** Of the session, private and in memory. */
  readonly directory: string;
  /** To be signed on the way; undefined: none. */
  readonly publicKey?: string;
  /** By {@link beginCarrier}, which has been started, where the manager's answer is as guessed. Whoever began it closes it. */
  readonly begun?: GuardedCarrier | undefined;
}

/**
 * Opens a way to a job by its workload manager.
 *
 * @throws JobError
 */
export async function openCarrier(
  managed: ManagedJob,
  settings: CarrierSettings,
  { directory, publicKey, begun }: Opening,
): Promise<CarrierStream> {
  const { job, node } = managed.reading;
  const { silenceMs } = settings;
  const { padding } = managed;
  const toHead = node === undefined && publicKey !== undefined;
  const command = managed.carrier(toHead ? headWords(settings, job, padding) : carriedWords(settings));
  const request = {
    job,
    ...(node === undefined ? {} : { node }),
    ...(publicKey === undefined ? {} : { publicKey }),
    silenceMs,
    padding,
  };
  const carrier = begun ?? startCarrier(command, directory);
  return await CarrierStream.open(carrier, command, request, settings.connector);
}

function startCarrier(command: CarrierCommand, directory: string): GuardedCarrier {
  const carrier = new GuardedCarrier(command, directory);
  try {
    carrier.start();
    return carrier;
  } catch (error) {
    carrier.close();
    throw error;
  }
}

/** What stops all of a terminal's process group: ^Z, and in the background its reading or setting of the terminal. */
const STOPS: readonly NodeJS.Signals[] = ["SIGTSTP", "SIGTTIN", "SIGTTOU"];

/** Where ssh connects to, in the session's private directory. */
const SOCKET = "socket";

/**
 * Takes the connections of a session's client programs on a unix socket and has each carried to the node's sshd: the first
 * by the carrier that is there already, by which the key was signed, any further one by a carrier of its own.
 */
export class Switchboard {
  readonly #server: Server;
  readonly #open: () => Promise<CarrierStream>;
  readonly #streams = new Set<CarrierStream>();
  readonly #locals = new Set<Promise<void>>();
  #first: CarrierStream | undefined;
  /** Whose guard is the session's directory's, too: until that is gone it is not to be closed, and not here. */
  #guarding: CarrierStream | undefined;
  #resting = false;
  /** Whether a carrier, or the far end, went before the client program. */
  cut = false;
  /** Absolute path. */
  readonly socket: string;
  readonly reply: KitReply;

  /** @throws JobError for a reply that is none */
  private constructor(
    first: CarrierStream,
    { begun }: Opening,
    open: () => Promise<CarrierStream>,
    server: Server,
    socket: string,
  ) {
    this.reply = parseKitReply(first.kit);
    this.#first = first;
    if (begun !== undefined) this.#guarding = first;
    this.#streams.add(first);
    this.#open = open;
    this.socket = socket;
    this.#server = server.on("connection", (local: Socket) => {
      const left = new Promise<void>((resolve) => local.once("close", () => resolve()).once("end", () => resolve()));
      this.#locals.add(left);
      local.on("error", () => undefined);
      void this.#carry(local).catch(() => {
        this.cut = true;
        local.destroy();
      });
    });
    for (const signal of STOPS) process.on(signal, this.#rest);
    process.on("SIGCONT", this.#goOn);
  }

  /** @throws JobError */
  static async open(
    managed: ManagedJob,
    settings: CarrierSettings,
    opening: Opening & { readonly publicKey: string },
  ): Promise<Switchboard> {
    const { directory } = opening;
    const socket = join(directory, SOCKET);
    // The carrier takes its time, and nobody connects before it is there.
    const [stream, server] = await Promise.allSettled([openCarrier(managed, settings, opening), listen(socket)]);
    try {
      if (stream.status === "rejected") throw stream.reason;
      if (server.status === "rejected") throw server.reason;
      const further = () => openCarrier(managed, settings, { directory });
      return new Switchboard(stream.value, opening, further, server.value, socket);
    } catch (error) {
      if (stream.status === "fulfilled") stream.value.close();
      if (server.status === "fulfilled") server.value.close();
      throw error;
    }
  }

  async #carry(local: Socket): Promise<void> {
    const first = this.#first;
    this.#first = undefined;
    const stream = first ?? (await this.#open());
    this.#streams.add(stream);
    if (await stream.connect(local)) this.cut = true;
    local.destroy();
    this.#end(stream);
    this.#streams.delete(stream);
  }

  #end(stream: CarrierStream): void {
    if (stream === this.#guarding) stream.end();
    else stream.close();
  }

  /** Before this process is stopped with the others of the terminal, the other side is told. */
  readonly #rest = (): void => {
    if (this.#resting) return;
    this.#resting = true;
    const told = [...this.#streams].map((stream) => new Promise<void>((resolve) => stream.rest(resolve)));
    void Promise.all(told).then(() => process.kill(process.pid, "SIGSTOP"));
  };

  readonly #goOn = (): void => {
    this.#resting = false;
    for (const stream of this.#streams) stream.goOn();
  };

  /**
   * Waits until the client programs have closed their connections (one in the background, `ssh -f`, lives by this process),
   * and ends all carriers; the guard of one that was begun stays.
   */
  async close(): Promise<void> {
    this.#server.close();
    await Promise.all(this.#locals);
    for (const signal of STOPS) process.off(signal, this.#rest);
    process.off("SIGCONT", this.#goOn);
    for (const stream of this.#streams) this.#end(stream);
  }
}

async function listen(path: string): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) =>
      reject(new JobError(`${path} cannot be made: ${error.message}`, { exitCode: STATUS.unreachable })),
    );
    server.listen(path, resolve);
  });
  return server;
}
