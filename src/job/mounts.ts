import { accessSync, constants, realpathSync, statSync } from "node:fs";
import { join, normalize } from "node:path";
import { GangwayError, UsageError } from "../config/errors.ts";
import type { MountSpec } from "../engine/types.ts";
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

function contains(directory: string, path: string): boolean {
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

function isUsableDirectory(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.X_OK);
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/** Whether a directory of the host can stand at the same path in the container without hiding the image's system. */
function mayBeMountedInPlace(path: string): boolean {
  return path !== "/" && !SYSTEM.some((system) => contains(system, path)) && !OURS.some((ours) => contains(path, ours));
}

/**
 * Home and working directory at their own paths, as far as they exist and hide nothing. To be called in the name of
 * the job's user, whose rights decide.
 */
export function placesOfTheUser(spec: JobSpec, runBase: string): { mounts: MountSpec[]; workdirIsMounted: boolean } {
  const mounts: MountSpec[] = [];
  const add = (path: string) => {
    if (exposes(realpathSync(path), runBase)) return;
    if (!mounts.some((mount) => contains(mount.target, path)))
      mounts.push({ source: path, target: path, readOnly: false });
  };
  const taken = spec.volumes.map((volume) => volume.target);
  const { home } = spec.account;
  if (spec.mountHome && mayBeMountedInPlace(home) && !taken.includes(home) && isUsableDirectory(home)) add(home);
  const cwd = spec.callerDirectory;
  if (spec.mountWorkdir && mayBeMountedInPlace(cwd) && !taken.includes(cwd) && isUsableDirectory(cwd)) add(cwd);
  const workdirIsMounted = [...mounts.map((mount) => mount.target), ...taken].some((target) => contains(target, cwd));
  return { mounts, workdirIsMounted };
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
