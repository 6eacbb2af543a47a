import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { PassThrough } from "node:stream";
import { withCoresAsBefore } from "../config/core-dumps.ts";
import { EngineError, reasonOf } from "../config/errors.ts";
import type {
  Attachment,
  ContainerSpec,
  ContainerState,
  ContainerSummary,
  Endpoint,
  Engine,
  EngineIdentity,
  EngineInfo,
  ImageContents,
  ImageInfo,
} from "../engine/types.ts";
import type { EngineView } from "./engine-view.ts";
import { PROFILE_DIRECTORY } from "./image.ts";
import type { RuntimeSpec } from "./runtime-command.ts";
import { runtimeEnvironment, withoutStep } from "./runtime-environment.ts";

/** A runtime ends with its init, which takes 0.3 s; one that does not is ended after so long, and killed after as long again. */
const PATIENCE_MS = 3000;
const HOSTS = "/etc/hosts";
const ACCOUNTS: readonly string[] = ["/etc/passwd", "/etc/group"];

/** A child of ours sees the files that we see. */
export const OWN_VIEW: EngineView = { certain: true, pathOf: (path) => path };

/** Whether containers go with their launcher by themselves: nobody else could be asked to remove them. */
export function endsWithLauncher({ origin }: Endpoint): boolean {
  return origin === ORIGIN;
}

const ORIGIN = "runtime";

/** A container as a process of the runtime's: made when it is started. */
interface RuntimeContainer {
  readonly spec: ContainerSpec;
  attachment: Piped | undefined;
  child: ChildProcess | undefined;
  /** Settled when the child has ended. */
  exited: Promise<void>;
}

/** Where the standard streams of the command are: the launcher's own, or pipes, for a launcher on another host. */
export type RuntimeStreams = "own" | "piped";

/**
 * A runtime without an engine, as the launch sees an engine: each container is a child process that the runtime's command
 * line starts, our init at its end. What an engine would be asked for by its interface the runtime is asked for by its
 * environment; images, networks, limits and accounts are its own affair.
 *
 * On another host than the launcher's, or of a second node, nothing of the terminal is a container's. Of the head the
 * standard streams are the launcher's own, so that the command has the very terminal, file or pipe that the user gave.
 */
export class RuntimeEngine implements Engine {
  // Nobody listens there. It is looked at, to see whether the engine is still the same.
  readonly endpoint: Endpoint = { socketPath: "/nonexistent/gangway", origin: ORIGIN };
  readonly #runtime: RuntimeSpec;
  readonly #streams: RuntimeStreams;
  readonly #patienceMs: number;
  readonly #containers = new Map<string, RuntimeContainer>();

  /** @param patienceMs how long a runtime may take to end by itself, and then again to end by SIGTERM */
  constructor(runtime: RuntimeSpec, streams: RuntimeStreams, patienceMs = PATIENCE_MS) {
    this.#runtime = runtime;
    this.#streams = streams;
    this.#patienceMs = patienceMs;
  }

  async identify(): Promise<EngineIdentity> {
    return { kind: "runtime", version: "", apiVersion: "", rootless: true };
  }

  async info(): Promise<EngineInfo> {
    throw unsupported("what it is");
  }

  /** Nothing is known of it: the runtime finds it, pulls it, or says why not. */
  async inspectImage(): Promise<ImageInfo> {
    const nothing = { env: [], entrypoint: [], cmd: [], volumes: [], layers: [] };
    return { id: "", architecture: "", os: "linux", workdir: "", user: "", ...nothing };
  }

  async pull(): Promise<void> {
    throw unsupported("images");
  }

  /** A container of a runtime has the host's own hosts, to which the job's are added. */
  async examineImage(): Promise<ImageContents> {
    const content = readFileSync(HOSTS);
    return { files: new Map([[HOSTS, { content, mode: 0o644 }]]), kinds: new Map([[PROFILE_DIRECTORY, "directory"]]) };
  }

  async create(spec: ContainerSpec): Promise<string> {
    this.#containers.set(spec.name, {
      spec,
      attachment: undefined,
      child: undefined,
      exited: Promise.resolve(),
    });
    return spec.name;
  }

  async attach(id: string): Promise<Attachment> {
    const attachment = new Piped();
    if (this.#streams === "own") attachment.stdout.end();
    if (this.#streams === "own") attachment.stderr.end();
    this.#of(id).attachment = attachment;
    return attachment;
  }

  /**
   * Starts the runtime.
   *
   * @returns when it has ended: that it is up its init tells
   * @throws EngineError where it cannot be started, or ended; after init was heard nobody asks
   */
  async start(id: string): Promise<void> {
    const container = this.#of(id);
    const [program = "", ...words] = this.#runtime.words;
    const { argv } = container.spec;
    const mounts = container.spec.mounts.filter(({ target }) => this.#runtime.accounts || !ACCOUNTS.includes(target));
    const line = [...words, ...this.#initLine(argv, container)];
    const env = { ...runtimeEnvironment(this.#callerFor(container), { ...container.spec, mounts }) };
    const child = withCoresAsBefore(() => spawn(program, line, { env, stdio: this.#stdioOf(container) }));
    container.child = child;
    if (this.#streams === "piped") container.attachment?.join(child);
    const ended = new Promise<EngineError>((resolve) => {
      child.once("error", (error) => resolve(notStarted(program, error)));
      child.once("exit", (code, signal) => resolve(endedEarly(program, signal ?? `status ${code}`)));
    });
    container.exited = ended.then(() => undefined);
    throw await ended;
  }

  /** With pipes this is a node's process, which the manager's launcher may have started as a step of its own. */
  #callerFor({ spec }: RuntimeContainer): Readonly<Record<string, string | undefined>> {
    return this.#streams === "own" ? process.env : withoutStep(process.env, spec.env);
  }

  #initLine([init = "", ...options]: readonly string[], { attachment }: RuntimeContainer): string[] {
    // Where the terminal is ours, too, a command that stops on it stops all of us, as a shell's job.
    const shared = attachment !== undefined && this.#streams === "own" ? ["--shared-terminal"] : [];
    return [init, ...shared, ...options];
  }

  /** Whatever runtimes have to say they say on stderr; of a node without a command there is nothing else. */
  #stdioOf({ attachment }: RuntimeContainer): ("inherit" | "pipe" | "ignore" | 2)[] {
    if (attachment === undefined) return ["ignore", 2, 2];
    return this.#streams === "own" ? ["inherit", "inherit", "inherit"] : ["pipe", "pipe", "pipe"];
  }

  async inspect(id: string): Promise<ContainerState | undefined> {
    const container = this.#containers.get(id);
    if (container === undefined) return undefined;
    const { child } = container;
    const running = child !== undefined && isRunning(child);
    return {
      id,
      name: id,
      status: running ? "running" : "exited",
      running,
      paused: false,
      pid: child?.pid ?? 0,
      exitCode: child?.exitCode ?? 0,
      oomKilled: false,
      error: "",
      labels: {},
      addresses: [],
    };
  }

  async list(): Promise<ContainerSummary[]> {
    return [];
  }

  /** Its init has been told to end; a runtime that does not end with it, or has not come so far, is ended. */
  async remove(id: string): Promise<void> {
    const container = this.#containers.get(id);
    if (container?.child === undefined) return;
    const { child, exited } = container;
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      await Promise.race([exited, after(this.#patienceMs)]);
      if (!isRunning(child)) break;
      child.kill(signal);
    }
    await exited;
    this.#containers.delete(id);
  }

  async setPaused(): Promise<void> {
    throw unsupported("a pause");
  }

  close(): void {
    for (const { child } of this.#containers.values()) child?.kill("SIGKILL");
  }

  #of(id: string): RuntimeContainer {
    const container = this.#containers.get(id);
    if (container === undefined) throw new TypeError(`there is no container ${id}`);
    return container;
  }
}

/** Streams that there are before the process is. */
class Piped implements Attachment {
  readonly stdin = new PassThrough();
  readonly stdout = new PassThrough();
  readonly stderr = new PassThrough();

  join(child: ChildProcess): void {
    // A command that has closed its input, or is gone, takes no more of it.
    child.stdin?.on("error", () => this.stdin.resume());
    if (child.stdin !== null) this.stdin.pipe(child.stdin);
    child.stdout?.pipe(this.stdout);
    child.stderr?.pipe(this.stderr);
  }

  destroy(): void {
    for (const stream of [this.stdin, this.stdout, this.stderr]) stream.destroy();
  }
}

function isRunning({ pid, exitCode, signalCode }: ChildProcess): boolean {
  return pid !== undefined && exitCode === null && signalCode === null;
}

function after(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds).unref();
  });
}

function unsupported(what: string): EngineError {
  return new EngineError(`a runtime without an engine cannot be asked for ${what}`);
}

function notStarted(program: string, error: unknown): EngineError {
  return new EngineError(`the runtime ${program} cannot be started: ${reasonOf(error)}`, {
    hint: "is it installed, and in your PATH?",
  });
}

function endedEarly(program: string, how: string): EngineError {
  return new EngineError(`the runtime ${program} ended with ${how} before the container's init was up`, {
    hint: "what it said stands above; did it bind what APPTAINER_BIND (or GANGWAY_BINDS) says, and in the same places?",
  });
}
