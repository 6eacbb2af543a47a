import type { Allocation, ManagerName } from "../allocation/allocation.ts";
import { MANAGERS } from "../allocation/allocation.ts";
import { foldCounts, parseCounts } from "../allocation/counts.ts";
import type { AllocationEnvironment, Variable } from "../allocation/environment.ts";
import { foldHostlist, unfoldHostlist } from "../allocation/hostlist.ts";
import type { ContainerLimits, DeviceSpec, Ulimit } from "../engine/types.ts";
import type { Account } from "../udi/accounts.ts";
import type { EnvSetting } from "../udi/environment.ts";
import type { SiteEnvironment } from "../udi/site-environment.ts";
import type { RuntimeSpec } from "./runtime-command.ts";
import {
  amount,
  either,
  flag,
  list,
  object,
  oneOf,
  optional,
  type Parts,
  ProtocolError,
  type Shape,
  table,
  text,
  whole,
} from "./shape.ts";
import type { EnvironmentSpec, JobSpec, KeyLimits, Volume } from "./spec.ts";

const ANY = whole(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
const ID = whole(0, 2 ** 32 - 1);
const PORT = whole(0, 65_535);

/** Where the text of a folded list comes from, for messages. */
const RECEIVED = { kind: "variable", name: "the allocation as received" } as const;

/** JSON has no undefined: a variable that is taken away is null. */
const envSetting: Shape<EnvSetting> = (value, place) => {
  const [name, content] = Array.isArray(value) ? (value as unknown[]) : [];
  return [text(name, place), content === null ? undefined : text(content, place)];
};

const siteEnvironment = object<SiteEnvironment>({
  set: table(text),
  prepend: table(text),
  append: table(text),
  unset: list(text),
});

const variable: Shape<Variable> = (value, place) => {
  const [name, content] = Array.isArray(value) ? (value as unknown[]) : [];
  return [text(name, place), text(content, place)];
};

/** JSON has no undefined: no manager is a part that is missing. */
const allocationEnvironment: Shape<AllocationEnvironment> = (value, place) => ({
  manager: undefined,
  ...object<Omit<AllocationEnvironment, "manager"> & { readonly manager?: ManagerName }>({
    manager: optional(oneOf(...MANAGERS)),
    shared: list(variable),
    node: list(variable),
    scratch: optional(text),
  })(value, place),
});

const environmentParts: Parts<EnvironmentSpec> = {
  clear: flag,
  caller: list(envSetting),
  envFile: list(envSetting),
  env: list(envSetting),
  allocation: allocationEnvironment,
  term: text,
  site: siteEnvironment,
};

const account = object<Account>({
  name: text,
  uid: ID,
  gid: ID,
  groupName: text,
  gecos: text,
  home: text,
  shell: text,
  groups: list(object<Account["groups"][number]>({ name: text, gid: ID })),
});

const volume = object<Volume>({
  source: text,
  target: text,
  readOnly: flag,
  propagation: optional(oneOf("private", "rprivate", "shared", "rshared", "slave", "rslave")),
});

const limits = object<ContainerLimits>({
  nanoCpus: optional(amount),
  cpusetCpus: optional(text),
  memoryBytes: optional(amount),
  shmBytes: optional(amount),
  pids: optional(ANY),
  ulimits: list(object<Ulimit>({ name: text, soft: ANY, hard: ANY })),
  cgroupParent: optional(text),
  oomScoreAdj: optional(ANY),
});

/** An allocation with its names and slots folded: a few words for ten thousand nodes. */
interface FoldedAllocation extends Omit<Allocation, "nodes"> {
  readonly names: string;
  readonly slots: string;
}

const foldedAllocation = object<FoldedAllocation>({
  manager: oneOf(...MANAGERS, "hosts", "virtual"),
  job: optional(object<NonNullable<Allocation["job"]>>({ id: text, restarts: whole(0, 1e9) })),
  here: optional(text),
  names: text,
  slots: text,
});

const allocation: Shape<Allocation> = (value, place) => {
  const { names: folded, slots: counts, ...rest } = foldedAllocation(value, place);
  const names = unfoldHostlist(folded, RECEIVED);
  const slots = parseCounts(counts, RECEIVED);
  if (names.length !== slots.length) throw new ProtocolError(`${place} has other slots than nodes`);
  return { ...rest, nodes: names.map((name, index) => ({ index, name, slots: slots[index] ?? 1 })) };
};

const specParts: Parts<JobSpec> = {
  id: text,
  runtime: optional(object<RuntimeSpec>({ words: list(text), accounts: flag })),
  image: text,
  pull: oneOf("missing", "always", "never"),
  command: list(text),
  entrypoint: optional(list(text)),
  account,
  allocation,
  several: flag,
  everywhere: flag,
  network: optional(text),
  port: optional(PORT),
  listenAddress: optional(text),
  listen: flag,
  sshd: flag,
  environment: object(environmentParts),
  workdir: optional(text),
  callerDirectory: text,
  mountHome: flag,
  mountWorkdir: flag,
  volumes: list(volume),
  tmpfs: table(text),
  readOnlyRoot: flag,
  limits,
  devices: list(object<DeviceSpec>({ hostPath: text, containerPath: text, permissions: text })),
  gpus: optional(text),
  tty: flag,
  stdin: flag,
  linger: either(oneOf("none", "sessions"), object<{ seconds: number }>({ seconds: amount })),
  maxConnections: whole(0, 1e9),
  maxPerSource: whole(0, 1e9),
  timeLimitMs: optional(amount),
  prepareTimeoutMs: amount,
  upTimeoutMs: amount,
  outputFile: optional(text),
  heldBack: table(amount),
  shell: optional(text),
  keys: object<KeyLimits>({ usualMs: amount, mostMs: amount }),
  auditSyslog: flag,
};

/** Parses what {@link encodeSpec} made. */
export const parseSpec: Shape<JobSpec> = object(specParts);

/** Each node is sent the same: folding ten thousand names ten thousand times would take minutes. */
const encodedSpecs = new WeakMap<JobSpec, object>();

/** A specification as JSON can have it, its allocation folded. */
export function encodeSpec(spec: JobSpec): object {
  const before = encodedSpecs.get(spec);
  if (before !== undefined) return before;
  const { nodes, ...rest } = spec.allocation;
  const folded: FoldedAllocation = {
    ...rest,
    names: foldHostlist(nodes.map(({ name }) => name)),
    slots: foldCounts(nodes.map(({ slots }) => slots)),
  };
  const encoded = { ...spec, allocation: folded };
  encodedSpecs.set(spec, encoded);
  return encoded;
}
