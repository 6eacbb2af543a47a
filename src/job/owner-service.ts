import { JobError, reasonOf, STATUS } from "../config/errors.ts";
import { Audit } from "./audit.ts";
import type { JobAuthority } from "./authority.ts";
import type { JobDirectory } from "./directory.ts";
import type { JobHosts } from "./job-hosts.ts";
import type { JobNode } from "./node.ts";
import { OwnerKeys } from "./owner-keys.ts";
import type { ConnectionEntry, KeyEntry, SignedKey, SignRequest } from "./owner-protocol.ts";
import type { OwnerService } from "./owner-socket.ts";
import type { Reporter } from "./reporter.ts";
import type { SessionMessage } from "./session-lines.ts";
import { SessionTable } from "./sessions.ts";
import type { JobSpec } from "./spec.ts";

/** A job that is up, as far as its owner's keys and sessions are concerned. */
export interface ReachableJob {
  readonly authority: JobAuthority;
  readonly hosts: Pick<JobHosts, "nodes" | "writeRevocations">;
  readonly directory: JobDirectory;
  readonly reporter: Reporter;
}

/** What the owner of a job may have done by its launcher. */
export class JobOwnerService implements OwnerService {
  readonly #onStop: (signal: number, graceMs: number) => void;
  readonly #sshd: boolean;
  #job: ReachableJob | undefined;
  #keys: OwnerKeys | undefined;
  #audit: Audit | undefined;
  readonly #table = new SessionTable((record) => this.#audit?.tell(record));

  /** @param sshd whether the job has one, and so keys and sessions */
  constructor(sshd: boolean, onStop: (signal: number, graceMs: number) => void) {
    this.#sshd = sshd;
    this.#onStop = onStop;
  }

  /** The nodes know the authority: from now on keys can be signed. */
  open(spec: JobSpec, job: ReachableJob): void {
    this.#job = job;
    this.#keys = new OwnerKeys(job.authority, spec.keys);
    const about = { job: spec.id, user: spec.account.name, syslog: spec.auditSyslog };
    this.#audit = new Audit(job.directory, job.reporter, about);
  }

  /** A node's init told of a connection. */
  hear(node: JobNode, message: SessionMessage): void {
    this.#table.hear(node.node.name, message);
    // It may have logged in before its sshd could read that the key is revoked, and told so after init was asked.
    if (message.kind === "login" && this.#keys?.isRevoked(message.serial) === true) {
      node.send({ revoke: message.serial });
    }
  }

  lost(node: JobNode): void {
    this.#table.lost(node.node.name);
  }

  /** The job is over: what is still open ends with it, and is told of. */
  async close(): Promise<void> {
    for (const { node } of this.#job?.hosts.nodes ?? []) this.#table.lost(node.name);
    await this.#audit?.close();
  }

  stop(signal: number, graceMs: number): void {
    this.#onStop(signal, graceMs);
  }

  sign(request: SignRequest): SignedKey {
    return this.#opened().keys.sign(request);
  }

  keys(): readonly KeyEntry[] {
    return this.#opened().keys.list((serial) => this.#table.countOf(serial));
  }

  revoke(serial: string): number {
    const { job, keys } = this.#opened();
    keys.revoke(serial);
    const list = keys.revocationList();
    // First the list, so that nobody new comes in by it; where it cannot be written the sessions end all the same.
    let failure: unknown;
    try {
      job.hosts.writeRevocations(list);
    } catch (error) {
      failure = error;
    }
    const sessions = this.#table.countOf(serial);
    for (const node of job.hosts.nodes) node.send({ revoke: serial });
    if (failure !== undefined) {
      throw new JobError(`the key could not be revoked everywhere (${reasonOf(failure)})`, {
        hint: "its sessions were ended; make room in the run directory, or remove what has taken the file's place, and revoke it once more",
      });
    }
    return sessions;
  }

  sessions(): readonly ConnectionEntry[] {
    this.#opened();
    return this.#table.list();
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
