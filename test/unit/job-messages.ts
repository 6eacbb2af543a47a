import fc from "fast-check";
import type { AllocatedNode } from "../../src/allocation/allocation.ts";
import type { JobSpec } from "../../src/job/spec.ts";

/** Text that JSON, and whoever carries it, must bring over as it is: controls, halves of pairs, names of JavaScript's. */
export const anyText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.constantFrom("", "\n", "\u001b[2J", "\ud800", "__proto__", "constructor", "a b", "%", '"'),
);
const texts = fc.array(anyText, { maxLength: 3 });
const table = <T>(entry: fc.Arbitrary<T>) => fc.dictionary(anyText, entry, { maxKeys: 3 });
const amount = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const id = fc.integer({ min: 0, max: 2 ** 32 - 1 });

const label = fc.stringMatching(/^[A-Za-z0-9](?:[A-Za-z0-9_-]{0,6}[A-Za-z0-9_])?$/);
/** Names in any order, numbered ones among them, and some of them twice. */
export const nodeNames = fc.array(
  fc.oneof(
    label,
    fc.tuple(label, label).map((labels) => labels.join(".")),
    fc.integer({ min: 0, max: 120 }).map((number) => `n${number}`),
    fc.integer({ min: 0, max: 120 }).map((number) => `n${`${number}`.padStart(4, "0")}-ib`),
  ),
  { minLength: 1, maxLength: 40 },
);
const nodes: fc.Arbitrary<AllocatedNode[]> = nodeNames.chain((names) =>
  fc
    .array(fc.integer({ min: 1, max: 3 }), { minLength: names.length, maxLength: names.length })
    .map((slots) => names.map((name, index) => ({ index, name, slots: slots[index] ?? 1 }))),
);

/** The parts of an object, some of them left out. */
function partly<T extends object, K extends keyof T>(
  parts: { readonly [P in keyof T]-?: fc.Arbitrary<Exclude<T[P], undefined>> },
  optional: readonly K[],
): fc.Arbitrary<T> {
  const required = (Object.keys(parts) as (keyof T)[]).filter((key) => !optional.some((each) => each === key));
  return fc.record<T>(parts as { [P in keyof T]: fc.Arbitrary<T[P]> }, {
    requiredKeys: required as never[],
  }) as fc.Arbitrary<T>;
}

const environment: fc.Arbitrary<JobSpec["environment"]> = fc.record({
  caller: fc.constant([]),
  clear: fc.boolean(),
  envFile: fc.array(fc.tuple(anyText, anyText), { maxLength: 2 }),
  env: fc.array(fc.tuple(anyText, fc.option(anyText, { nil: undefined })), { maxLength: 3 }),
  allocation: partly<JobSpec["environment"]["allocation"], "scratch">(
    {
      manager: fc.constantFrom("slurm" as const, undefined) as never,
      shared: fc.array(fc.tuple(anyText, anyText), { maxLength: 2 }),
      node: fc.array(fc.tuple(anyText, anyText), { maxLength: 2 }),
      scratch: anyText,
    },
    ["scratch"],
  ),
  term: anyText,
  site: fc.record({ set: table(anyText), prepend: table(anyText), append: table(anyText), unset: texts }),
});

const limits: fc.Arbitrary<JobSpec["limits"]> = partly<JobSpec["limits"], keyof JobSpec["limits"]>(
  {
    nanoCpus: amount,
    cpusetCpus: anyText,
    memoryBytes: amount,
    shmBytes: amount,
    pids: amount,
    ulimits: fc.array(fc.record({ name: anyText, soft: fc.integer(), hard: fc.integer() }), { maxLength: 2 }),
    cgroupParent: anyText,
    oomScoreAdj: fc.integer({ min: -1000, max: 1000 }),
  },
  ["nanoCpus", "cpusetCpus", "memoryBytes", "shmBytes", "pids", "cgroupParent", "oomScoreAdj"],
);

const allocation = partly<JobSpec["allocation"], "job" | "here">(
  {
    manager: fc.constantFrom("slurm", "htcondor", "hosts", "virtual"),
    job: fc.record({ id: anyText, restarts: fc.integer({ min: 0, max: 9 }) }),
    here: anyText,
    nodes,
  },
  ["job", "here"],
);

/** Any specification that a launcher could send. */
export const specification: fc.Arbitrary<JobSpec> = partly<
  JobSpec,
  | "runtime"
  | "entrypoint"
  | "network"
  | "port"
  | "listenAddress"
  | "workdir"
  | "gpus"
  | "timeLimitMs"
  | "outputFile"
  | "shell"
>(
  {
    id: anyText,
    runtime: fc.record({ words: texts, accounts: fc.boolean() }),
    image: anyText,
    pull: fc.constantFrom("missing", "always", "never"),
    command: texts,
    entrypoint: texts,
    account: fc.record({
      name: anyText,
      uid: id,
      gid: id,
      groupName: anyText,
      gecos: anyText,
      home: anyText,
      shell: anyText,
      groups: fc.array(fc.record({ name: anyText, gid: id }), { maxLength: 3 }),
    }),
    allocation,
    several: fc.boolean(),
    everywhere: fc.boolean(),
    network: anyText,
    port: fc.integer({ min: 0, max: 65_535 }),
    listenAddress: anyText,
    listen: fc.boolean(),
    sshd: fc.boolean(),
    environment,
    workdir: anyText,
    callerDirectory: anyText,
    mountHome: fc.boolean(),
    mountWorkdir: fc.boolean(),
    volumes: fc.array(fc.record({ source: anyText, target: anyText, readOnly: fc.boolean() }), { maxLength: 2 }),
    tmpfs: table(anyText),
    readOnlyRoot: fc.boolean(),
    limits,
    devices: fc.array(fc.record({ hostPath: anyText, containerPath: anyText, permissions: anyText }), { maxLength: 2 }),
    gpus: anyText,
    tty: fc.boolean(),
    stdin: fc.boolean(),
    linger: fc.oneof(fc.constantFrom("none" as const, "sessions" as const), fc.record({ seconds: amount })),
    maxConnections: fc.integer({ min: 1, max: 65_535 }),
    maxPerSource: fc.integer({ min: 1, max: 65_535 }),
    timeLimitMs: amount,
    prepareTimeoutMs: amount,
    upTimeoutMs: amount,
    outputFile: anyText,
    heldBack: table(amount),
    shell: anyText,
    keys: fc.record({ usualMs: amount, mostMs: amount }),
    auditSyslog: fc.boolean(),
  },
  [
    "runtime",
    "entrypoint",
    "network",
    "port",
    "listenAddress",
    "workdir",
    "gpus",
    "timeLimitMs",
    "outputFile",
    "shell",
  ],
);
