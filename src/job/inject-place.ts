import { printable } from "../config/printable.ts";
import type { ForeignContainer, ForeignContainers, PathFacts } from "../engine/foreign.ts";
import { type Owned, ownersOf } from "./inject-owners.ts";
import { partsOfTree, TREE, type TreePlace } from "./inject-tree.ts";

/** Why the tree cannot be in a container's files at its usual place, as the end of a sentence about the container. */
export class NoPlace extends Error {}

/**
 * Looks whether the tree can go to its usual place in a container, before anything is written.
 *
 * Who could rename what is in the directories above the tree could put programs of its own in the place of ours, which
 * then run as the one who enters, root as often as not: so these must be root's and closed to others, by the engine's own
 * word.
 *
 * @throws NoPlace
 */
export async function findPlace(
  engine: ForeignContainers,
  container: ForeignContainer,
  udiImage: string,
): Promise<TreePlace> {
  const { id } = container;
  if (!isRoot(container.user) && (await engine.isPodman())) {
    const whoever = /^\d/.test(container.user) ? "" : ", whoever its passwd says that is";
    throw new NoPlace(
      `Podman would give what is put into it to the container's own user, ${printable(container.user)}${whoever}`,
    );
  }
  const [root, opt] = await Promise.all([engine.stat(id, "/"), engine.stat(id, "/opt")]);
  if (root === undefined) throw new NoPlace("the engine does not find its root directory");
  const above: [string, PathFacts][] = [["/", root]];
  if (opt !== undefined) above.push(["/opt", opt]);
  for (const [path, { kind }] of above) if (kind !== "directory") throw new NoPlace(`${path} is no directory there`);
  await checkOwners(
    engine,
    container,
    udiImage,
    above.map(([path]) => path),
  );
  return { directory: opt === undefined ? "/" : "/opt", mtime: (opt ?? root).mtime };
}

/**
 * Whether the tree that is in a container's files, all that is run of it, and the directories above it, are such that nobody but
 * root can have changed them. An image may bring one of its own: that is then its root's, who can do anything in the container anyway.
 *
 * @throws NoPlace
 */
export async function checkTree(
  engine: ForeignContainers,
  container: ForeignContainer,
  udiImage: string,
): Promise<void> {
  const { directories, files } = partsOfTree(udiImage);
  const above = ["/", "/opt", TREE];
  const paths = [...above, ...directories, ...files];
  const owners = await ownersOf(engine, container, udiImage, paths);
  for (const [index, path] of paths.entries()) {
    const owned = owners[index];
    // What is not there nobody but root can put there: the directory is root's.
    if (owned === undefined && !above.includes(path)) continue;
    if (files.includes(path)) checkOwner(path, owned);
    else checkDirectory(path, owned);
  }
}

/**
 * The same for one that is there in part.
 *
 * @throws NoPlace
 */
export async function checkBegun(
  engine: ForeignContainers,
  container: ForeignContainer,
  udiImage: string,
): Promise<void> {
  await checkOwners(engine, container, udiImage, ["/", "/opt", TREE]);
}

/**
 * What the engine knows of a container that speaks against it.
 *
 * @throws NoPlace
 */
export function checkMounts({ readOnlyRoot, mounts }: ForeignContainer): void {
  if (readOnlyRoot) throw new NoPlace("its root is read-only");
  const mount = mounts.find((path) => ["/", "/opt", TREE].includes(path) || path.startsWith(`${TREE}/`));
  if (mount !== undefined) {
    throw new NoPlace(`something is mounted at ${mount}: what is put there would be in that, not in the container`);
  }
}

/** As a container's setting has it: UID, UID:GID or names; empty is root, too. A name is whoever the container's passwd says. */
function isRoot(user: string): boolean {
  return /^0?(?::.*)?$/.test(user);
}

async function checkOwners(
  engine: ForeignContainers,
  container: ForeignContainer,
  udiImage: string,
  paths: readonly string[],
): Promise<void> {
  const owners = await ownersOf(engine, container, udiImage, paths);
  for (const [index, path] of paths.entries()) checkDirectory(path, owners[index]);
}

function checkDirectory(path: string, owned: Owned | undefined): void {
  if (owned?.type !== "directory") throw new NoPlace(`${path} is no directory there`);
  checkOwner(path, owned);
}

/** A link can be written by all, by its mode, and is none of ours. */
function checkOwner(path: string, owned: Owned | undefined): void {
  if (owned === undefined) throw new NoPlace(`${path} is not there`);
  if (owned.uid !== 0) {
    throw new NoPlace(`${path} belongs to uid ${owned.uid} there, which could put its own programs in place of ours`);
  }
  if ((owned.mode & 0o022) !== 0) {
    throw new NoPlace(`others can write ${path} there, and could put their own programs in place of ours`);
  }
}
