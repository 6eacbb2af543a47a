import { foldHostlist } from "../allocation/hostlist.ts";
import type { EngineIdentity } from "../engine/types.ts";
import { shortened } from "./nodes-lost.ts";

/** An engine's kind in words: nodes whose usual engine is away may have gone to another of another kind. */
export function kindOfEngine({ kind, rootless }: EngineIdentity): string {
  return `${rootless ? "rootless " : ""}${kind === "docker" ? "Docker" : "Podman"}`;
}

/**
 * Says which nodes have another kind of engine than most. That is no fault, since what runs in it is the same; but it may be
 * that the usual one is down there, and such a node has not all that the others have (limits, networks).
 *
 * @param engines of each node, by {@link kindOfEngine}
 * @returns a line for each of the other kinds; none where all are the same
 */
export function oddEngines(engines: readonly { readonly node: string; readonly engine: string }[]): string[] {
  const groups = new Map<string, string[]>();
  for (const { node, engine } of engines) {
    const names = groups.get(engine) ?? [];
    names.push(node);
    groups.set(engine, names);
  }
  const [usual, ...others] = [...groups].sort(([, one], [, other]) => other.length - one.length);
  return others.map(
    ([engine, names]) =>
      `${shortened(foldHostlist(names))}: the engine there is ${engine}, on the other nodes ${usual?.[0]}`,
  );
}
