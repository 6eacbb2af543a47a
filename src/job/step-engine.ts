import { execFile } from "node:child_process";
import { closeSync, constants, openSync, readFileSync } from "node:fs";
import { promisify } from "node:util";
import type { Surroundings } from "../allocation/allocation.ts";
import { gpusOfStep, gpusWithin, parseGpuList } from "../allocation/gpus.ts";
import { isBelow, parseCgroups } from "../allocation/step-cgroup.ts";
import { EngineError, GangwayError, reasonOf, UsageError } from "../config/errors.ts";
import { asUser, type Identity } from "../config/identity.ts";
import { programNamed, whyNotStarted } from "../config/program-path.ts";
import { connect } from "../engine/engine.ts";
import { hostCgroupVersion } from "../engine/identity.ts";
import type { ContainerSpec, Engine, EngineIdentity } from "../engine/types.ts";
import { type Placement, type PlacingEngine, placeIn, type StepPolicy, wayOf } from "./limits.ts";
import type { PodmanInside } from "./podman-inside.ts";
import { type Step, stepOf } from "./step.ts";

/** What is needed to keep a launch's containers within the step that it is made in. */
export interface StepContext {
  readonly policy: StepPolicy;
  readonly surroundings: Surroundings;
  readonly identity: Identity;
  /** Of this launch, on this machine. */
  readonly containers: number;
  /** BASE of docs/internals.md, section 3, checked; asked where an engine has to be started. */
  readonly runBase: () => string;
  readonly udiImage: string;
  /** Tells the user something. */
  readonly note: (text: string) => void;
}

const TO_GO_ON = "to go on without the job's limits, the site's configuration file can say stepLimits = \"none\"";

/**
 * An engine whose containers have no more than the workload manager gave to the step this process is in.
 *
 * @param engine as it was configured
 * @returns the same engine where there is no such step, or the site wants none of this
 * @throws GangwayError where the limits of a shared machine cannot be kept
 */
export async function withinStep(engine: Engine, context: StepContext): Promise<Engine> {
  const step = context.policy === "none" ? undefined : stepOf(context.surroundings);
  if (step === undefined) return engine;
  const identity = await engine.identify();
  const inside = identity.rootless && (hostCgroupVersion() === 1 || (await onlyInside(engine)));
  if (!inside) return new EngineInStep(engine, step, context, { usual: usualDriver(identity) });
  try {
    return await startInside(engine, step, context);
  } catch (error) {
    if (step.shared || context.policy === "require") throw unkept(step, reasonOf(error), error);
    context.note(`${unkept(step, reasonOf(error), error).message}; the machine is the job's alone, so it goes on`);
    return engine;
  }
}

/**
 * The way in which this engine makes cgroups unless it was told otherwise, where it says so itself when that is wrong: Docker
 * on control groups of version 1 makes them by itself, and with the systemd driver refuses a parent that is no slice.
 */
function usualDriver(identity: EngineIdentity): PlacingEngine | undefined {
  if (identity.kind !== "docker" || identity.rootless || hostCgroupVersion() !== 1) return undefined;
  return { ...identity, cgroupVersion: 1, cgroupDriver: "cgroupfs" };
}

async function onlyInside(engine: Engine): Promise<boolean> {
  return (await engine.info()).cgroupDriver !== "systemd";
}

async function startInside(engine: Engine, step: Step, context: StepContext): Promise<Engine> {
  const { kind } = await engine.identify();
  if (kind !== "podman") throw new GangwayError("a rootless Docker is in cgroups of its own");
  if (process.geteuid?.() !== context.identity.uid) {
    throw new GangwayError("root cannot start another user's Podman", { hint: "start gangway as that user" });
  }
  const { PodmanInside } = await import("./podman-inside.ts");
  const podman = new PodmanInside(context.runBase(), context.udiImage);
  try {
    await podman.ready();
  } catch (error) {
    await podman.stop();
    throw error;
  }
  engine.close();
  return new EngineInStep(connect({ socketPath: podman.socketPath, origin: "step" }), step, context, { podman });
}

function unkept(step: Step, reason: string, cause: unknown): GangwayError {
  const hint = cause instanceof GangwayError && cause.hint !== undefined ? `${cause.hint} ` : "";
  return new GangwayError(`the containers could not be kept within what ${step.manager} gave the job: ${reason}`, {
    hint: `${hint}${TO_GO_ON}`,
    cause,
  });
}

/** Whether a container that was started is where it has to be; nothing to do for an engine that is in no step. */
export async function checkPlace(engine: Engine, container: string): Promise<void> {
  if (engine instanceof EngineInStep) await engine.check(container);
}

/** Waits, after its close, until an engine that was started for the launch has ended. */
export async function untilClosed(engine: Engine): Promise<void> {
  if (engine instanceof EngineInStep) await engine.untilClosed();
}

/** What is known of an engine before it is put in front of. */
interface Known {
  /** It was started in the step, for this launch. */
  readonly podman?: PodmanInside;
  /** How it makes cgroups as long as it does not refuse that. */
  readonly usual?: PlacingEngine | undefined;
}

/** HTTP's word for a request that can never be granted. */
const BAD_REQUEST = 400;

/** An engine in front of another: what it makes is limited as the step is, and looked at once it has started. */
export class EngineInStep implements Engine {
  readonly #engine: Engine;
  readonly #step: Step;
  readonly #context: StepContext;
  readonly #podman: PodmanInside | undefined;
  readonly #checks = new Map<string, Promise<void>>();
  readonly #usual: PlacingEngine | undefined;
  #info: Promise<PlacingEngine> | undefined;
  #way: Placement["way"] = "copied";
  #noted = false;
  #closed: Promise<void> | undefined;

  constructor(engine: Engine, step: Step, context: StepContext, { podman, usual }: Known) {
    this.#engine = engine;
    this.#step = step;
    this.#context = context;
    this.#podman = podman;
    this.#usual = usual;
    // The engine has its answer ready, then, when a container is to be made.
    if (usual === undefined && this.#placed) void this.#placing().catch(() => undefined);
  }

  get endpoint() {
    return this.#engine.endpoint;
  }

  /** Whether there are cgroups that a container could be put below of. */
  get #placed(): boolean {
    return this.#podman === undefined && this.#step.cgroup?.parent !== undefined;
  }

  /** What it says at length costs Podman 160 ms, and Docker, which starts three programs for it, 15 ms of cpu. */
  #placing(): Promise<PlacingEngine> {
    this.#info ??= this.#engine.info();
    return this.#info;
  }

  async create(spec: ContainerSpec): Promise<string> {
    if (!this.#placed) return await this.#createBy(spec, this.#podman === undefined ? "copied" : "inside");
    const wayWith = (engine: PlacingEngine) => wayOf(this.#step, spec.limits, engine, this.#context.policy);
    const usual = this.#usual && this.#info === undefined ? wayWith(this.#usual) : undefined;
    if (usual === undefined) return await this.#createBy(spec, wayWith(await this.#placing()));
    try {
      return await this.#createBy(spec, usual);
    } catch (error) {
      if (!(error instanceof EngineError && error.status === BAD_REQUEST)) throw error;
      const way = wayWith(await this.#placing());
      if (way === usual) throw error;
      return await this.#createBy(spec, way);
    }
  }

  async #createBy(spec: ContainerSpec, way: Placement["way"]): Promise<string> {
    const { rootless } = await this.#engine.identify();
    const place = placeIn(this.#step, spec.limits, way, { rootless, containers: this.#context.containers });
    if (!place.held.has("devices")) this.#checkDevices(spec);
    const id = await this.#engine.create({ ...(await this.#withGpus(spec)), limits: place.limits });
    this.#way = way;
    if (!this.#noted) for (const note of place.notes) this.#context.note(note);
    this.#noted = true;
    return id;
  }

  /** Where the step's cgroup does not keep a device from the container, the user has to have it here. */
  #checkDevices({ devices }: ContainerSpec): void {
    if (this.#step.cgroup?.groups.has("devices") !== true) return;
    for (const { hostPath } of devices) {
      asUser(this.#context.identity, () => {
        try {
          closeSync(openSync(hostPath, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY));
        } catch (error) {
          // The cgroup's refusal; that of the device's mode is EACCES, and the same in the container.
          if ((error as NodeJS.ErrnoException).code !== "EPERM") return;
          throw new UsageError(`--device ${hostPath}: ${this.#step.manager} did not give it to the job`, {
            hint: "ask the workload manager for it (--gres of sbatch)",
            cause: error,
          });
        }
      });
    }
  }

  /** GPUs by what means the same in the container. */
  async #withGpus(spec: ContainerSpec): Promise<ContainerSpec> {
    const { gpus, ...rest } = spec;
    if (gpus === undefined) return spec;
    const words = this.#step.gpus;
    const own = words.length === 0 ? [] : gpusOfStep(words, parseGpuList(await listGpus()));
    const given = gpusWithin(gpus, own);
    if (given.length === 0) return rest;
    const others = spec.env.filter((entry) => !entry.startsWith("CUDA_VISIBLE_DEVICES="));
    return { ...spec, gpus: `device=${given.join(",")}`, env: [...others, `CUDA_VISIBLE_DEVICES=${given.join(",")}`] };
  }

  async start(id: string): Promise<void> {
    const started = this.#engine.start(id);
    const check = started.then(
      () => this.#verify(id),
      // Whoever started it is told.
      () => undefined,
    );
    check.catch(() => undefined);
    this.#checks.set(id, check);
    await started;
  }

  /** @throws GangwayError when a container that was started is outside of the step's cgroups */
  async check(id: string): Promise<void> {
    await this.#checks.get(id);
  }

  async #verify(id: string): Promise<void> {
    const groups = this.#step.cgroup?.groups;
    if (this.#way === "copied" || groups === undefined) return;
    const pid = (await this.#engine.inspect(id))?.pid ?? 0;
    const found = pid === 0 ? undefined : entriesOf(pid);
    // It has ended meanwhile, which others tell.
    if (found === undefined) return;
    for (const [controller, group] of groups) {
      const entry = found.find(({ version, controllers }) =>
        controller === "unified" ? version === 2 : controllers.includes(controller),
      );
      if (entry !== undefined && isBelow(entry.path, group)) continue;
      const reason = `its ${controller} cgroup is ${entry?.path ?? "unknown"}, and the job's is ${group}`;
      throw unkept(this.#step, reason, new GangwayError(reason, { hint: 'try stepLimits = "copy";' }));
    }
  }

  identify() {
    return this.#engine.identify();
  }

  info() {
    return this.#engine.info();
  }

  inspectImage(reference: string) {
    return this.#engine.inspectImage(reference);
  }

  pull(...words: Parameters<Engine["pull"]>) {
    return this.#engine.pull(...words);
  }

  attach(id: string, tty: boolean) {
    return this.#engine.attach(id, tty);
  }

  inspect(id: string) {
    return this.#engine.inspect(id);
  }

  list(labels: readonly string[]) {
    return this.#engine.list(labels);
  }

  remove(id: string, ending?: boolean) {
    return this.#engine.remove(id, ending);
  }

  examineImage(...words: Parameters<Engine["examineImage"]>) {
    return this.#engine.examineImage(...words);
  }

  setPaused(id: string, paused: boolean) {
    return this.#engine.setPaused(id, paused);
  }

  close(): void {
    this.#engine.close();
    this.#closed ??= this.#podman?.stop();
  }

  async untilClosed(): Promise<void> {
    await this.#closed;
  }
}

function entriesOf(pid: number) {
  try {
    return parseCgroups(readFileSync(`/proc/${pid}/cgroup`, "utf8"));
  } catch {
    return undefined;
  }
}

/** Asked in this process's own cgroups and environment, as the step's programs would. */
async function listGpus(): Promise<string> {
  try {
    return (await promisify(execFile)(programNamed("nvidia-smi"), ["-L"], { timeout: 30_000 })).stdout;
  } catch (error) {
    throw new GangwayError(`the job's GPUs cannot be told: nvidia-smi -L failed: ${whyNotStarted(error)}`, {
      hint: "name the devices one by one with --device, or leave --gpus out",
      cause: error,
    });
  }
}
