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
} as const;
