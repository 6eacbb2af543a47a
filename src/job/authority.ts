import { signCertificate } from "../udi/certificates.ts";
import { type Authority, generateAuthority } from "../udi/keys.ts";
import { renderRevocationList } from "../udi/revocation.ts";
import type { Member } from "./membership.ts";
import { type NodeKeys, namesOf, principalOf } from "./prepare.ts";
import type { JobSpec } from "./spec.ts";

/** The certificates' lines for the two keys of a node. */
export interface NodeCertificates {
  readonly host: string;
  readonly user: string;
}

/** The job's authority: it signs what belongs to the job, in memory, and dies with the launcher. */
export class JobAuthority {
  readonly #authority: Authority;
  readonly #spec: JobSpec;
  #serial = 0n;

  constructor(spec: JobSpec) {
    this.#spec = spec;
    this.#authority = generateAuthority(`authority of job ${spec.id}`);
  }

  /** The public key line. */
  get publicKey(): string {
    return this.#authority.publicKey;
  }

  /**
   * Signs a key that the job's owner brought: it enters every node, as the owner's own does, until it expires or is
   * revoked.
   *
   * @param key its blob
   * @returns the certificate's line, and its serial number
   */
  signOwn(key: Buffer, expires: Date): { readonly certificate: string; readonly serial: bigint } {
    const serial = this.#next();
    const certificate = signCertificate(this.#authority, {
      kind: "user",
      publicKey: key,
      keyId: `${this.#spec.id}-key-${serial}`,
      serial,
      principals: [principalOf(this.#spec)],
      validBefore: expires,
    });
    return { certificate, serial };
  }

  /** A key revocation list of certificates that this authority signed. */
  revocationList(serials: readonly bigint[], version: bigint): Buffer {
    return renderRevocationList({ authority: this.#authority.blob, serials, version, generated: new Date() });
  }

  /** Signs the key of an access kit; it is good as long as the job. */
  signKit(publicKey: string): string {
    return this.#signUser(publicKey, `${this.#spec.id}-owner`);
  }

  /** Signs a node's two keys, by the names and addresses that it is reached by. */
  signNode(member: Member, keys: NodeKeys): NodeCertificates {
    const { id } = this.#spec;
    const keyId = `${id}-${member.node.name}`;
    const host = signCertificate(this.#authority, {
      kind: "host",
      publicKey: keys.hostKey,
      keyId,
      serial: this.#next(),
      principals: [...namesOf(this.#spec, member.node), ...member.ownAddresses],
    });
    return { host, user: this.#signUser(keys.userKey, keyId) };
  }

  #signUser(publicKey: string, keyId: string): string {
    return signCertificate(this.#authority, {
      kind: "user",
      publicKey,
      keyId,
      serial: this.#next(),
      principals: [principalOf(this.#spec)],
    });
  }

  #next(): bigint {
    this.#serial += 1n;
    return this.#serial;
  }
}
