import type { AllocatedNode } from "../allocation/allocation.ts";
import { EngineError, LaunchError } from "../config/errors.ts";
import type { Attachment, Engine } from "../engine/types.ts";
import { atNode } from "./at-node.ts";
import type { JobDirectory } from "./directory.ts";
import { explained } from "./mount-failure.ts";
import { checkMounted, type Doubt, type Expected, expectMounts } from "./mounted.ts";
import type { JobNode, UpReport } from "./node.ts";
import { containerSpec, type Plan } from "./prepare.ts";
import { runsCommand } from "./spec.ts";
import { checkPlace } from "./step-engine.ts";

/** HTTP's word for a container's name that is taken. */
const CONFLICT = 409;
/** How often it is looked whether a container that says nothing is still there. */
const SILENCE_MS = 500;

/** The containers of one launch, from their making to their removal. */
export class JobContainers {
  readonly #engine: Engine;
  readonly #directory: JobDirectory;
  /** Requests that make containers and may still be under way when the launch is given up. */
  readonly #making: Promise<unknown>[] = [];
  /** What of the user's is mounted. */
  #mounts: Plan["mounts"] = [];
  /** Names that the engine says are taken: what has them is not ours to remove. */
  readonly #foreign = new Set<string>();

  constructor(engine: Engine, directory: JobDirectory) {
    this.#engine = engine;
    this.#directory = directory;
  }

  /**
   * Makes every container, and attaches to the streams of those with a command before anything can come out of them.
   *
   * @returns in the order of the nodes; undefined for those without a command
   * @throws LaunchError
   */
  async create(plan: Plan, nodes: readonly JobNode[]): Promise<(Attachment | undefined)[]> {
    return await Promise.all(
      nodes.map(async ({ node, container }) => {
        this.#mounts = plan.mounts;
        try {
          const making = this.#engine.create(containerSpec(plan, node, this.#directory));
          this.#making.push(making);
          const id = await making;
          return runsCommand(plan.spec, node) ? await this.#engine.attach(id, plan.spec.tty) : undefined;
        } catch (error) {
          if (error instanceof EngineError && error.status === CONFLICT) this.#foreign.add(container);
          throw atNode(node.name, explained(error, plan.mounts));
        }
      }),
    );
  }

  /** Starts a node's container, and waits until its init is up. @throws LaunchError */
  async start(node: JobNode): Promise<UpReport> {
    const started = this.#engine.start(node.container).catch((error: unknown) => {
      throw atNode(node.node.name, explained(error, this.#mounts));
    });
    // Init reports before the engine answers: when it is up, the engine's answer is of no interest any more.
    started.catch(() => undefined);
    return await Promise.race([started.then(() => this.#untilUp(node)), node.up.promise]);
  }

  /** An init that cannot even connect to us says nothing: then its container ends, and only the engine knows. */
  async #untilUp(node: JobNode): Promise<UpReport> {
    const timer = setInterval(() => {
      if (node.connected) return;
      const look = this.#engine.inspect(node.container).then((state) => {
        if (state?.running !== true) node.lose();
      });
      look.catch(() => undefined);
    }, SILENCE_MS);
    try {
      return await node.up.promise;
    } finally {
      clearInterval(timer);
    }
  }

  /** What is to be found mounted in each container, as the user's own rights see it. */
  expectMounts(plan: Plan, nodes: readonly AllocatedNode[]): Expected[][] {
    const { udiImage } = plan;
    const own = (path: string) => path.startsWith(`${this.#directory.path}/`);
    return nodes.map((node) => {
      const { mounts } = containerSpec(plan, node, this.#directory);
      const open = mounts.filter(({ source }) => source !== udiImage && !source.startsWith(`${udiImage}/`));
      return this.#directory.as(() => expectMounts(open, ({ source }) => own(source)));
    });
  }

  /** @throws LaunchError where something else is mounted than what was meant */
  async checkMounts(nodes: readonly JobNode[], expected: readonly Expected[][], doubt: Doubt): Promise<void> {
    await Promise.all(
      expected.map(async (mounts, index) => {
        const found = nodes[index];
        if (found === undefined) throw new TypeError("mounts of a node that is none");
        const { container, node } = found;
        const state = await this.#engine.inspect(container);
        if (state?.running !== true) throw new LaunchError(node.name, "its container ended before it was up");
        checkMounted(node.name, state.pid, mounts, doubt);
      }),
    );
  }

  /** @throws LaunchError where a container that was started is outside of the job's limits */
  async checkPlaces(nodes: readonly JobNode[]): Promise<void> {
    await Promise.all(
      nodes.map(({ node, container }) =>
        checkPlace(this.#engine, container).catch((error: unknown) => {
          throw atNode(node.name, error);
        }),
      ),
    );
  }

  /** Waits until no container is being made any more: one would appear behind our back. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#making);
  }

  /** Those of the names that may be containers of ours. */
  made(names: readonly string[]): string[] {
    return this.#making.length > 0 ? names.filter((name) => !this.#foreign.has(name)) : [];
  }
}
