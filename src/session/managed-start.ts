import type { KeyPair } from "../udi/keys.ts";
import type { Guess, ManagedJob } from "./carriers/client.ts";
import type { GuardedCarrier } from "./carriers/guard.ts";
import { beginCarrier } from "./carriers/switchboard.ts";
import type { EntryRequest } from "./entry-request.ts";
import { PrivateDirectory } from "./private-directory.ts";
import type { Seeker } from "./resolve.ts";
import { sessionKeyPair } from "./session-key.ts";

/** What an entry by a workload manager needs whatever that answers; a carrier, too, where it can be guessed what it will. */
export class ManagedStart {
  readonly #directory: PrivateDirectory;
  readonly #begun: GuardedCarrier | undefined;
  #pair: KeyPair | undefined;

  private constructor(directory: PrivateDirectory, begun: GuardedCarrier | undefined) {
    this.#directory = directory;
    this.#begun = begun;
  }

  /**
   * Who opens it closes it.
   *
   * @throws GangwayError where there is no place for the session's files
   */
  static open(request: Pick<EntryRequest, "seeker" | "runDirectory">, guess?: Guess): ManagedStart {
    const { seeker, runDirectory } = request;
    let begun: GuardedCarrier | undefined;
    // The carrier's guard is the directory's, too: one process less to start, before the carrier, which takes the longest.
    const guard = (path: string) => {
      begun = guess === undefined ? undefined : begin(guess, seeker, path);
      return begun !== undefined;
    };
    let directory: PrivateDirectory | undefined;
    try {
      directory = PrivateDirectory.open(seeker.places, runDirectory, { guarded: true, guard });
      begun?.start();
      return new ManagedStart(directory, begun);
    } catch (error) {
      begun?.close();
      void directory?.close();
      throw error;
    }
  }

  /** Absolute path of the session's private directory. */
  get directory(): string {
    return this.#directory.path;
  }

  /** Makes the session's key before it is asked for. */
  prepare(): void {
    this.#pair ??= sessionKeyPair();
  }

  /** The session's, which is nowhere but in memory yet. */
  get pair(): KeyPair {
    this.#pair ??= sessionKeyPair();
    return this.#pair;
  }

  /** @returns the carrier that has been begun, where it leads to what the manager has answered; any other one is ended */
  carrierTo({ guessed }: ManagedJob): GuardedCarrier | undefined {
    if (guessed) return this.#begun;
    // Before the one that came with the carrier goes.
    this.#directory.guard();
    this.#begun?.close();
    return undefined;
  }

  /** Ends what was begun, and removes the directory; once more does nothing. */
  async close(): Promise<void> {
    try {
      await this.#directory.close();
    } finally {
      // Its guard is the directory's.
      this.#begun?.close();
    }
  }
}

/** @returns undefined where it cannot be: who enters the job without it is told why */
function begin(guess: Guess, seeker: Seeker, directory: string): GuardedCarrier | undefined {
  try {
    return beginCarrier(guess, seeker.carriers(), directory);
  } catch {
    return undefined;
  }
}
