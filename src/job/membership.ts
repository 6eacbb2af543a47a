import { join } from "node:path";
import type { AllocatedNode } from "../allocation/allocation.ts";
import { signCertificate } from "../udi/certificates.ts";
import { hostsAppendix } from "../udi/hosts.ts";
import { type Authority, generateAuthority, generateKeyPair } from "../udi/keys.ts";
import { renderKnownHosts, renderPlainKnownHosts } from "../udi/known-hosts.ts";
import { renderRevocationList } from "../udi/revocation.ts";
import { renderJobConfig } from "../udi/ssh-config.ts";
import type { JobDirectory } from "./directory.ts";
import { ESCAPE_CONFIG, knowsEscapeCommandline } from "./escape.ts";
import { kitConfig } from "./kit.ts";
import type { UpReport } from "./node.ts";
import { type NodeKeys, namesOf, type Plan, principalOf, sharesNetwork } from "./prepare.ts";

/** A node that is up, with the public halves of its keys. */
export interface Member extends NodeKeys {
  readonly node: AllocatedNode;
  readonly up: UpReport;
}

/** The address by which the members reach a node. */
function addressOf(plan: Plan, member: Member): string {
  return sharesNetwork(plan) ? "127.0.0.1" : (member.up.addresses[0] ?? "127.0.0.1");
}

/** Addresses that mean this node and no other. */
function ownAddresses(plan: Plan, member: Member): readonly string[] {
  return sharesNetwork(plan) ? [] : member.up.addresses;
}

/**
 * The job's authority: it signs what belongs to the job, in memory, and dies with the launcher.
 */
export class JobAuthority {
  readonly #authority: Authority;
  readonly #plan: Plan;
  #serial = 0n;
  /** The public half of the access kit's key. */
  #kitKey: string | undefined;
  #escapeCommandline = false;

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#authority = generateAuthority(`authority of job ${plan.spec.id}`);
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
    const { spec } = this.#plan;
    const serial = this.#next();
    const certificate = signCertificate(this.#authority, {
      kind: "user",
      publicKey: key,
      keyId: `${spec.id}-key-${serial}`,
      serial,
      principals: [principalOf(spec)],
      validBefore: expires,
    });
    return { certificate, serial };
  }

  /** A key revocation list of certificates that this authority signed. */
  revocationList(serials: readonly bigint[], version: bigint): Buffer {
    return renderRevocationList({ authority: this.#authority.blob, serials, version, generated: new Date() });
  }

  /** Signs every member, and gives every node what it needs to know and be known by the others. */
  admit(members: readonly Member[], directory: JobDirectory): void {
    const { spec } = this.#plan;
    const hosts = hostsAppendix(
      members.map((member) => {
        const [name = member.node.name, ...aliases] = namesOf(spec, member.node);
        return { addresses: [addressOf(this.#plan, member)], name, aliases };
      }),
    );
    const sshConfig = renderJobConfig({
      user: spec.account.name,
      nodes: members.map((member) => ({
        names: [...namesOf(spec, member.node), ...ownAddresses(this.#plan, member)],
        port: member.up.port,
      })),
    });
    const knownHosts = renderKnownHosts(this.#authority.publicKey);
    for (const member of members) {
      const place = directory.node(member.node.index);
      directory.write(place, {
        "host_ed25519-cert.pub": `${this.#signHost(member)}\n`,
        "id_ed25519-cert.pub": `${this.#signUser(member.userKey, `${spec.id}-${member.node.name}`)}\n`,
        known_hosts: knownHosts,
        ssh_config: sshConfig,
      });
      directory.rewrite(place, "authority.pub", `${this.#authority.publicKey}\n`);
      // The certificate's own key, plain: it lives as long as the job and no longer.
      if (this.#kitKey !== undefined) directory.rewrite(place, "authorized_keys", `${this.#kitKey}\n`);
      directory.append(place, "hosts", hosts);
    }
    this.#equipOwner(members, directory);
    this.#equipPlainClients(members, directory);
  }

  /** For clients that know no certificates: the nodes' own host keys, by every name they are reached by. */
  #equipPlainClients(members: readonly Member[], directory: JobDirectory): void {
    const { spec } = this.#plan;
    const hosts = members.map(({ node, up, hostKey }) => ({
      names: namesOf(spec, node).slice(1),
      addresses: up.addresses,
      port: up.port,
      publicKey: hostKey,
    }));
    directory.write(directory.kit, { known_hosts_plain: renderPlainKnownHosts(hosts) });
  }

  /** Makes the keys of the access kit, before any node is up. */
  prepareOwner(directory: JobDirectory): void {
    const { spec } = this.#plan;
    const pair = generateKeyPair(`owner@${spec.id}.job`);
    this.#kitKey = pair.publicKey;
    directory.write(directory.kit, { id_ed25519: pair.privateKey }, 0o600);
    // The caller's PATH is the user's only where they are the same.
    this.#escapeCommandline = knowsEscapeCommandline(
      process.geteuid?.() === spec.account.uid ? process.env.PATH : undefined,
    );
    if (this.#escapeCommandline) {
      directory.write(directory.kit, { [ESCAPE_CONFIG]: "EnableEscapeCommandline yes\n" }, 0o600);
    }
    directory.write(directory.kit, {
      "id_ed25519-cert.pub": `${this.#signUser(pair.publicKey, `${spec.id}-owner`)}\n`,
      known_hosts: renderKnownHosts(this.#authority.publicKey),
    });
  }

  /** The configuration of the access kit of the job's owner on this node. */
  #equipOwner(members: readonly Member[], directory: JobDirectory): void {
    const { spec, udiImage } = this.#plan;
    const job = {
      id: spec.id,
      user: spec.account.name,
      directory: directory.path,
      udiImage,
      nodes: members.map(({ node, up }) => ({ name: node.name, port: up.port })),
      escapeCommandline: this.#escapeCommandline,
    };
    directory.write(directory.kit, { ssh_config: kitConfig(job, join(directory.kit, "known_hosts")) });
  }

  #signHost(member: Member): string {
    const { spec } = this.#plan;
    return signCertificate(this.#authority, {
      kind: "host",
      publicKey: member.hostKey,
      keyId: `${spec.id}-${member.node.name}`,
      serial: this.#next(),
      principals: [...namesOf(spec, member.node), ...ownAddresses(this.#plan, member)],
    });
  }

  #signUser(publicKey: string, keyId: string): string {
    return signCertificate(this.#authority, {
      kind: "user",
      publicKey,
      keyId,
      serial: this.#next(),
      principals: [principalOf(this.#plan.spec)],
    });
  }

  #next(): bigint {
    this.#serial += 1n;
    return this.#serial;
  }
}
