import { reasonOf } from "../config/errors.ts";
import type { Identity } from "../config/identity.ts";
import { indexFiles, isIndexed, removeIndexEntry, writeIndexEntry } from "./index-entry.ts";
import { localJob } from "./local-jobs.ts";
import { thisProcess } from "./process.ts";
import type { Reporter } from "./reporter.ts";
import type { JobSpec } from "./spec.ts";

/** A launch's own entry in its user's index; that it cannot be written is no reason for a launch to fail. */
export class IndexPresence {
  readonly #spec: JobSpec;
  readonly #context: { readonly identity: Identity; readonly runBase: string; readonly reporter: Reporter };

  /** Of the job, once it runs. */
  #authority: string | undefined;

  constructor(spec: JobSpec, context: { identity: Identity; runBase: string; reporter: Reporter }) {
    this.#spec = spec;
    this.#context = context;
  }

  /** What has to be removed when nobody is left to call {@link leave}. */
  get files(): readonly string[] {
    return Object.values(indexFiles(this.#spec.account.home, this.#spec.id));
  }

  /** So that plain ssh finds the job, where its user has asked for that. The job's record must be there. */
  enter(): void {
    const { identity, runBase, reporter } = this.#context;
    try {
      if (!isIndexed(identity, this.#spec.account.home)) return;
      const job = localJob(identity, [runBase], this.#spec.id);
      if (job?.state !== "running") return;
      this.#authority = job.record.authority;
      writeIndexEntry(identity, this.#spec.account.home, job);
    } catch (error) {
      reporter.note(`the job could not be entered into ~/.gangway/ssh, plain ssh will not know it: ${reasonOf(error)}`);
    }
  }

  leave(): void {
    const { identity, reporter } = this.#context;
    const { account, id } = this.#spec;
    try {
      removeIndexEntry(identity, account.home, id, { launcher: thisProcess(), authority: this.#authority });
    } catch (error) {
      reporter.note(`the job's entry in ~/.gangway/ssh could not be removed: ${reasonOf(error)}`);
    }
  }
}
