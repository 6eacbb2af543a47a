import { JobError, STATUS } from "../config/errors.ts";
import type { JobDirectory } from "./directory.ts";
import type { JobAuthority } from "./membership.ts";
import type { JobNode } from "./node.ts";
import { OwnerKeys } from "./owner-keys.ts";
import type { ConnectionEntry, KeyEntry, SignedKey, SignRequest } from "./owner-protocol.ts";
import type { OwnerService } from "./owner-socket.ts";
import type { KeyLimits } from "./spec.ts";

/** A job that is up, as far as its owner's keys and sessions are concerned. */
export interface ReachableJob {
  readonly authority: JobAuthority;
  readonly nodes: readonly JobNode[];
  readonly directory: JobDirectory;
  readonly limits: KeyLimits;
}

/** What the owner of a job may have done by its launcher. */
export class JobOwnerService implements OwnerService {
  readonly #onStop: (signal: number, graceMs: number) => void;
  readonly #sshd: boolean;
  #job: ReachableJob | undefined;
  #keys: OwnerKeys | undefined;

  /** @param sshd whether the job has one, and so keys and sessions */
  constructor(sshd: boolean, onStop: (signal: number, graceMs: number) => void) {
    this.#sshd = sshd;
    this.#onStop = onStop;
  }

  /** The nodes know the authority: from now on keys can be signed. */
  open(job: ReachableJob): void {
    this.#job = job;
    this.#keys = new OwnerKeys(job.authority, job.limits);
  }

  stop(signal: number, graceMs: number): void {
    this.#onStop(signal, graceMs);
  }

  sign(request: SignRequest): SignedKey {
    return this.#opened().keys.sign(request);
  }

  keys(): readonly KeyEntry[] {
    return this.#opened().keys.list(() => 0);
  }

  revoke(serial: string): number {
    const { job, keys } = this.#opened();
    keys.revoke(serial);
    const list = keys.revocationList();
    for (const { node } of job.nodes) job.directory.rewrite(job.directory.node(node.index), "revoked_keys", list);
    return 0;
  }

  sessions(): readonly ConnectionEntry[] {
    this.#opened();
    return [];
  }

  #opened(): { readonly job: ReachableJob; readonly keys: OwnerKeys } {
    if (this.#job !== undefined && this.#keys !== undefined) return { job: this.#job, keys: this.#keys };
    if (!this.#sshd) {
      throw new JobError("the job was started without an sshd", {
        hint: "no session can enter it; --no-sshd was given, or the site forbids sessions (allowSessions)",
      });
    }
    throw new JobError("the job is not up yet", { hint: "ask again in a moment", exitCode: STATUS.notYet });
  }
}
