import { findRunBases } from "../config/paths.ts";
import { serveCarried } from "../session/carriers/far.ts";
import { configure, ownerOf } from "./context.ts";

export const help = `Usage: gangway carried

What a workload manager starts on a job's host to carry a session there; started by gangway ssh, not by hand.
`;

/** Not commander's: it is part of every session's start. */
export async function run(_words: readonly string[]): Promise<number> {
  const { values } = await configure({});
  const { identity, places } = ownerOf(undefined);
  return await serveCarried({ identity, bases: findRunBases(places, values.runDirectory) });
}
