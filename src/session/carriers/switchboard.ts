import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { JobError, STATUS } from "../../config/errors.ts";
import { type KitReply, parseKitReply } from "../kit-reply.ts";
import type { ManagedJob } from "./client.ts";
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
 * Opens a way to a job by its workload manager.
 *
 * @param publicKey to be signed on the way; undefined: none
 * @param directory of the session, private and in memory
 * @throws JobError
 */
export async function openCarrier(
  managed: ManagedJob,
  settings: CarrierSettings,
  directory: string,
  publicKey?: string,
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
  return await CarrierStream.open(command, request, directory, settings.connector);
}

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
  /** Whether a carrier, or the far end, went before the client program. */
  cut = false;
  /** Absolute path. */
  readonly socket: string;
  readonly reply: KitReply;

  private constructor(first: CarrierStream, open: () => Promise<CarrierStream>, directory: string) {
    this.reply = parseKitReply(first.kit);
    this.#first = first;
    this.#streams.add(first);
    this.#open = open;
    this.socket = join(directory, SOCKET);
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (local) => {
      const left = new Promise<void>((resolve) => local.once("close", () => resolve()).once("end", () => resolve()));
      this.#locals.add(left);
      local.on("error", () => undefined);
      void this.#carry(local).catch(() => {
        this.cut = true;
        local.destroy();
      });
    });
  }

  /** @throws JobError */
  static async open(
    managed: ManagedJob,
    settings: CarrierSettings,
    directory: string,
    publicKey: string,
  ): Promise<Switchboard> {
    const first = await openCarrier(managed, settings, directory, publicKey);
    try {
      const board = new Switchboard(first, () => openCarrier(managed, settings, directory), directory);
      await board.#listen();
      return board;
    } catch (error) {
      first.close();
      throw error;
    }
  }

  async #listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", (error) =>
        reject(new JobError(`${this.socket} cannot be made: ${error.message}`, { exitCode: STATUS.unreachable })),
      );
      this.#server.listen(this.socket, resolve);
    });
    process.on("SIGTSTP", this.#rest);
    process.on("SIGCONT", this.#goOn);
  }

  async #carry(local: Socket): Promise<void> {
    const first = this.#first;
    this.#first = undefined;
    const stream = first ?? (await this.#open());
    this.#streams.add(stream);
    if (await stream.connect(local)) this.cut = true;
    local.destroy();
    this.#streams.delete(stream);
  }

  /** Before this process is stopped with the others of the terminal (^Z), the other side is told. */
  readonly #rest = (): void => {
    const told = [...this.#streams].map((stream) => new Promise<void>((resolve) => stream.rest(resolve)));
    void Promise.all(told).then(() => process.kill(process.pid, "SIGSTOP"));
  };

  readonly #goOn = (): void => {
    for (const stream of this.#streams) stream.goOn();
  };

  /**
   * Waits until the client programs have closed their connections (one in the background, `ssh -f`, lives by this process),
   * and ends all carriers.
   */
  async close(): Promise<void> {
    this.#server.close();
    await Promise.all(this.#locals);
    process.off("SIGTSTP", this.#rest);
    process.off("SIGCONT", this.#goOn);
    for (const stream of this.#streams) stream.close();
  }
}
