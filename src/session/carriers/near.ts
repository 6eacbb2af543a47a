import { spawn } from "node:child_process";
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
 * Copies between a client program and a carrier, to the end of either: a program of ours does it (udiImage/src/connector_near.h), since
 * this process would be woken for each KiB that Slurm gives. From here on neither stream of the carrier is this process's to read or to
 * write.
 *
 * @returns whether the carrier, or the other side, went before the client program and the sshd
 */
export async function copyNear(local: LocalEnd, side: NearSide): Promise<boolean> {
  const { incoming, outgoing, connector, silenceMs, padding } = side;
  // Behind it nothing of what was written is in this process any more.
  await new Promise<void>((resolve) => outgoing.write(BEAT, () => resolve()));
  // What has ended is closed by Node, and cannot be handed over.
  if (incoming.destroyed || incoming.readableEnded || outgoing.destroyed) return true;
  const before = incoming.read() as Buffer | null;
  const ends = "from" in local ? [local.from, local.to] : [local, local];
  const child = spawn(connector, ["--near", String(silenceMs), String(padding)], {
    stdio: [incoming, outgoing, "ignore", "pipe", ...ends],
    detached: true,
  });
  const ended = new Promise<boolean>((resolve) => {
    child.once("error", () => resolve(true));
    child.once("exit", (code) => resolve(code !== 0));
  });
  const readBefore = child.stdio[3] as Writable;
  readBefore.on("error", () => undefined);
  readBefore.end(before ?? "");
  return await ended;
}
