import { JobError, STATUS } from "../config/errors.ts";
import { formatDuration } from "../config/parse.ts";
import { parsePublicKey } from "../udi/public-keys.ts";
import type { JobAuthority } from "./authority.ts";
import { type KeyEntry, LONGEST_COMMENT, type SignedKey, type SignRequest } from "./owner-protocol.ts";
import type { KeyLimits } from "./spec.ts";

/** A client elsewhere has one signed for each of its visits: these are weeks of them, and few enough for sshd to read. */
const MOST_KEYS = 4096;

interface BroughtKey {
  readonly serial: bigint;
  readonly fingerprint: string;
  readonly comment: string;
  readonly signed: Date;
  readonly expires: Date;
  revoked: boolean;
}

/**
 * The keys that the owner brought and the job's authority signed: what it signed, until when, and what was taken back. It
 * lives in the launcher's memory, as the authority does.
 */
export class OwnerKeys {
  readonly #authority: JobAuthority;
  readonly #limits: KeyLimits;
  #keys = new Map<string, BroughtKey>();
  #version = 0n;

  constructor(authority: JobAuthority, limits: KeyLimits) {
    this.#authority = authority;
    this.#limits = limits;
  }

  /**
   * Signs a public key for a time.
   *
   * @throws GangwayError when it is none, or the time is longer than the site lets
   */
  sign({ publicKey, seconds, comment }: SignRequest, now = new Date()): SignedKey {
    const key = parsePublicKey(publicKey);
    const lifetimeMs = seconds === undefined ? Math.min(this.#limits.usualMs, this.#limits.mostMs) : seconds * 1000;
    if (lifetimeMs > this.#limits.mostMs) {
      const most = formatDuration(this.#limits.mostMs);
      throw new JobError(`a key is signed for ${most} at most here`, {
        hint: `ask for ${most} or less`,
        exitCode: STATUS.usage,
      });
    }
    this.#forgetExpired(now);
    if (this.#keys.size >= MOST_KEYS) {
      throw new JobError(`${MOST_KEYS} keys are signed for this job already`, { hint: "wait until some have expired" });
    }
    const expires = new Date(Math.floor((now.getTime() + lifetimeMs) / 1000) * 1000);
    const { certificate, serial } = this.#authority.signOwn(key.blob, expires);
    const said = comment ?? key.comment.slice(0, LONGEST_COMMENT);
    const { fingerprint } = key;
    this.#keys.set(`${serial}`, { serial, fingerprint, comment: said, signed: now, expires, revoked: false });
    return { certificate, serial: `${serial}`, authority: this.#authority.publicKey, expires: expires.toISOString() };
  }

  /** @param sessionsBy how many connections a serial has that are open */
  list(sessionsBy: (serial: string) => number): KeyEntry[] {
    return [...this.#keys.entries()].map(([serial, { fingerprint, comment, signed, expires, revoked }]) => ({
      serial,
      fingerprint,
      comment,
      signed: signed.toISOString(),
      expires: expires.toISOString(),
      revoked,
      sessions: sessionsBy(serial),
    }));
  }

  /**
   * Takes a signature back.
   *
   * @throws JobError when none of that number was given to the owner
   */
  revoke(serial: string): void {
    const key = this.#keys.get(serial);
    if (key === undefined) {
      throw new JobError(`no key with the serial number ${serial} was signed for you`, {
        hint: "`gangway key list` shows them; one that expired long ago is forgotten",
        exitCode: STATUS.usage,
      });
    }
    key.revoked = true;
  }

  isRevoked(serial: string): boolean {
    return this.#keys.get(serial)?.revoked === true;
  }

  /** The key revocation list for the nodes' sshds, newer than every one before. */
  revocationList(): Buffer {
    this.#version += 1n;
    const serials = [...this.#keys.values()].filter(({ revoked }) => revoked).map(({ serial }) => serial);
    return this.#authority.revocationList(serials, this.#version);
  }

  /** Oldest first, and only where room is needed: what has expired is worth a look in the list. */
  #forgetExpired(now: Date): void {
    if (this.#keys.size < MOST_KEYS) return;
    this.#keys = new Map([...this.#keys].filter(([, { expires }]) => expires > now));
  }
}
