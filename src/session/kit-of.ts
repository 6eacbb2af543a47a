import { connectorOf, sshSocketOf } from "../job/kit.ts";
import type { LocalNode, RunningLocalJob } from "../job/local-jobs.ts";
import type { SignedKey } from "../job/owner-protocol.ts";
import type { KitReply } from "./kit-reply.ts";

/** Data, never configuration or shell (docs/internals.md, section 10): whoever reads it need not believe this host. */
export function kitOf(
  { job, node }: { readonly job: RunningLocalJob; readonly node: LocalNode },
  { certificate, authority }: Pick<SignedKey, "certificate" | "authority">,
): KitReply {
  const { record } = job;
  const { principal, socket, port, index, addresses } = node;
  const tcp = port === 0 ? [] : addresses.map((address) => ({ address, port }));
  // On its own host a node has its socket, or has ended.
  const relay = socket === undefined ? tcp[0] : undefined;
  return {
    certificate,
    authority,
    principal,
    user: record.user,
    socket: sshSocketOf(job.directory, index),
    connector: connectorOf(record.udiImage),
    ...(relay === undefined ? {} : { relay }),
    tcp,
  };
}
