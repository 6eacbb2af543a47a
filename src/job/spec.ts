import type { Allocation } from "../allocation/allocation.ts";
import type { AllocationEnvironment } from "../allocation/environment.ts";
import type { ContainerLimits, DeviceSpec } from "../engine/types.ts";
import type { Account } from "../udi/accounts.ts";
import type { EnvSetting } from "../udi/environment.ts";
import type { SiteEnvironment } from "../udi/site-environment.ts";
import type { RuntimeSpec } from "./runtime-command.ts";

export type PullPolicy = "missing" | "always" | "never";
export type Linger = "none" | "sessions" | { readonly seconds: number };

/** A directory or file of the host that the user (or the site) wants in the container. */
export interface Volume {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  readonly propagation?: "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave";
}

/** What is to be launched: everything the user decided, parsed; nothing that the engine or the image must be asked for. */
export interface JobSpec {
  readonly id: string;
  /** Starts the containers in place of an engine. */
  readonly runtime?: RuntimeSpec;
  readonly image: string;
  readonly pull: PullPolicy;
  /** Empty: the image's CMD. */
  readonly command: readonly string[];
  /** Overrides the image's ENTRYPOINT; empty array: none. */
  readonly entrypoint?: readonly string[];
  readonly account: Account;
  readonly allocation: Allocation;
  /** Its nodes are on several hosts, or on another than the launcher: a process on each does what has to be done there. */
  readonly several: boolean;
  /** The command runs on every node, not on the head alone. */
  readonly everywhere: boolean;
  /** Undefined: bridge, or host where the engine is rootless. */
  readonly network?: string;
  /** Undefined: chosen by the system. */
  readonly port?: number;
  readonly listenAddress?: string;
  readonly listen: boolean;
  readonly sshd: boolean;
  readonly environment: EnvironmentSpec;
  /** Undefined: the working directory where it is mounted, else the image's; empty: the image's. */
  readonly workdir?: string;
  /** The directory the launcher was called in. */
  readonly callerDirectory: string;
  readonly mountHome: boolean;
  readonly mountWorkdir: boolean;
  readonly volumes: readonly Volume[];
  readonly tmpfs: Readonly<Record<string, string>>;
  readonly readOnlyRoot: boolean;
  readonly limits: ContainerLimits;
  readonly devices: readonly DeviceSpec[];
  readonly gpus?: string;
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly linger: Linger;
  readonly maxConnections: number;
  readonly maxPerSource: number;
  readonly timeLimitMs?: number;
  readonly prepareTimeoutMs: number;
  readonly upTimeoutMs: number;
  /** Where the output of a detached job goes; it makes the job a detached one. */
  readonly outputFile?: string;
  /** Milliseconds by which a node opens its sockets late, by node name: the barrier is tested with it. */
  readonly heldBack: Readonly<Record<string, number>>;
  readonly shell?: string;
  readonly keys: KeyLimits;
  /** Tell syslog of the sessions, too. */
  readonly auditSyslog: boolean;
}

/** How long a key that the owner brings is signed for. */
export interface KeyLimits {
  /** Where nothing else is asked for. */
  readonly usualMs: number;
  readonly mostMs: number;
}

export interface EnvironmentSpec {
  /** Leave the image's ENV out. */
  readonly clear: boolean;
  /** Of the caller's own, beneath all others. */
  readonly caller: readonly EnvSetting[];
  readonly envFile: readonly EnvSetting[];
  readonly env: readonly EnvSetting[];
  /** What the workload manager says of the job; of its variables a node's own are those of the process it started there. */
  readonly allocation: AllocationEnvironment;
  /** The caller's $TERM. */
  readonly term: string;
  readonly site: SiteEnvironment;
}

/** Whether a node runs the job's command; the others are held for whoever comes in. */
export function runsCommand({ everywhere }: JobSpec, { index }: { readonly index: number }): boolean {
  return everywhere || index === 0;
}
