import { lstatSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readOwnFile } from "../config/own-file.ts";
import { openRunBase, type Places } from "../config/paths.ts";
import type { ForeignContainer } from "../engine/foreign.ts";

/** No job's id begins so: what looks for jobs in a run base passes these by. */
const PREFIX = ".injected-";
/** After that the tree is looked at again, and what is left of containers that are gone is removed. */
const LASTS_MS = 24 * 60 * 60 * 1000;
/** Characters of a note: a time, and an engine's place. */
const LONGEST_NOTE = 1000;

type Known = Pick<ForeignContainer, "id" | "started">;

/**
 * In which containers this user has found, not long ago, that only root can change the tree in their files. That stays so,
 * unless root of the container itself lets others in, as many an entrypoint does that gives directories to its service: what
 * was found is good until the container is started again. To ask the engine for owners each time would take longer than all
 * else in a session. A file for each, by the container's whole id, with the time of its start and the engine, in the user's own
 * directory in memory.
 */
export class Looked {
  readonly #base: string;
  readonly #engine: string;

  /** @param engine where it listens: of another's containers it may say the same as of its own */
  constructor(base: string, engine: string) {
    this.#base = base;
    this.#engine = engine;
  }

  has({ id, started }: Known): boolean {
    const path = this.#path(id);
    const facts = lstatSync(path, { throwIfNoEntry: false });
    if (facts?.isFile() !== true || Date.now() - facts.mtimeMs >= LASTS_MS) return false;
    try {
      return readOwnFile(path, undefined, LONGEST_NOTE) === this.#note(started);
    } catch {
      // Another call takes it away just now.
      return false;
    }
  }

  add({ id, started }: Known): void {
    for (const name of readdirSync(this.#base).filter((entry) => entry.startsWith(PREFIX))) {
      const path = join(this.#base, name);
      const facts = lstatSync(path, { throwIfNoEntry: false });
      if (facts !== undefined && Date.now() - facts.mtimeMs >= LASTS_MS) rmSync(path, { force: true });
    }
    writeFileSync(this.#path(id), this.#note(started), { mode: 0o600 });
  }

  #note(started: string): string {
    return `${started} ${this.#engine}`;
  }

  forget(id: string): void {
    rmSync(this.#path(id), { force: true });
  }

  #path(id: string): string {
    return join(this.#base, `${PREFIX}${encodeURIComponent(id)}`);
  }
}

/**
 * @param engine as {@link Looked} has it
 * @param places of this process's own user
 * @param configured the setting runDirectory
 * @throws GangwayError where the user has no directory in memory
 */
export function openLooked(engine: string, places: Places, configured: string | undefined): Looked {
  return new Looked(openRunBase({ ...places, configured, job: PREFIX, nodes: 1 }).path, engine);
}
