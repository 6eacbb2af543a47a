import { spawnSync } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync, readSync, realpathSync, statSync } from "node:fs";
import { GangwayError } from "../config/errors.ts";
import { MountTable } from "../config/mount-table.ts";
import type { MountSpec } from "../engine/types.ts";
import { connectorOf } from "./kit.ts";

/*
 * An engine takes the source of a mount by its path, as the engine sees it. A workload manager may have given the job mounts
 * of its own, above all a private /tmp (Slurm's job_container/tmpfs, HTCondor's MOUNT_UNDER_SCRATCH, pam_namespace): there the
 * same path is another directory for the engine. So its path is worked out from both mount tables, which every user may read.
 */

/** How the engine sees the files of this process. */
export interface EngineView {
  /** What this says is so. Else it has to be looked whether what was mounted is what was meant. */
  readonly certain: boolean;
  /**
   * The engine's path of a file or directory of ours.
   *
   * @param path there for us; links in it are followed. To be called in the name of the job's user
   * @returns the path itself, where it is the same or nothing is known; undefined where the engine cannot reach it
   */
  pathOf(path: string): string | undefined;
}

const SAME: EngineView = { certain: true, pathOf: (path) => path };
/** Nothing is known: what was really mounted shows whether it was right. */
const UNKNOWN: EngineView = { certain: false, pathOf: (path) => path };

/**
 * Compares the mounts of this process with the engine's.
 *
 * @param socket on which the engine listens
 * @param udiImage whose connector says who listens there
 */
export function viewOfEngine(socket: string, udiImage: string): EngineView {
  const own = mountinfoOf("/proc/self");
  if (own === undefined) return UNKNOWN;
  // Root's engine lives where the machine's first process does, almost always; then there is nothing to ask. A rootless one
  // has mounts of its own, which do not follow the host's everywhere.
  if (statSync(socket, { throwIfNoEntry: false })?.uid === 0 && own === mountinfoOf("/proc/1")) return SAME;
  const pid = listenerOf(socket, udiImage);
  if (pid === undefined) return UNKNOWN;
  const { place, mountinfo } = mostOf(threadsOf(pid));
  if (mountinfo === undefined) return UNKNOWN;
  return mountinfo === own ? SAME : viewBetween(new MountTable(own), new MountTable(mountinfo), `${place}/root`);
}

/**
 * @param own mounts of this process
 * @param root the engine's root directory, seen from here
 */
export function viewBetween(own: MountTable, engine: MountTable, root: string): EngineView {
  return {
    certain: canBeRead(root),
    pathOf(path) {
      const real = realpathSync(path);
      const found = engine.pathOf(real, own);
      // An engine of the user's own has the user's rights, and may not get through to where one of root's does.
      if (found === undefined || (canBeRead(root) && !isSame(`${root}${found}`, real))) return undefined;
      return found === real ? path : found;
    },
  };
}

/** Another user's process cannot be looked into. */
function canBeRead(directory: string): boolean {
  try {
    readdirSync(directory);
    return true;
  } catch {
    return false;
  }
}

function isSame(path: string, other: string): boolean {
  try {
    const [one, two] = [statSync(path), statSync(other)];
    return one.dev === two.dev && one.ino === two.ino;
  } catch {
    return false;
  }
}

/**
 * Mounts of ours as the engine has to be asked for them.
 *
 * @throws GangwayError for one that it cannot reach
 */
export function forEngine(mounts: readonly MountSpec[], view: EngineView): MountSpec[] {
  return mounts.map((mount) => {
    const path = view.pathOf(mount.source);
    if (path === undefined)
      throw new GangwayError(
        `the engine does not see ${mount.source}: the job has mounts of its own, and it lies in one`,
        {
          hint: "install Gangway, and set runDirectory, where the engine sees it",
        },
      );
    return path === mount.source ? mount : { ...mount, engineSource: path };
  });
}

/**
 * Every mount has an id of its own, machine-wide: two texts are the same in the same namespace alone.
 *
 * @param place of a process or thread in /proc
 */
function mountinfoOf(place: string): string | undefined {
  try {
    return readFileSync(`${place}/mountinfo`, "utf8");
  } catch {
    // It is gone, or processes of others are hidden (proc(5), hidepid).
    return undefined;
  }
}

const MOST_THREADS = 50;

/** The process's own place in /proc is its first thread's: it stands last, and is all where others cannot be seen. */
function threadsOf(pid: number): string[] {
  try {
    const others = readdirSync(`/proc/${pid}/task`).filter((thread) => thread !== `${pid}`);
    return [...others.slice(0, MOST_THREADS).map((thread) => `/proc/${pid}/task/${thread}`), `/proc/${pid}`];
  } catch {
    return [`/proc/${pid}`];
  }
}

/** Of the first line as much as this, bytes: the kernel writes no more of the table than it is asked for. */
const BEGINNING = 256;

/** The first line of a table, or its beginning: with the id of its mount it is found in one namespace alone. */
function beginningOf(place: string): string | undefined {
  try {
    const descriptor = openSync(`${place}/mountinfo`, "r");
    try {
      const bytes = Buffer.alloc(BEGINNING);
      return bytes.toString("latin1", 0, readSync(descriptor, bytes)).split("\n", 1)[0];
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return undefined;
  }
}

/**
 * The mounts that most threads have. One of them, the first too, may be in a container's for good: Podman enters it so for a
 * copy (`podman cp`), and a thread of Go's that has changed its namespace never comes back.
 */
function mostOf(threads: readonly string[]): { readonly place: string; readonly mountinfo: string | undefined } {
  const seen = new Map<string | undefined, string[]>();
  for (const place of threads) {
    const beginning = beginningOf(place);
    seen.set(beginning, [...(seen.get(beginning) ?? []), place]);
  }
  const [[, places] = [undefined, []]] = [...seen].sort(([, one], [, two]) => two.length - one.length);
  // A thread may have ended since.
  for (const place of places) {
    const mountinfo = mountinfoOf(place);
    if (mountinfo !== undefined) return { place, mountinfo };
  }
  return { place: places[0] ?? "", mountinfo: undefined };
}

/** The process that listens on a socket. Of one in another pid namespace there is no number. */
function listenerOf(socket: string, udiImage: string): number | undefined {
  const { status, stdout } = spawnSync(connectorOf(udiImage), ["--who", socket], {
    env: {},
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
    timeout: 5_000,
  });
  const pid = Number(/^(\d{1,10}) \d+\n$/.exec(stdout ?? "")?.[1] ?? 0);
  return status === 0 && pid > 0 ? pid : undefined;
}
