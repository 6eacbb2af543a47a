import { GangwayError } from "../config/errors.ts";
import type { KeptConnection } from "../rendezvous/kept.ts";
import { within } from "./deferred.ts";
import { Suspension } from "./suspension.ts";

/** A node that does not take the word by then is not waited for: ^Z is to work. */
const WORD_LIMIT_MS = 1000;

/**
 * A launcher that is to be stopped, by ^Z or by a manager, and its nodes on other hosts, which would take it for dead: it
 * tells them first, and again when it goes on.
 */
export class Rest {
  readonly #connections: () => readonly (KeptConnection | undefined)[];

  /** @param connections to the nodes that are there */
  constructor(connections: () => readonly (KeptConnection | undefined)[]) {
    this.#connections = connections;
  }

  /** @returns when the nodes are told, or after a second */
  async begin(): Promise<void> {
    const told = Promise.all(this.#connections().map(async (connection) => await connection?.rest()));
    await within(told, WORD_LIMIT_MS, () => new GangwayError("a node does not read")).catch(() => undefined);
  }

  end(): void {
    for (const connection of this.#connections()) connection?.wake();
  }

  /** Heeds SIGTSTP, whose default would stop this process without a word. @returns what ends that */
  listen(): () => void {
    return new Suspension((word) => (word === "suspend" ? this.begin() : this.end())).listenAnyway();
  }
}
