import { randomBytes } from "node:crypto";
import { rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Variable } from "../../allocation/environment.ts";
import { UsageError } from "../../config/errors.ts";
import { parseReference } from "../../engine/reference.ts";
import type { ImageInfo } from "../../engine/types.ts";
import type { LocalNode, RunningLocalJob } from "../../job/local-jobs.ts";
import { RUN_DIRECTORY, UDI_IMAGE } from "../../job/mounts.ts";
import { type EnvSetting, surroundPath } from "../../udi/environment.ts";
import type { SiteEnvironment } from "../../udi/site-environment.ts";
import { SHELL, type ShifterRequest } from "./request.ts";

/** A container of the job around the caller, on this host. */
export interface Instance {
  readonly job: RunningLocalJob;
  readonly node: LocalNode & { readonly socket: string };
}

/**
 * The instance that a request means: the image is the same by its name (any, where none was named), and so is all that is
 * mounted. Shifter compares by the image's id.
 *
 * @param launches the running launches of the job around the caller
 * @param volumes all that the request would have mounted, as a record has them (`volumeList`)
 */
export function findInstance(
  { image }: Pick<ShifterRequest, "image">,
  volumes: readonly string[],
  launches: readonly RunningLocalJob[],
): Instance | undefined {
  for (const job of launches) {
    const node = job.nodes.find((each): each is Instance["node"] => each.socket !== undefined);
    const { record } = job;
    if (node === undefined || !record.sshd || record.volumes?.join("\n") !== volumes.join("\n")) continue;
    if (image === undefined || fullName(image.name) === fullName(record.image)) return { job, node };
  }
  return undefined;
}

/** With what may be left out filled in; an id is its own. */
function fullName(name: string): string {
  if (/^(sha256:)?[0-9a-f]{64}$/.test(name)) return name;
  try {
    const { registry, repository, tag } = parseReference(name);
    return `${registry}/${repository}:${tag}`;
  } catch {
    return name;
  }
}

/** What a command in an instance is started with. */
export interface Start {
  /** Later wins; undefined takes a variable away. */
  readonly environment: readonly EnvSetting[];
  readonly directory: string;
  /** Whether it was asked for: then it is said where it is not there. */
  readonly named: boolean;
  readonly command: readonly string[];
}

export interface StartSettings {
  readonly request: ShifterRequest;
  /** The caller's variables that are handed on. */
  readonly caller: readonly Variable[];
  /** Of --env-file and --env. */
  readonly own: readonly EnvSetting[];
  readonly site: SiteEnvironment;
  readonly callerDirectory: string;
}

/**
 * What Shifter would start in the image, with the environment put together in its order. The instance's own stands
 * beneath: the image's variables go before the caller's, and the site's before the user's.
 *
 * @throws UsageError where the image has not what was asked for
 */
export function startIn(image: ImageInfo, { request, caller, own, site, callerDirectory }: StartSettings): Start {
  const { workdir, entrypoint, command } = request;
  const ofImage = new Set(image.env.map((entry) => entry.split("=", 1)[0]));
  const ofSite = new Set([...[site.set, site.append, site.prepend].flatMap(Object.keys), ...site.unset]);
  const settings: EnvSetting[] = [...caller.filter(([name]) => !ofImage.has(name) && !ACCOUNTS.has(name)), ...own];
  return {
    environment: settings
      .filter(([name]) => !ofSite.has(name))
      .map(([name, value]) => [name, name === "PATH" ? surroundPath(value) : value]),
    directory: workdir === "image" ? image.workdir || "/" : (workdir?.directory ?? callerDirectory),
    named: workdir !== undefined,
    command:
      entrypoint === undefined ? orShell(command) : [...programOf(entrypoint, image), ...argumentsOf(request, image)],
  };
}

/** The same in the container as here, but for the shell, which is the image's. */
const ACCOUNTS: ReadonlySet<string> = new Set(["HOME", "USER", "LOGNAME", "SHELL", "MAIL", "PWD", "OLDPWD"]);

function orShell(command: readonly string[]): readonly string[] {
  return command.length === 0 ? [SHELL] : command;
}

function programOf(entrypoint: NonNullable<ShifterRequest["entrypoint"]>, image: ImageInfo): readonly string[] {
  if (entrypoint !== "image") return [entrypoint.program];
  if (image.entrypoint.length > 0) return image.entrypoint;
  throw new UsageError("--entrypoint: the image has none", { hint: "leave it out, or write --entrypoint=PROGRAM" });
}

function argumentsOf({ command, entrypoint }: ShifterRequest, image: ImageInfo): readonly string[] {
  return command.length === 0 && entrypoint === "image" ? image.cmd : command;
}

/** Any text as a word for a POSIX shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/**
 * A script that takes itself away, takes its environment and directory and becomes the command. Our shell reads it, whatever
 * the account's is. A name that is none to a shell (`BASH_FUNC_x%%`) cannot be handed on.
 *
 * @param path of the script in the container
 */
export function startScript({ environment, directory, named, command }: Start, path: string): string {
  const settings = environment.flatMap(([name, value]) => {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return [];
    return [value === undefined ? `unset ${name}` : `export ${name}=${quoted(value)}`];
  });
  const missing = `echo ${quoted(`gangway: there is no directory ${directory} in the container; staying in`)} "$PWD" >&2`;
  return [
    `${UDI_IMAGE}/tools/rm -f ${quoted(path)}`,
    `cd ${quoted(directory)} 2>/dev/null || ${named ? missing : ":"}`,
    ...settings,
    `exec ${command.map(quoted).join(" ")}`,
    "",
  ].join("\n");
}

/**
 * Lays a script where the instance sees it and nobody else: in the node's run directory, in memory. It takes itself away
 * when it begins; here, where it never did.
 *
 * @param work is given the command line that runs it
 */
export async function withStartScript<T>(
  { node }: Instance,
  start: Start,
  work: (command: string) => Promise<T>,
): Promise<T> {
  const name = `shifter-${randomBytes(8).toString("hex")}`;
  const path = join(dirname(node.socket), name);
  const inside = `${RUN_DIRECTORY}/${name}`;
  writeFileSync(path, startScript(start, inside), { flag: "wx", mode: 0o600 });
  try {
    return await work(`${UDI_IMAGE}/tools/sh ${inside}`);
  } finally {
    rmSync(path, { force: true });
  }
}
