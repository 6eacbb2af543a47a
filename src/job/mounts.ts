import { closeSync, constants, openSync, realpathSync, statSync } from "node:fs";
import { join, normalize } from "node:path";
import { GangwayError, reasonOf, UsageError } from "../config/errors.ts";
import type { MountSpec } from "../engine/types.ts";
import type { EngineView } from "./engine-view.ts";
import { type ImageKnowledge, PROFILE_DIRECTORY, SSH_PROGRAMS } from "./image.ts";
import type { JobSpec, Volume } from "./spec.ts";

export const UDI_IMAGE = "/opt/udiImage";
export const RUN_DIRECTORY = "/run/gangway";
const HOSTSFILE = "/var/hostsfile";
const PROFILE_SCRIPT = `${PROFILE_DIRECTORY}/zz-gangway.sh`;

/** Where the container has what is ours. Volumes may neither lie in these, nor contain them. */
const OURS = [UDI_IMAGE, RUN_DIRECTORY, HOSTSFILE, "/etc/passwd", "/etc/group", "/etc/hosts", PROFILE_SCRIPT];

/** Directories of the host that hold its own system: mounted over the container's they would be a twin of the host. */
const SYSTEM = [
  "/bin",
  "/boot",
  "/dev",
  "/etc",
  "/lib",
  "/lib32",
  "/lib64",
  "/opt",
  "/proc",
  "/run",
  "/sbin",
  "/sys",
  "/usr",
];

/** Whether a path is a directory or lies below it. Both are absolute and normal. */
export function contains(directory: string, path: string): boolean {
  return directory === "/" || path === directory || path.startsWith(`${directory}/`);
}

/**
 * Refuses a place in the container where a mount would cover, or be covered by, what Gangway puts there.
 *
 * @param what the mount, as the user wrote it
 * @throws UsageError naming it and the place
 */
export function checkTarget(what: string, target: string): void {
  const covered = OURS.find((ours) => contains(target, ours) || contains(ours, target));
  if (covered === undefined) return;
  throw new UsageError(`${what} would cover ${covered}, which is Gangway's own`, {
    hint: "mount it somewhere else in the container",
  });
}

/**
 * Refuses an image that has a volume of its own where what is ours lies: the engine would put the image's files there.
 *
 * @param volumes of the image's configuration
 */
export function checkImageVolumes(reference: string, volumes: readonly string[]): void {
  for (const volume of volumes) {
    const place = normalize(`/${volume}/`).replace(/\/$/, "");
    const covered = OURS.find((ours) => contains(ours, place));
    if (covered !== undefined) {
      throw new GangwayError(`image "${reference}" has a VOLUME at ${volume}, which would cover ${covered}`, {
        hint: "that place is Gangway's own; use an image without it",
      });
    }
  }
}

/** Whether a directory is, contains or lies in one where the private files of the user's jobs are. */
function exposes(source: string, runBase: string): boolean {
  return contains(source, runBase) || contains(runBase, source);
}

/**
 * Refuses a volume that cannot be mounted.
 *
 * @param runBase where the private files of the user's jobs lie: no container may have it
 * @throws UsageError for its place in the container, GangwayError for its source
 */
export function checkVolume(volume: Volume, runBase: string): void {
  checkTarget(`volume ${volume.source}:${volume.target}`, volume.target);
  try {
    if (exposes(realpathSync(volume.source), runBase)) {
      throw new UsageError(
        `volume ${volume.source}:${volume.target} would show the private files of your jobs (${runBase})`,
        { hint: "mount another directory, or set runDirectory to one in memory that lies elsewhere" },
      );
    }
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const denied = (error as NodeJS.ErrnoException).code === "EACCES";
    throw new GangwayError(
      `volume ${volume.source}:${volume.target}: ${volume.source} ${denied ? "cannot be reached (permission denied)" : "does not exist on this host"}`,
      { hint: "a source must exist before the launch; nothing is made silently", cause: error },
    );
  }
}

/** Whether a directory of the host can stand at the same path in the container without hiding the image's system. */
function mayBeMountedInPlace(path: string): boolean {
  return path !== "/" && !SYSTEM.some((system) => contains(system, path)) && !OURS.some((ours) => contains(path, ours));
}

/** What of the host's files the container has, and what is to be said of that. */
export interface Places {
  readonly mounts: readonly MountSpec[];
  readonly workdirIsMounted: boolean;
  /** Of directories that somebody may miss. */
  readonly notes: readonly string[];
}

/** What an engine that lives among other mounts than this process cannot reach. */
export const OUT_OF_SIGHT = "the engine cannot reach it (the job has mounts of its own, and it lies in one of these)";

/**
 * Home, working directory and the directory that the manager made for the job, each at its own path, as far as they exist
 * and hide nothing. To be called in the name of the job's user, whose rights decide.
 */
export function placesOfTheUser(spec: JobSpec, runBase: string, view: EngineView): Places {
  const mounts: MountSpec[] = [];
  const notes: string[] = [];
  const taken = spec.volumes.map((volume) => volume.target);
  const add = (path: string, missed: (fault: string) => string | undefined) => {
    if (!mayBeMountedInPlace(path) || taken.includes(path) || mounts.some((mount) => contains(mount.target, path)))
      return;
    const fault = faultOf(path);
    if (fault === undefined && exposes(realpathSync(path), runBase)) return;
    const source = fault === undefined ? view.pathOf(path) : undefined;
    if (source !== undefined) mounts.push({ ...fromEngine(path, source), target: path, readOnly: false });
    const note = source === undefined ? missed(fault ?? OUT_OF_SIGHT) : undefined;
    if (note !== undefined) notes.push(note);
  };
  const { home } = spec.account;
  const cwd = spec.callerDirectory;
  const { scratch } = spec.environment.allocation;
  if (spec.mountHome) add(home, (fault) => `the home directory ${home} is not mounted: ${fault}`);
  const seen = (what: string, path: string) => (fault: string) =>
    fault === OUT_OF_SIGHT ? `${what} ${path} is not mounted: ${fault}` : undefined;
  if (spec.mountWorkdir) add(cwd, seen("the current directory", cwd));
  if (spec.mountWorkdir && scratch !== undefined) add(scratch, seen("the job's own directory", scratch));
  const workdirIsMounted = [...mounts.map((mount) => mount.target), ...taken].some((target) => contains(target, cwd));
  return { mounts, workdirIsMounted, notes };
}

/** Not by access(2), which asks for the real uid: that is root's while root acts for the user (`asUser`). */
function faultOf(path: string): string | undefined {
  try {
    if (!statSync(path).isDirectory()) return "it is no directory";
    closeSync(openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NONBLOCK));
    // What lies in a directory is found by who may search it, even if it is the directory itself.
    statSync(`${path}/.`);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EACCES") return "you may not enter it on this host";
    return code === "ENOENT" || code === "ENOTDIR" ? "there is none on this host" : reasonOf(error);
  }
}

function fromEngine(source: string, engineSource: string): Pick<MountSpec, "source" | "engineSource"> {
  return source === engineSource ? { source } : { source, engineSource };
}

/**
 * A volume as the engine has to be asked for it. To be called in the name of the job's user.
 *
 * @throws GangwayError where the engine cannot reach it
 */
export function volumeMount(volume: Volume, view: EngineView): MountSpec {
  const path = view.pathOf(volume.source);
  if (path !== undefined) return { ...volume, ...fromEngine(volume.source, path) };
  throw new GangwayError(`volume ${volume.source}:${volume.target}: ${OUT_OF_SIGHT}`, {
    hint: "use a directory outside of the job's private ones, such as one below your home",
  });
}

/** What Gangway itself mounts into a node's container. */
export function ownMounts(udiImage: string, nodeDirectory: string, image: ImageKnowledge, sshd: boolean): MountSpec[] {
  const readOnly = (source: string, target: string): MountSpec => ({ source, target, readOnly: true });
  const mounts: MountSpec[] = [
    readOnly(udiImage, UDI_IMAGE),
    { source: nodeDirectory, target: RUN_DIRECTORY, readOnly: false },
    readOnly(join(nodeDirectory, "passwd"), "/etc/passwd"),
    readOnly(join(nodeDirectory, "group"), "/etc/group"),
    readOnly(join(nodeDirectory, "hosts"), "/etc/hosts"),
    readOnly(join(nodeDirectory, "hostsfile"), HOSTSFILE),
  ];
  if (image.present.includes(PROFILE_DIRECTORY)) {
    mounts.push(readOnly(join(udiImage, "etc/profile.d/zz-gangway.sh"), PROFILE_SCRIPT));
  }
  if (sshd) {
    for (const program of SSH_PROGRAMS.filter((path) => image.present.includes(path))) {
      mounts.push(readOnly(join(udiImage, "bin", program.slice(program.lastIndexOf("/") + 1)), program));
    }
  }
  return mounts;
}
