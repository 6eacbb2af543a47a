import type { Identity } from "../config/identity.ts";
import type { Engine, ImageQuestions } from "../engine/types.ts";
import type { JobDirectory } from "./directory.ts";
import type { EngineView } from "./engine-view.ts";
import { lookName } from "./id.ts";
import { examineImage, obtainImage, recallImage } from "./image.ts";
import { LABEL } from "./labels.ts";
import { checkImageVolumes, checkVolume, placesOfTheUser, volumeMount } from "./mounts.ts";
import { checkArchitecture, makePlan, type Plan } from "./prepare.ts";
import { formatIdentity, thisProcess } from "./process.ts";
import type { Reporter } from "./reporter.ts";
import type { JobSpec } from "./spec.ts";

/** What planning needs of a launch. */
export interface PlanningContext {
  readonly engine: Engine;
  readonly view: EngineView;
  readonly udiImage: string;
  readonly runBase: string;
  readonly cacheDirectory: string | undefined;
  readonly identity: Identity;
  readonly reporter: Reporter;
  /** Aborted when the launch is given up. */
  readonly signal: AbortSignal;
  /** The watchdog is there: from then on containers may be made. */
  readonly watched: Promise<void>;
}

/** The first phase of a launch: asks the engine who it is and for the image, and decides what the rest depends on. */
export class Planning {
  readonly #spec: JobSpec;
  readonly #context: PlanningContext;
  readonly #directory: JobDirectory;
  #looking: Promise<unknown> | undefined;

  constructor(spec: JobSpec, context: PlanningContext, directory: JobDirectory) {
    this.#spec = spec;
    this.#context = context;
    this.#directory = directory;
  }

  /** The look into an image that nothing was known of; it made a container. */
  get looking(): Promise<unknown> | undefined {
    return this.#looking;
  }

  /** @throws GangwayError for what cannot be launched */
  async plan(): Promise<Plan> {
    const { engine, view, reporter, runBase, udiImage, identity, cacheDirectory, signal } = this.#context;
    const spec = this.#spec;
    for (const volume of spec.volumes) this.#directory.as(() => checkVolume(volume, runBase));
    const volumes = this.#directory.as(() => spec.volumes.map((volume) => volumeMount(volume, view)));
    const info = engine.identify();
    info.catch(() => undefined);
    reporter.phase(`looking for image ${spec.image}`);
    const image = await obtainImage(
      engine,
      spec.image,
      spec.pull,
      (progress) => reporter.pull(spec.image, progress),
      signal,
    );
    checkArchitecture(udiImage, image, spec.image);
    checkImageVolumes(spec.image, image.volumes);
    const shell = spec.shell ?? spec.account.shell;
    const known = recallImage(image, shell, identity, cacheDirectory);
    const knowledge =
      known ??
      (await this.#look((container) => examineImage(engine, image, shell, identity, cacheDirectory, container)));
    const places = this.#directory.as(() => placesOfTheUser(spec, runBase, view));
    for (const note of places.notes) reporter.note(note);
    return makePlan(spec, { engine: await info, image, knowledge, udiImage, places, volumes, view });
  }

  /** Looks into the image, by a container that has to go again whatever happens to us. */
  async #look<T>(examine: (container: ImageQuestions["container"]) => Promise<T>): Promise<T> {
    const { account, id } = this.#spec;
    await this.#context.watched;
    this.#context.signal.throwIfAborted();
    const labels = { [LABEL.uid]: String(account.uid), [LABEL.launcher]: formatIdentity(thisProcess()) };
    const looking = examine({ name: lookName(account.uid, id), labels });
    this.#looking = looking;
    return await looking;
  }
}
