import { EngineError } from "../config/errors.ts";
import { attach } from "./attach.ts";
import { createContainer, inspectContainer, listContainers, setContainerPaused, startContainer } from "./containers.ts";
import { identify, readInfo } from "./identity.ts";
import { inspectImage } from "./images.ts";
import { removeContainer } from "./remove.ts";
import { Transport } from "./transport.ts";
import type {
  Attachment,
  ContainerSpec,
  Endpoint,
  Engine,
  EngineIdentity,
  EngineInfo,
  ImageContents,
  ImageQuestions,
  PullProgress,
} from "./types.ts";

/**
 * An engine, ready to be used. Nothing is sent until the first call; {@link Engine.close} lets go of the connections.
 *
 * @param endpoint as decided by `resolveEndpoint`
 * @param env tells where the user's credentials for registries lie
 */
export function connect(endpoint: Endpoint, env: NodeJS.ProcessEnv = process.env): Engine {
  return new SocketEngine(endpoint, env);
}

/** The calls of `Engine`, each by the module that knows it. What only some launches need is loaded when it is needed. */
class SocketEngine implements Engine {
  readonly endpoint: Endpoint;
  readonly #transport: Transport;
  readonly #env: NodeJS.ProcessEnv;
  #identity: Promise<EngineIdentity> | undefined;

  constructor(endpoint: Endpoint, env: NodeJS.ProcessEnv) {
    this.endpoint = endpoint;
    this.#env = env;
    this.#transport = new Transport(endpoint);
  }

  identify(): Promise<EngineIdentity> {
    this.#identity ??= identify(this.#transport).catch((error: unknown) => {
      // An engine that is still starting may answer the next time.
      this.#identity = undefined;
      throw error;
    });
    return this.#identity;
  }

  async info(): Promise<EngineInfo> {
    const info = await readInfo(this.#transport, await this.identify());
    this.#identity = Promise.resolve(info);
    return info;
  }

  inspectImage(reference: string) {
    return inspectImage(this.#transport, reference);
  }

  async examineImage(imageId: string, wanted: ImageQuestions): Promise<ImageContents> {
    const { examineImage } = await import("./image-files.ts");
    return await examineImage(this.#transport, imageId, wanted);
  }

  async create(spec: ContainerSpec): Promise<string> {
    return await createContainer(this.#transport, spec, await this.identify());
  }

  attach(id: string, tty: boolean): Promise<Attachment> {
    return attach(this.#transport, id, tty);
  }

  start(id: string) {
    return startContainer(this.#transport, id);
  }

  inspect(id: string) {
    return inspectContainer(this.#transport, id);
  }

  list(labels: readonly string[]) {
    return listContainers(this.#transport, labels);
  }

  async remove(id: string, ending = false): Promise<void> {
    // Podman removes in a process of its own, which takes longer than to be asked for it.
    const waits = ending && (await this.identify()).kind === "docker";
    await removeContainer(this.#transport, id, waits);
  }

  setPaused(id: string, paused: boolean) {
    return setContainerPaused(this.#transport, id, paused);
  }

  async pull(reference: string, onProgress: (progress: PullProgress) => void, signal?: AbortSignal): Promise<void> {
    if (this.endpoint.as !== undefined) {
      // Root's credentials would be told to an engine that is that user's.
      throw new EngineError(`root does not pull images into another user's engine (${this.endpoint.socketPath})`, {
        hint: `let that user pull ${reference}, or name an image that is there`,
      });
    }
    // With DEBUG=modem dockerode's transport prints each request, the registry's credentials among its headers.
    delete process.env.DEBUG;
    const { pullImage } = await import("./pull.ts");
    await pullImage(this.endpoint, reference, this.#env, onProgress, signal);
  }

  close(): void {
    this.#transport.close();
  }
}
