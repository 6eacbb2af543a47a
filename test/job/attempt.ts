import { chownSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run, type TestUser, UDI_IMAGE } from "./harness.ts";
import type { HeldJob } from "./held.ts";

export const SSH = join(UDI_IMAGE, "bin/ssh");

export const CONNECTOR = join(UDI_IMAGE, "libexec/connector");

export interface Address {
  readonly host: string;
  readonly port: number;
}

export function addressOf(job: HeldJob, node: number): Address {
  const record = JSON.parse(readFileSync(join(job.directory, "job.json"), "utf8")) as {
    nodes: { port: number; addresses: string[] }[];
  };
  const { port = 0, addresses = [] } = record.nodes[node] ?? {};
  return { host: addresses[0] ?? "", port };
}

/** What sshd has noted while something was going on, read as the job's owner. */
export async function logged(job: HeldJob, node: number, work: () => Promise<unknown>): Promise<string> {
  const path = job.file(node, "sshd.log");
  const before = statSync(path).size;
  await work();
  const { bytes } = await run(["cat", path]);
  return bytes.subarray(before).toString();
}

export function ownedBy(user: TestUser, path: string, content: string, mode: number): string {
  writeFileSync(path, content, { mode });
  chownSync(path, user.uid, user.gid);
  return path;
}

/** Everything below a directory, itself among it. */
export function tree(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return [path, ...readdirSync(path).flatMap((name) => tree(join(path, name)))];
}
