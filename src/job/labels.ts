import type { ContainerSummary } from "../engine/types.ts";
import { containerName, isLookName } from "./id.ts";

/** The labels of a job's containers: the record by which `ps`, `shell` and `gc` find them (docs/internals.md). */
export const LABEL = {
  job: "gangway.job",
  node: "gangway.node",
  nodeIndex: "gangway.node-index",
  nodes: "gangway.nodes",
  uid: "gangway.uid",
  user: "gangway.user",
  image: "gangway.image",
  directory: "gangway.directory",
  launcher: "gangway.launcher",
  sshd: "gangway.sshd",
  output: "gangway.output",
  /** Not of a job's: a container that works for a moment beside somebody else's (`gangway inject`). */
  beside: "gangway.beside",
} as const;

/**
 * Whether a container with our labels is one that we made: it has the name that goes with them. Labels alone may be an image's
 * (`docker commit` keeps those of a job's container).
 */
export function isOurs({ name, labels }: Pick<ContainerSummary, "name" | "labels">): boolean {
  const uid = Number(labels[LABEL.uid]);
  const job = labels[LABEL.job];
  if (job === undefined) return isLookName(uid, name);
  return name === containerName(uid, job, Number(labels[LABEL.nodeIndex]));
}
