import { type ChildProcess, spawn } from "node:child_process";
import type { Socket } from "node:net";
import type { Readable, Writable } from "node:stream";
import { BEAT } from "./frames.ts";

/** A client program's connection: a socket that is paused, or the descriptors it reads and writes by. */
export type LocalEnd = Socket | { readonly from: number; readonly to: number };

/** The client's side of a carrier, once the way to the node's sshd is open. */
export interface NearSide {
  readonly incoming: Readable;
  readonly outgoing: Writable;
  /** Absolute path of the installation's connector. */
  readonly connector: string;
  readonly silenceMs: number;
  /** As {@link Carried} has it. */
  readonly padding: number;
}

/**
 * Copies between a client program and a carrier: a program of ours does it (udiImage/src/connector_near.h), since this process would
 * be woken for each KiB that Slurm gives. From here on neither stream of the carrier is this process's to read or to write.
 */
export class NearPump {
  readonly #child: ChildProcess;
  /** Whether the carrier, or the other side, went before the client program. Never rejects. */
  readonly cut: Promise<boolean>;

  private constructor(local: LocalEnd, { incoming, outgoing, connector, silenceMs, padding }: NearSide) {
    const ends = "from" in local ? [local.from, local.to] : [local, local];
    const before: Buffer | null = incoming.read();
    const child = spawn(connector, ["--near", String(silenceMs), String(padding)], {
      stdio: [incoming, outgoing, "ignore", "pipe", ...ends],
      // What a terminal sends to the foreground is this process's to pass on.
      detached: true,
    });
    this.#child = child;
    const readBefore = child.stdio[3] as Writable;
    readBefore.on("error", () => undefined);
    readBefore.end(before ?? "");
    this.cut = new Promise((resolve) => {
      child.once("error", () => resolve(true));
      child.once("exit", (code) => resolve(code !== 0));
    });
  }

  /** When what was written to the carrier has left this process. */
  static async start(local: LocalEnd, side: NearSide): Promise<NearPump> {
    await new Promise<void>((resolve) => side.outgoing.write(BEAT, () => resolve()));
    return new NearPump(local, side);
  }

  /** The other side is told that it is about to be stopped, and it is. */
  rest(): void {
    this.#child.kill("SIGTSTP");
  }

  goOn(): void {
    this.#child.kill("SIGCONT");
  }
}
