import { lstatSync, mkdirSync, realpathSync, statfsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { ConfigError, GangwayError, systemReasonOf } from "./errors.ts";
import { asUser, type Identity } from "./identity.ts";
import { normalPath } from "./parse.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** Whose directories are asked for, and what is known of where they are. */
export interface Places {
  /** The job's user. */
  readonly user: Identity;
  readonly home: string;
  /** The environment of this process; what it says of directories counts only where the user is the caller. */
  readonly env: Environment;
}

/** `~/` and `%U` in a directory of the configuration, put in for a user. */
export function expandDirectory(path: string, { user, home }: Pick<Places, "user" | "home">): string {
  const fromHome = path === "~" || path.startsWith("~/") ? home + path.slice(1) : path;
  return normalPath(fromHome.replaceAll(/%([U%])/g, (_all, token) => (token === "U" ? String(user.uid) : "%")));
}

/** A variable of the XDG base directory specification: absolute, and the user's own. */
function xdg(name: string, { user, env }: Places): string | undefined {
  const path = env[name] ?? "";
  return path.startsWith("/") && user.uid === process.geteuid?.() ? normalPath(path) : undefined;
}

/** Where the records of ended detached jobs are kept; not made here. */
export function stateDirectory(places: Places, configured?: string): string {
  if (configured !== undefined) return expandDirectory(configured, places);
  return join(xdg("XDG_STATE_HOME", places) ?? join(places.home, ".local/state"), "gangway");
}

/** Where what was learnt of images is kept; not made here. */
export function cacheDirectory(places: Places, configured?: string): string {
  if (configured !== undefined) return expandDirectory(configured, places);
  return join(xdg("XDG_CACHE_HOME", places) ?? join(places.home, ".cache"), "gangway");
}

/** sockaddr_un.sun_path holds 108 bytes, the last of which is NUL. */
const LONGEST_SOCKET = 107;
/** statfs(2) f_type of the file systems in memory. */
const TMPFS = 0x01021994;
const RAMFS = 0x858458f6;

/** The directories that {@link openRunBase} tries, in this order. */
export function runBaseCandidates(places: Places, configured?: string): readonly string[] {
  const { uid } = places.user;
  const runtime = xdg("XDG_RUNTIME_DIR", places);
  const candidates = [
    ...(configured === undefined ? [] : [expandDirectory(configured, places)]),
    ...(runtime === undefined ? [] : [join(runtime, "gangway")]),
    `/run/user/${uid}/gangway`,
    `/dev/shm/gangway-${uid}`,
  ];
  return [...new Set(candidates)];
}

/** The user's own directory below a directory for temporary files; none where that is on a disk. */
function temporaryBase(temporary: string | undefined, { user }: Places): readonly string[] {
  try {
    const fits = temporary?.startsWith("/") === true && isInMemory(temporary);
    return fits ? [join(normalPath(temporary), `gangway-${user.uid}`)] : [];
  } catch {
    return [];
  }
}

/** Where the private directories of sessions are tried first: below $TMPDIR. Jobs have nothing there. */
export function temporaryBases(places: Places): readonly string[] {
  return temporaryBase(places.env.TMPDIR, places);
}

/** Where they may have been left: what $TMPDIR was is known of the caller alone. */
export function findTemporaryBases(places: Places): readonly string[] {
  const { user } = places;
  const own = user.uid === process.geteuid?.() ? temporaryBases(places) : [];
  const all = [...new Set([...own, ...temporaryBase("/tmp", places)])];
  return asUser(user, () => all.filter((path) => checkRunBase(path, user) === undefined));
}

export interface RunBaseRequest extends Places {
  /** The setting runDirectory. */
  readonly configured?: string | undefined;
  /** The job to be started: the paths of its sockets must fit. */
  readonly job: string;
  readonly nodes: number;
  /** What speaks against a directory that would do otherwise; asked in the name of the job's user. */
  readonly objection?: (path: string) => string | undefined;
  /** Instead of {@link runBaseCandidates}. */
  readonly candidates?: readonly string[];
}

export interface RunBase {
  readonly path: string;
  /** Candidates before it that would not do, and why. */
  readonly passedOver: readonly string[];
}

/**
 * The directory in memory below which the job's private files will lie: the first candidate that is there, or can be
 * made, and is the user's alone.
 *
 * @throws GangwayError naming each candidate with the reason against it
 */
export function openRunBase(request: RunBaseRequest): RunBase {
  const passedOver: string[] = [];
  for (const path of request.candidates ?? runBaseCandidates(request, request.configured)) {
    const reason =
      tooLong(path, request.job, request.nodes) ??
      asUser(request.user, () => makeRunBase(path, request.user) ?? request.objection?.(path));
    if (reason === undefined) return { path, passedOver };
    passedOver.push(`${path}: ${reason}`);
  }
  throw new GangwayError(`no directory in memory for the job's private files (${passedOver.join("; ")})`, {
    hint: "set runDirectory to a directory on tmpfs that only you can enter",
  });
}

/** The candidates that are there and are the user's alone: where running jobs may be found. Makes nothing. */
export function findRunBases(places: Places, configured?: string): readonly string[] {
  const { user } = places;
  return asUser(user, () =>
    runBaseCandidates(places, configured).filter((path) => checkRunBase(path, user) === undefined),
  );
}

function tooLong(base: string, job: string, nodes: number): string | undefined {
  const sockets = [join(base, job, String(Math.max(0, nodes - 1)), "ctl"), join(base, job, "launcher.sock")];
  const bytes = Math.max(...sockets.map((path) => Buffer.byteLength(path)));
  return bytes > LONGEST_SOCKET
    ? `paths of sockets in it would be ${bytes} bytes, ${LONGEST_SOCKET} at most`
    : undefined;
}

function makeRunBase(path: string, user: Identity): string | undefined {
  try {
    // Exclusively: what is there already is looked at, never followed or mended.
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== "EEXIST") return systemReasonOf(error);
  }
  return checkRunBase(path, user);
}

/** Whether a directory could be a base that {@link openRunBase} gave to this user. */
export function isRunBase(path: string, uid: number): boolean {
  return checkRunBase(path, { uid }) === undefined;
}

/** What speaks against a directory, undefined for nothing. */
function checkRunBase(path: string, user: Pick<Identity, "uid">): string | undefined {
  try {
    const state = lstatSync(path);
    if (state.isSymbolicLink()) return "is a symbolic link";
    if (!state.isDirectory()) return "is no directory";
    if (state.uid !== user.uid) return `belongs to uid ${state.uid}, not ${user.uid}`;
    const mode = state.mode & 0o777;
    if (mode !== 0o700) return `has mode ${mode.toString(8).padStart(4, "0")}, not 0700`;
    const others = whereReplaceable(path, user.uid);
    if (others !== undefined) return `others can replace it, since ${others}`;
    return isInMemory(path) ? undefined : "is not in memory (tmpfs or ramfs)";
  } catch (error) {
    return systemReasonOf(error);
  }
}

/** Whether what is there is on no disk. @throws Error where there is nothing */
export function isInMemory(path: string): boolean {
  const type = statfsSync(path).type >>> 0;
  return type === TMPFS || type === RAMFS;
}

/**
 * Which directory above a path lets others than its user and root put something else in its place. Whoever has the root directory
 * could anyway: in a user namespace that is the machine's root, who has no number there.
 *
 * @returns the reason; undefined where none does
 */
function whereReplaceable(path: string, uid: number): string | undefined {
  const trusted = [0, uid, statSync("/").uid];
  for (let place = realpathSync(dirname(path)); ; place = dirname(place)) {
    const { uid: owner, mode } = statSync(place);
    if (!trusted.includes(owner)) return `${place} belongs to uid ${owner}`;
    // A sticky bit keeps them to their own.
    if ((mode & 0o022) !== 0 && (mode & 0o1000) === 0) return `they can write ${place}`;
    if (place === dirname(place)) return undefined;
  }
}

export interface UdiImageRequest {
  /** The setting udiImagePath, and where that was said. */
  readonly configured?: { readonly path: string; readonly origin: string } | undefined;
  /** The directory of the running program (`import.meta.dirname` of the bundle). */
  readonly program: string;
}

/** Where a tree of the program's own may lie: that of a clone, of an npm package, or of an installation. */
function besideProgram(program: string): readonly [string, string] {
  return [join(program, "../build/udiImage"), join(program, "../udiImage")];
}

/** The sources' own directory has the same name as the finished tree; only that one has a manifest. */
function isUdiImage(path: string): boolean {
  return statSync(join(path, "manifest.json"), { throwIfNoEntry: false })?.isFile() === true;
}

/** Whether the program has a tree of its own. @param program its directory */
export function hasUdiImage(program: string): boolean {
  return besideProgram(program).some(isUdiImage);
}

/**
 * The tree that is mounted at /opt/udiImage, as a real path: what is mounted must not change when a link is moved.
 *
 * @throws ConfigError naming where it was looked for
 */
export function findUdiImage({ configured, program }: UdiImageRequest): string {
  const looked =
    configured === undefined
      ? [...besideProgram(program), "/opt/udiImage", "/usr/lib/gangway/udiImage"]
      : [configured.path];
  for (const path of looked) {
    if (isUdiImage(path)) return realpathSync(path);
  }
  const said = configured === undefined ? "" : `${configured.origin}: `;
  throw new ConfigError(`${said}no udiImage (a directory with a manifest.json) at ${looked.join(", ")}`, {
    hint: "build it with make, or set udiImagePath to where it is",
  });
}
