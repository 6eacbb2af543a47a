import { join } from "node:path";
import { generateKeyPair } from "../udi/keys.ts";
import { renderKnownHosts, renderPlainKnownHosts } from "../udi/known-hosts.ts";
import type { JobDirectory } from "./directory.ts";
import { ESCAPE_CONFIG, knowsEscapeCommandline } from "./escape.ts";
import { kitConfig } from "./kit.ts";
import type { Member } from "./membership.ts";
import { namesOf } from "./prepare.ts";
import type { JobSpec } from "./spec.ts";

/** The access kit of the job's owner on this host: its key is born here and stays here. */
export class OwnerKit {
  readonly #spec: JobSpec;
  readonly #directory: JobDirectory;
  readonly #udiImage: string;
  /** The public key line. */
  readonly publicKey: string;
  readonly #escapeCommandline: boolean;

  /** Makes the key, before any node is up. */
  constructor(spec: JobSpec, directory: JobDirectory, udiImage: string) {
    this.#spec = spec;
    this.#directory = directory;
    this.#udiImage = udiImage;
    const pair = generateKeyPair(`owner@${spec.id}.job`);
    this.publicKey = pair.publicKey;
    directory.write(directory.kit, { id_ed25519: pair.privateKey }, 0o600);
    // The caller's PATH is the user's only where they are the same.
    this.#escapeCommandline = knowsEscapeCommandline(
      process.geteuid?.() === spec.account.uid ? process.env.PATH : undefined,
    );
    if (this.#escapeCommandline) {
      directory.write(directory.kit, { [ESCAPE_CONFIG]: "EnableEscapeCommandline yes\n" }, 0o600);
    }
  }

  /** @param certificate for {@link publicKey} @param authority the public key line of who signed it */
  certify(certificate: string, authority: string): void {
    this.#directory.write(this.#directory.kit, {
      "id_ed25519-cert.pub": `${certificate}\n`,
      known_hosts: renderKnownHosts(authority),
    });
  }

  /** Says how every node is reached from this host. */
  configure(members: readonly Member[]): void {
    const { id, account, several } = this.#spec;
    const directory = this.#directory;
    const job = {
      id,
      user: account.name,
      directory: directory.path,
      udiImage: this.#udiImage,
      nodes: members.map(({ node, port, address }) => ({ name: node.name, port, ...(several ? { address } : {}) })),
      escapeCommandline: this.#escapeCommandline,
    };
    // One behind the other: of ten thousand nodes each has several megabytes.
    directory.write(directory.kit, { ssh_config: kitConfig(job, join(directory.kit, "known_hosts")) });
    directory.write(directory.kit, { known_hosts_plain: this.#plainKnownHosts(members) });
  }

  /** For clients that know no certificates: the nodes' own host keys, by every name they are reached by. */
  #plainKnownHosts(members: readonly Member[]): string {
    return renderPlainKnownHosts(
      members.flatMap(({ node, port, addresses, hostKey }) =>
        hostKey === undefined
          ? []
          : [{ names: namesOf(this.#spec, node).slice(1), addresses, port, publicKey: hostKey }],
      ),
    );
  }
}
