import type { AllocatedNode } from "../allocation/allocation.ts";
import { hostsAppendix } from "../udi/hosts.ts";
import { renderKnownHosts } from "../udi/known-hosts.ts";
import { jobHost } from "../udi/names.ts";
import { renderJobConfig } from "../udi/ssh-config.ts";
import type { NodeCertificates } from "./authority.ts";
import type { JobDirectory } from "./directory.ts";
import type { UpReport } from "./node.ts";
import { namesOf, type Plan, sharesNetwork } from "./prepare.ts";
import type { JobSpec } from "./spec.ts";

/** A node that is up, as the others reach it. */
export interface Member {
  readonly node: AllocatedNode;
  /** By which the members reach it. */
  readonly address: string;
  /** Those that mean this node and no other. */
  readonly ownAddresses: readonly string[];
  /** Of TCP; 0: it does not listen. */
  readonly port: number;
  /** Where its sshd listens, for whoever is on its host. */
  readonly addresses: readonly string[];
  /** Public key line, where it is known: clients without certificates need it. */
  readonly hostKey?: string;
}

/** A member on this machine, as its init's report has it. */
export function memberHere(plan: Plan, node: AllocatedNode, up: UpReport, hostKey: string): Member {
  const shared = sharesNetwork(plan);
  return {
    node,
    address: shared ? "127.0.0.1" : (up.addresses[0] ?? "127.0.0.1"),
    ownAddresses: shared ? [] : up.addresses,
    port: up.port,
    addresses: up.addresses,
    hostKey,
  };
}

/** What the nodes of a job are told once all are up: who they are, and whom to believe. */
export interface Admission {
  /** The public key line of the job's authority. */
  readonly authority: string;
  /** All nodes of the job. */
  readonly members: readonly Member[];
  /** By node: of those that this is told to. */
  readonly certificates: ReadonlyMap<number, NodeCertificates>;
  /** Public key lines that enter without a certificate: those of access kits. */
  readonly kitKeys: readonly string[];
}

/** What is the same in every node of a job. */
interface Common {
  readonly knownHosts: string;
  readonly sshConfig: string;
  readonly hosts: string;
}

function commonFiles(spec: JobSpec, { authority, members }: Admission): Common {
  return {
    knownHosts: renderKnownHosts(authority),
    sshConfig: renderJobConfig({
      user: spec.account.name,
      job: jobHost({ job: spec.id }),
      nodes: members.map((member) => ({
        names: [...namesOf(spec, member.node), ...member.ownAddresses],
        port: member.port,
      })),
    }),
    hosts: hostsAppendix(
      members.map((member) => {
        const [name = member.node.name, ...aliases] = namesOf(spec, member.node);
        return { addresses: [member.address], name, aliases };
      }),
    ),
  };
}

/** Gives nodes of this host what they need to know and be known by the others. */
export function admitNodes(
  spec: JobSpec,
  nodes: readonly AllocatedNode[],
  admission: Admission,
  directory: JobDirectory,
): void {
  const { knownHosts, sshConfig, hosts } = commonFiles(spec, admission);
  for (const { index, name } of nodes) {
    const place = directory.node(index);
    const certificates = admission.certificates.get(index);
    if (certificates === undefined) throw new TypeError(`${name} was given no certificates`);
    directory.write(place, {
      "host_ed25519-cert.pub": `${certificates.host}\n`,
      "id_ed25519-cert.pub": `${certificates.user}\n`,
      known_hosts: knownHosts,
      ssh_config: sshConfig,
    });
    directory.rewrite(place, "authority.pub", `${admission.authority}\n`);
    // A certificate's own key, plain: it lives as long as the job and no longer.
    const plain = admission.kitKeys.map((key) => `${key}\n`).join("");
    if (plain !== "") directory.rewrite(place, "authorized_keys", plain);
    directory.append(place, "hosts", hosts);
  }
}
