import type { Attachment } from "../engine/types.ts";
import type { JobAuthority, NodeCertificates } from "./authority.ts";
import { Host, type HostContext, type HostPlace, required } from "./host.ts";
import type { JobFacts, JobHosts } from "./job-hosts.ts";
import { type Member, memberHere } from "./membership.ts";
import type { JobNode } from "./node.ts";
import type { OwnerKit } from "./owner-kit.ts";
import type { NodeKeys } from "./prepare.ts";
import type { JobSpec } from "./spec.ts";

/** All nodes are on this host: everything is done in the launcher's own process. */
export class ThisHost implements JobHosts {
  readonly nodes: readonly JobNode[];
  readonly #host: Host;
  #keys: readonly NodeKeys[] = [];
  #attachments: readonly Attachment[] = [];
  #banners: Promise<void> | undefined;

  constructor(spec: JobSpec, nodes: readonly JobNode[], place: HostPlace, context: HostContext) {
    this.nodes = nodes;
    this.#host = new Host(spec, nodes, place, context);
  }

  get attachments(): readonly Attachment[] {
    return this.#attachments;
  }

  get missing(): readonly string[] {
    return this.nodes.filter((node) => !node.connected).map(({ node }) => node.name);
  }

  /** Its streams are the engine's own: their end is known by itself. */
  async outputIsWhole(): Promise<boolean> {
    return true;
  }

  get here(): readonly number[] {
    return this.nodes.map(({ node }) => node.index);
  }

  async begin(): Promise<void> {
    await this.#host.begin();
  }

  async plan(): Promise<JobFacts> {
    const { command, workdir } = await this.#host.plan();
    return { command, workdir };
  }

  async prepare(): Promise<void> {
    const prepared = await this.#host.prepare();
    this.#keys = prepared.map(({ keys }) => keys);
    this.#attachments = prepared.flatMap(({ attachment }) => attachment ?? []);
  }

  async up(meanwhile: () => void): Promise<readonly Member[]> {
    const { reports, banners } = await this.#host.up(meanwhile);
    banners.catch(() => undefined);
    this.#banners = banners;
    const plan = await this.#host.plan();
    return this.nodes.map(({ node }, index) =>
      memberHere(plan, node, required(reports[index]), required(this.#keys[index]).hostKey),
    );
  }

  // An sshd reads its certificate later than it says its banner: both go on at once.
  async admit(members: readonly Member[], authority: JobAuthority, kit: OwnerKit): Promise<void> {
    const certificates = new Map<number, NodeCertificates>(
      members.map((member, index) => [member.node.index, authority.signNode(member, required(this.#keys[index]))]),
    );
    this.#host.admit({ authority: authority.publicKey, members, certificates, kitKeys: [kit.publicKey] });
  }

  async answered(): Promise<void> {
    await this.#banners;
  }

  async engineWent(node: JobNode): Promise<boolean> {
    return await this.#host.engineWent(node);
  }

  async ranOutOfMemory(node: JobNode): Promise<boolean> {
    return await this.#host.ranOutOfMemory(node);
  }

  writeRevocations(list: Uint8Array): void {
    this.#host.writeRevocations(list);
  }

  // Its nodes are this process's own.
  async rest(): Promise<void> {}
  wake(): void {}

  async end(): Promise<void> {
    await this.#host.end();
  }

  async clear(): Promise<void> {
    await this.#host.clear();
  }
}
