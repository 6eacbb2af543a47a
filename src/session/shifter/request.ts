import { UsageError } from "../../config/errors.ts";
import { fault, quote, type Where } from "../../config/where.ts";
import { parseShifterVolumes } from "./volumes.ts";
import type { ShifterWords } from "./words.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** The image, as `gangway run` is to be told of it. */
export interface ShifterImage {
  readonly name: string;
  /** It is on the node or nowhere: a registry does not know it by that name. */
  readonly local: boolean;
}

/** What a command line of shifter's asks for, its environment variables considered. */
export interface ShifterRequest extends Omit<ShifterWords, "image" | "volumes" | "module"> {
  /** Undefined: none was named; the job's instance is meant. */
  readonly image: ShifterImage | undefined;
  /** As `gangway run --volume` takes them. */
  readonly volumes: readonly string[];
  /** The module `gpu`. */
  readonly gpus: boolean;
}

const TYPES = ["docker", "id", "custom", "local"] as const;

/**
 * Fills in from the environment what the command line leaves out. SHIFTER_NAME goes before SLURM_SPANK_SHIFTER_NAME,
 * which Slurm sets for a job that was submitted with `--image`.
 *
 * @throws UsageError, ConfigError
 */
export function shifterRequest(words: ShifterWords, env: Environment): ShifterRequest {
  const { image, volumes, module, ...rest } = words;
  const flag = (name: string): Where => ({ kind: "flag", name });
  const variable = variableIn(env, "VOLUME");
  const asked = variableIn(env, "MODULE");
  return {
    ...rest,
    image: image === undefined ? imageIn(env) : parseShifterImage(image, flag("--image")),
    volumes:
      volumes?.flatMap((text) => parseShifterVolumes(text, flag("--volume"))) ??
      (variable === undefined ? [] : parseShifterVolumes(variable.text, variable.where)),
    gpus:
      module !== undefined
        ? modules(module, flag("--module"))
        : asked !== undefined && modules(asked.text, asked.where),
  };
}

function variableIn(env: Environment, name: string): { text: string; where: Where } | undefined {
  for (const variable of [`SHIFTER_${name}`, `SLURM_SPANK_SHIFTER_${name}`]) {
    const text = env[variable];
    if (text !== undefined) return { text, where: { kind: "variable", name: variable } };
  }
  return undefined;
}

/** Type and name count together or not at all; else the request as it was made. */
function imageIn(env: Environment): ShifterImage | undefined {
  const [type, name] = [variableIn(env, "IMAGETYPE"), variableIn(env, "IMAGE")];
  const request = variableIn(env, "IMAGEREQUEST");
  if (type?.text && name?.text) return parseShifterImage(`${type.text}:${name.text}`, name.where);
  return request?.text ? parseShifterImage(request.text, request.where) : undefined;
}

/**
 * Reads `[docker:|id:|custom:]NAME`.
 *
 * @throws UsageError, ConfigError
 */
export function parseShifterImage(text: string, where: Where): ShifterImage {
  const colon = text.indexOf(":");
  const type = TYPES.find((known) => known === text.slice(0, Math.max(colon, 0))) ?? "docker";
  const name = text.startsWith(`${type}:`) ? text.slice(colon + 1) : text;
  if (name === "" || name.startsWith("-")) throw fault(where, `${quote(text)} names no image`, "write docker:NAME:TAG");
  switch (type) {
    case "docker":
      return { name, local: false };
    case "custom":
      return { name, local: true };
    case "id": {
      const id = name.replace(/^sha256:/, "");
      if (!/^[0-9a-f]{12,64}$/.test(id)) {
        throw fault(where, `${quote(name)} is no image's id`, "write the engine's: 12 to 64 digits of 0-9 and a-f");
      }
      return { name: id.length === 64 ? `sha256:${id}` : id, local: true };
    }
    case "local":
      throw fault(
        where,
        `${quote(text)}: an engine runs no directory as an image`,
        "make an image of it: tar -C DIRECTORY -c . | docker import - NAME; then --image=custom:NAME",
      );
  }
}

/** @returns whether the GPUs are wanted: modules are the site's own in Shifter, and no others are known here */
function modules(text: string, where: Where): boolean {
  const names = text.split(",").filter((name) => name !== "" && name !== "none");
  const unknown = names.find((name) => name !== "gpu");
  if (unknown === undefined) return names.length > 0;
  throw fault(
    where,
    `there is no module ${quote(unknown)} here`,
    "leave it out: mpirun finds the job's nodes by itself; what else a module did, --volume and --env can do",
  );
}

/**
 * The same request in the words of `gangway run`.
 *
 * @throws UsageError where no image was named
 */
export function runWords(request: ShifterRequest): string[] {
  const { image, volumes, entrypoint, workdir, envFile, command } = request;
  if (image === undefined) {
    throw new UsageError("no image was named, and there is no instance of this job to enter", {
      hint: "shifter --image=docker:NAME:TAG [COMMAND…], or set SHIFTER_IMAGEREQUEST",
    });
  }
  const program = entrypoint === undefined || entrypoint === "image" ? "" : entrypoint.program;
  return [
    ...["--image", image.name],
    ...(image.local ? ["--pull", "never"] : []),
    ...volumes.flatMap((volume) => ["--volume", volume]),
    ...(request.clearEnv ? [] : ["--caller-env"]),
    ...(envFile === undefined ? [] : ["--env-file", envFile]),
    ...request.env.flatMap((setting) => ["--env", setting]),
    ...(request.gpus ? ["--gpus", "all"] : []),
    ...(entrypoint === "image" ? [] : ["--entrypoint", program]),
    ...(workdir === undefined ? [] : ["--workdir", workdir === "image" ? "" : workdir.directory]),
    "--",
    ...(command.length === 0 && entrypoint === undefined ? [SHELL] : command),
  ];
}

/** The image's own shell, wherever in its PATH, else ours. */
export const SHELL = "sh";

/** The words without what is told by --env, for people to read. */
export function shownWords(words: readonly string[]): string {
  const end = words.indexOf("--");
  return words
    .map((word, index) =>
      index < end && words[index - 1] === "--env" ? word.replace(/=.*$/s, "=…") : word === "" ? "''" : word,
    )
    .join(" ");
}
