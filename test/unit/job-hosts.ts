import type { Attachment } from "../../src/engine/types.ts";
import type { JobFacts, JobHosts } from "../../src/job/job-hosts.ts";
import type { Member } from "../../src/job/membership.ts";
import type { JobNode } from "../../src/job/node.ts";

/** Hosts on which everything goes well and nothing is done: what a test is about, it overrides. */
export class IdleHosts implements JobHosts {
  readonly nodes: readonly JobNode[];
  readonly here: readonly number[] = [];
  readonly missing: readonly string[] = [];
  readonly attachments: readonly Attachment[] = [];

  constructor(nodes: readonly JobNode[]) {
    this.nodes = nodes;
  }

  async begin(): Promise<void> {}
  async plan(): Promise<JobFacts> {
    return { command: ["true"], workdir: "/" };
  }
  async prepare(): Promise<void> {}
  async up(): Promise<readonly Member[]> {
    return [];
  }
  async admit(): Promise<void> {}
  async answered(): Promise<void> {}
  async engineWent(_node: JobNode): Promise<boolean> {
    return false;
  }
  async outputIsWhole(): Promise<boolean> {
    return true;
  }
  async ranOutOfMemory(): Promise<boolean> {
    return false;
  }
  writeRevocations(): void {}
  async rest(): Promise<void> {}
  wake(): void {}
  async end(): Promise<void> {}
  async clear(): Promise<void> {}
}
