/** One mount of a mount namespace. */
export interface Mount {
  readonly id: number;
  /** The mount it is mounted on. */
  readonly parent: number;
  /** The file system, as `major:minor`. */
  readonly device: string;
  /** The directory of the file system that is at the mount point. */
  readonly root: string;
  readonly point: string;
}

function decoded(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_all, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** Below a directory: the rest of the path with its slash, "" for the directory itself; undefined for what is elsewhere. */
function restBelow(directory: string, path: string): string | undefined {
  if (directory === "/") return path === "/" ? "" : path;
  if (path === directory) return "";
  return path.startsWith(`${directory}/`) ? path.slice(directory.length) : undefined;
}

/** The mounts of a process's mount namespace, as far as it can reach them (proc_pid_mountinfo(5)). */
export class MountTable {
  readonly mounts: readonly Mount[];
  readonly #upon = new Map<number, Mount[]>();
  readonly #first: Mount | undefined;

  /** @param mountinfo the text of `/proc/PID/mountinfo` */
  constructor(mountinfo: string) {
    this.mounts = mountinfo.split("\n").flatMap((line) => {
      const [id = "", parent = "", device = "", root = "", point = ""] = line.split(" ");
      if (point === "") return [];
      return [{ id: Number(id), parent: Number(parent), device, root: decoded(root), point: decoded(point) }];
    });
    for (const mount of this.mounts) {
      // The first mount of a machine is its own parent.
      if (mount.id === mount.parent) continue;
      const others = this.#upon.get(mount.parent);
      if (others === undefined) this.#upon.set(mount.parent, [mount]);
      else others.push(mount);
    }
    const ids = new Set(this.mounts.map(({ id }) => id));
    this.#first = this.mounts.find(({ id, parent, point }) => point === "/" && (id === parent || !ids.has(parent)));
  }

  /**
   * The mount in which a path lies, of several at the same place the uppermost.
   *
   * @param path absolute, without links
   */
  holding(path: string): Mount | undefined {
    if (this.#first === undefined) return undefined;
    let mount = this.#uppermost(this.#first, "/");
    let place = "";
    for (const name of path.split("/").filter((part) => part !== "")) {
      place += `/${name}`;
      mount = this.#uppermost(mount, place);
    }
    return mount;
  }

  #uppermost(mount: Mount, place: string): Mount {
    const upon = this.#upon.get(mount.id)?.find(({ point }) => point === place);
    return upon === undefined ? mount : this.#uppermost(upon, place);
  }

  /**
   * Where this namespace has a directory or file that another namespace has at a path.
   *
   * @returns that path itself, where it is the same there; undefined where it cannot be reached here
   */
  pathOf(path: string, other: MountTable): string | undefined {
    const theirs = other.holding(path);
    const rest = theirs === undefined ? undefined : restBelow(theirs.point, path);
    if (theirs === undefined || rest === undefined) return undefined;
    const within = `${theirs.root === "/" ? "" : theirs.root}${rest}` || "/";
    const places = this.mounts
      .filter(({ device }) => device === theirs.device)
      .sort((a, b) => b.root.length - a.root.length)
      .flatMap((mount) => {
        const below = restBelow(mount.root, within);
        if (below === undefined) return [];
        const place = `${mount.point === "/" ? "" : mount.point}${below}` || "/";
        return this.holding(place) === mount ? [place] : [];
      });
    return places.find((place) => place === path) ?? places[0];
  }
}
