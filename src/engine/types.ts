import type { Socket } from "node:net";
import type { Readable, Writable } from "node:stream";
import type { Identity } from "../config/identity.ts";

/** Where an engine listens. For a launch only unix sockets: what is bind-mounted must lie on the engine's own host. */
export interface Endpoint {
  readonly socketPath: string;
  /** How it is connected to where it is reached over TLS; `socketPath` is then its address, for messages. */
  readonly dial?: () => Socket;
  /** Who named it: "flag", "DOCKER_HOST", "config", "default"; for messages. */
  readonly origin: string;
  /** In whose name it is connected to, where that is not the caller: root must not be led to another socket by a link. */
  readonly as?: Identity;
  /** How long all that is asked of it may take, in ms; then what is under way is broken off, and nothing more is asked. */
  readonly limitMs?: number;
}

/** What a launch has to know of an engine, and costs 0.5 ms to ask. */
export interface EngineIdentity {
  /** "runtime": no engine, but a program that starts containers (src/job/runtime-engine.ts). */
  readonly kind: "docker" | "podman" | "runtime";
  readonly version: string;
  readonly apiVersion: string;
  /** Whether it runs without root's rights, told by whom its socket belongs to. */
  readonly rootless: boolean;
}

/** What an engine says of itself when asked at length: 5 ms with Docker, 160 ms with Podman, so not in a launch. */
export interface EngineInfo extends EngineIdentity {
  /** As `uname -m` has it: "x86_64", "aarch64". */
  readonly architecture: string;
  readonly cgroupVersion: 1 | 2;
  readonly cgroupDriver: "cgroupfs" | "systemd" | "none";
}

export interface ImageInfo {
  /** The digest of its configuration, "sha256:…": the key under which what was learnt of it is kept. */
  readonly id: string;
  readonly architecture: string;
  readonly os: string;
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly workdir: string;
  readonly user: string;
  /** Places for which the engine makes a volume of its own. */
  readonly volumes: readonly string[];
  /** Digests of its layers' contents, the lowest first. */
  readonly layers: readonly string[];
}

export interface MountSpec {
  /** As this process has it. */
  readonly source: string;
  /** As the engine has it, where that is another path. */
  readonly engineSource?: string;
  readonly target: string;
  readonly readOnly: boolean;
  /** Bind propagation; the engine's default where absent. */
  readonly propagation?: "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave";
}

export interface Ulimit {
  readonly name: string;
  /** -1: unlimited. */
  readonly soft: number;
  readonly hard: number;
}

export interface DeviceSpec {
  readonly hostPath: string;
  readonly containerPath: string;
  /** Of "r", "w", "m". */
  readonly permissions: string;
}

/** What a container may use at most; what is absent is not limited by us. */
export interface ContainerLimits {
  /** In billionths of a cpu. */
  readonly nanoCpus?: number;
  /** "0-3,8" */
  readonly cpusetCpus?: string;
  readonly memoryBytes?: number;
  readonly shmBytes?: number;
  readonly pids?: number;
  readonly ulimits: readonly Ulimit[];
  readonly cgroupParent?: string;
  readonly oomScoreAdj?: number;
}

/** One container to be made. Everything is explicit: no default of the engine or the image is relied on. */
export interface ContainerSpec {
  readonly name: string;
  /** The image by its id, as inspected. */
  readonly image: string;
  /** argv of process 1; the image's ENTRYPOINT is switched off. */
  readonly argv: readonly string[];
  /** NAME=value, added to the image's own. */
  readonly env: readonly string[];
  readonly uid: number;
  readonly gid: number;
  readonly supplementaryGids: readonly number[];
  readonly workdir: string;
  readonly hostname: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly mounts: readonly MountSpec[];
  /** target -> mount options. */
  readonly tmpfs: Readonly<Record<string, string>>;
  /** "bridge", "host", "none" or the name of a network. */
  readonly network: string;
  readonly tty: boolean;
  readonly openStdin: boolean;
  readonly readOnlyRoot: boolean;
  readonly autoRemove: boolean;
  readonly limits: ContainerLimits;
  readonly devices: readonly DeviceSpec[];
  /** As `docker run --gpus`: "all", a count, or "device=UUID,…". */
  readonly gpus?: string;
}

/** The standard streams of a container, opened before it starts so that no byte is lost. */
export interface Attachment {
  /** Ending it closes the command's standard input (half-close). */
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** With a terminal nothing ever comes here. */
  readonly stderr: Readable;
  /** Drops the connection at once. */
  destroy(): void;
}

export interface ContainerState {
  readonly id: string;
  readonly name: string;
  /** "created", "running", "paused", "exited" and others, in the engine's own words. */
  readonly status: string;
  readonly running: boolean;
  readonly paused: boolean;
  readonly pid: number;
  readonly exitCode: number;
  readonly oomKilled: boolean;
  readonly error: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly addresses: readonly string[];
}

export interface ContainerSummary {
  readonly id: string;
  readonly name: string;
  readonly image: string;
  readonly state: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Seconds since the epoch. */
  readonly created: number;
}

export interface PullProgress {
  readonly layer: string;
  readonly status: string;
  readonly current?: number;
  readonly total?: number;
}

/** What Gangway needs of a container engine: Docker Engine API 1.41 and up, or Podman's compatible socket. */
export interface Engine {
  readonly endpoint: Endpoint;
  /** Asked once and kept: what a launch needs. */
  identify(): Promise<EngineIdentity>;
  info(): Promise<EngineInfo>;
  /** undefined: the engine does not have it. */
  inspectImage(reference: string): Promise<ImageInfo | undefined>;
  /** Pulls with the user's own registry credentials (`~/.docker/config.json`, helpers, `$REGISTRY_AUTH_FILE`). */
  pull(reference: string, onProgress: (progress: PullProgress) => void, signal?: AbortSignal): Promise<void>;
  /** Returns the id. A mount whose source is missing is an error; nothing is silently made. */
  create(spec: ContainerSpec): Promise<string>;
  attach(id: string, tty: boolean): Promise<Attachment>;
  start(id: string): Promise<void>;
  inspect(id: string): Promise<ContainerState | undefined>;
  /** Stopped ones too. Every filter is `label` or `label=value`. */
  list(labels: readonly string[]): Promise<ContainerSummary[]>;
  /**
   * Kills and removes, anonymous volumes too; resolves when it is really gone, also when it never was there.
   *
   * @param ending it is about to end by itself, and the engine to remove it then: that is waited for first, for two seconds
   */
  remove(id: string, ending?: boolean): Promise<void>;
  /**
   * Reads files of an image, and tells what other paths of it are, without running anything: through one container that is
   * created without mounts, never started, and removed. Links are followed within the image. What is not there is
   * left out of the answer.
   */
  examineImage(imageId: string, wanted: ImageQuestions): Promise<ImageContents>;
  /** Pauses every process of a container, or lets them go on. */
  setPaused(id: string, paused: boolean): Promise<void>;
  /** Closes kept connections, so that the process can end. */
  close(): void;
}

export interface ImageQuestions {
  /** Absolute paths of files to be read. */
  readonly files: readonly string[];
  /** Absolute paths of which only the kind is asked. */
  readonly stats: readonly string[];
  /** By which the container that is made for it is found, should its maker be killed. */
  readonly container?: { readonly name: string; readonly labels: Readonly<Record<string, string>> };
}

export interface ImageFile {
  readonly content: Buffer;
  readonly mode: number;
}

export type PathKind = "file" | "directory" | "other";

/** By the paths that were asked for. */
export interface ImageContents {
  readonly files: ReadonlyMap<string, ImageFile>;
  readonly kinds: ReadonlyMap<string, PathKind>;
}
