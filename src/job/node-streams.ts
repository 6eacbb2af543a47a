import type { Readable, Writable } from "node:stream";
import { finished } from "node:stream/promises";
import type { Attachment } from "../engine/types.ts";
import type { Launcher } from "../rendezvous/dial.ts";
import type { StreamLink } from "../rendezvous/streams.ts";
import { required } from "./host.ts";

const NAMES = ["stdin", "stdout", "stderr"] as const;

/** Opens a connection to the launcher for each of a command's streams, in the order in which {@link join} takes them. */
export function openStreams(launcher: Launcher): Promise<readonly StreamLink[]> {
  const links = Promise.all(NAMES.map((name) => launcher.openStream(name)));
  // A container that could not be made meanwhile is told of instead.
  links.catch(() => undefined);
  return links;
}

/**
 * Passes a command's streams to the launcher and from it.
 *
 * @returns how many bytes of each output there were, at their end
 */
export async function join(
  attachment: Attachment,
  [stdin, stdout, stderr]: readonly StreamLink[],
): Promise<{ readonly stdout: number; readonly stderr: number }> {
  const input = required(stdin).receive();
  attachment.stdin.on("error", () => undefined);
  // A launcher that is gone is no end of the command's input: then the job ends anyway.
  input.on("error", () => undefined);
  input.pipe(attachment.stdin);
  const [out, err] = await Promise.all([
    pass(attachment.stdout, required(stdout).send()),
    pass(attachment.stderr, required(stderr).send()),
  ]);
  return { stdout: out, stderr: err };
}

/**
 * Passes a stream on to its end.
 *
 * @returns how many bytes came of it, when all of them have been received, or thrown away since nobody receives them
 */
export async function pass(source: Readable, sink: Writable): Promise<number> {
  let bytes = 0;
  source.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
  });
  sink.on("error", () => {
    // The launcher reads no more: what still comes is thrown away.
    source.unpipe(sink);
    source.resume();
  });
  source.once("error", () => sink.end());
  source.pipe(sink);
  const ended = finished(source, { writable: false }).catch(() => undefined);
  await Promise.all([ended, new Promise<void>((resolve) => sink.once("close", () => resolve()))]);
  return bytes;
}
