import { isIP } from "node:net";
import { parseEngineRule } from "./engine-rule.ts";
import { normalPath, parseAbsolutePath, parseInteger, parseValue } from "./parse.ts";
import { didYouMean } from "./suggest.ts";
import { fault, quote, type Where } from "./where.ts";

// What docker's users write for a container: volumes, devices, ulimits, gpus, networks; and init's own policies.

export interface Volume {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  readonly propagation?: Propagation;
}

const PROPAGATIONS = ["private", "rprivate", "shared", "rshared", "slave", "rslave"] as const;
export type Propagation = (typeof PROPAGATIONS)[number];

/** What relative sources of volumes are resolved against; a file has no working directory worth trusting. */
export interface Bases {
  readonly home: string;
  readonly cwd?: string | undefined;
}

const VOLUME_HINT = "write SOURCE:TARGET[:ro], both absolute";

/**
 * `SOURCE:TARGET[:OPTIONS]` as `docker run -v`: the target is absolute; the source is absolute or starts with `~` or
 * (where there is a working directory) `./`; options are `ro` or `rw` and a mount propagation.
 * A named volume is refused: where its content would lie, only the engine knows.
 */
export function parseVolume(text: string, where: Where, bases: Bases): Volume {
  parseValue(text, where);
  const parts = text.split(":");
  const [source = "", target = "", words] = parts;
  const told = quote(text);
  if (parts.length < 2) throw fault(where, `${told} names no place in the container`, VOLUME_HINT);
  if (parts.length > 3) throw fault(where, `${told} has too many colons: paths cannot hold one`, VOLUME_HINT);
  if (source === "") throw fault(where, `${told} names nothing on the host`, VOLUME_HINT);
  if (!target.startsWith("/")) throw fault(where, `${told}: the target is not an absolute path`, VOLUME_HINT);
  const place = normalPath(target);
  if (place === "/") throw fault(where, `${told} would cover the whole container`, VOLUME_HINT);
  return { source: parseSource(source, where, bases), target: place, ...parseVolumeOptions(words, told, where) };
}

function parseSource(source: string, where: Where, bases: Bases): string {
  if (source.startsWith("/")) return normalPath(source);
  if (source === "~" || source.startsWith("~/")) return normalPath(`${bases.home}/${source.slice(1)}`);
  if (/^\.\.?(?:\/|$)/.test(source)) {
    if (bases.cwd !== undefined) return normalPath(`${bases.cwd}/${source}`);
    throw fault(where, `${quote(source)} is relative to nothing here`, "write an absolute path, or one from ~/");
  }
  throw fault(
    where,
    `${quote(source)} is neither an absolute path nor one from ./ or ~/`,
    "named volumes are not supported; for a directory here write ./NAME",
  );
}

function parseVolumeOptions(words: string | undefined, told: string, where: Where): Omit<Volume, "source" | "target"> {
  let readOnly: boolean | undefined;
  let propagation: Propagation | undefined;
  for (const word of words === undefined ? [] : words.split(",")) {
    const found = PROPAGATIONS.find((name) => name === word);
    if (word === "ro" || word === "rw") {
      if (readOnly !== undefined) throw fault(where, `${told}: ro or rw is said twice`, "say it once");
      readOnly = word === "ro";
    } else if (found !== undefined) {
      if (propagation !== undefined) throw fault(where, `${told}: two propagations`, "say one");
      propagation = found;
    } else {
      const known = ["ro", "rw", ...PROPAGATIONS];
      const list = `known are ${known.join(", ")}`;
      throw fault(where, `${told}: unknown option ${quote(word)}`, didYouMean(word, known, list));
    }
  }
  return { readOnly: readOnly ?? false, ...(propagation === undefined ? {} : { propagation }) };
}

/** The inverse of {@link parseVolume}. */
export function formatVolume(volume: Volume): string {
  const options = [...(volume.readOnly ? ["ro"] : []), ...(volume.propagation ? [volume.propagation] : [])];
  return [volume.source, volume.target, ...(options.length > 0 ? [options.join(",")] : [])].join(":");
}

export interface Device {
  readonly hostPath: string;
  readonly containerPath: string;
  /** Of "r", "w", "m". */
  readonly permissions: string;
}

/** `/dev/x[:/dev/y[:rwm]]` as `docker run --device`; also `/dev/x:rw`. */
export function parseDevice(text: string, where: Where): Device {
  const parts = text.split(":");
  const [hostPath = "", second, third] = parts;
  const hint = "write /dev/NAME[:/dev/NAME[:rwm]]";
  if (parts.length > 3) throw fault(where, `${quote(text)} has too many colons`, hint);
  const shortForm = parts.length === 2 && second !== undefined && !second.startsWith("/");
  const containerPath = shortForm ? hostPath : (second ?? hostPath);
  const permissions = (shortForm ? second : third) ?? "rwm";
  for (const path of [hostPath, containerPath]) {
    if (normalPath(parseAbsolutePath(path, where)) === "/") throw fault(where, `${quote(text)} names no device`, hint);
  }
  if (!/^[rwm]{1,3}$/.test(permissions) || new Set(permissions).size !== permissions.length) {
    throw fault(where, `${quote(permissions)} are no permissions of a device`, "write some of r, w and m, each once");
  }
  return { hostPath: normalPath(hostPath), containerPath: normalPath(containerPath), permissions };
}

/** The inverse of {@link parseDevice}. */
export function formatDevice(device: Device): string {
  return `${device.hostPath}:${device.containerPath}:${device.permissions}`;
}

export interface Ulimit {
  readonly name: string;
  /** -1: unlimited. */
  readonly soft: number;
  readonly hard: number;
}

/** As the engines know them: getrlimit(2) without RLIMIT_, `as` left out as docker does. */
export const ULIMIT_NAMES = [
  "core",
  "cpu",
  "data",
  "fsize",
  "locks",
  "memlock",
  "msgqueue",
  "nice",
  "nofile",
  "nproc",
  "rss",
  "rtprio",
  "rttime",
  "sigpending",
  "stack",
] as const;

/** `NAME=SOFT[:HARD]` as `docker run --ulimit`; `unlimited` or -1 takes the limit off. */
export function parseUlimit(text: string, where: Where): Ulimit {
  const match = /^([^=]*)=([^:]*)(?::(.*))?$/s.exec(text);
  if (match === null)
    throw fault(where, `${quote(text)} is not a ulimit`, "write NAME=SOFT[:HARD], such as nofile=1024:2048");
  const [, name = "", softText = "", hardText = softText] = match;
  if (!ULIMIT_NAMES.some((known) => known === name)) {
    const list = `known are ${ULIMIT_NAMES.join(", ")}`;
    throw fault(where, `there is no ulimit ${quote(name)}`, didYouMean(name, ULIMIT_NAMES, list));
  }
  const soft = parseLimit(softText, where);
  const hard = parseLimit(hardText, where);
  if (hard !== -1 && (soft === -1 || soft > hard)) {
    throw fault(
      where,
      `${quote(text)}: the soft limit is above the hard one`,
      "write NAME=SOFT:HARD, the smaller first",
    );
  }
  return { name, soft, hard };
}

function parseLimit(text: string, where: Where): number {
  return text === "unlimited" ? -1 : parseInteger(text, where, -1, Number.MAX_SAFE_INTEGER);
}

/** The inverse of {@link parseUlimit}. */
export function formatUlimit({ name, soft, hard }: Ulimit): string {
  const limit = (value: number): string => (value === -1 ? "unlimited" : String(value));
  return soft === hard ? `${name}=${limit(soft)}` : `${name}=${limit(soft)}:${limit(hard)}`;
}

/** As `docker run --gpus`: `all`, a count, or `device=ID,…` by number or UUID (docker's own quotes are taken off). */
export function parseGpus(text: string, where: Where): string {
  const bare = text.replace(/^"(.*)"$/s, "$1");
  const good =
    bare === "all" || /^[1-9]\d{0,3}$/.test(bare) || /^device=[A-Za-z0-9_.:/-]+(?:,[A-Za-z0-9_.:/-]+)*$/.test(bare);
  if (!good) throw fault(where, `${quote(text)} names no gpus`, "write all, a count, or device=ID,ID");
  return bare;
}

/** `bridge`, `host`, `none`, or the name of a network of the engine. */
export function parseNetwork(text: string, where: Where): string {
  if (text.startsWith("container:") || text.startsWith("ns:")) {
    throw fault(
      where,
      `${quote(text)}: a job container shares no other container's network`,
      "use bridge, host or none",
    );
  }
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$/.test(text)) {
    throw fault(where, `${quote(text)} is no name of a network`, "use bridge, host, none, or the name of a network");
  }
  return text;
}

/** The engine's unix socket, as `unix:///path` or a path, with %U, %u and %h for the user; returned as a path. */
export function parseEngine(text: string, where: Where): string {
  const path = text.startsWith("unix://") ? text.slice("unix://".length) : text;
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(path)) {
    throw fault(
      where,
      `${quote(text)}: only engines on a unix socket can be used, since directories of this host are mounted`,
      "write unix:///run/docker.sock or the like",
    );
  }
  return parseEngineRule(path, where);
}

/** What init listens on over TCP: every address, none at all, or one. */
export type Listen = "any" | "none" | { readonly address: string };

/** `any`, `none`, or an IP address. */
export function parseListen(text: string, where: Where): Listen {
  if (text === "any" || text === "none") return text;
  const address = text.replace(/^\[(.*)\]$/s, "$1");
  if (isIP(address) === 0) {
    throw fault(where, `${quote(text)} is no address`, "write any, none, or an IP address such as 10.0.0.1");
  }
  return { address };
}

export type Linger = "none" | "sessions" | { readonly seconds: number };

/** As the engines' cgroup drivers take it: a path (cgroupfs) or a slice (systemd). */
export function parseCgroupParent(text: string, where: Where): string {
  const path = parseValue(text, where);
  const slice = /^[A-Za-z0-9_.:@\\-]+\.slice$/.test(path);
  if ((!slice && !path.startsWith("/")) || path.split("/").includes("..")) {
    throw fault(where, `${quote(text)} is no parent cgroup`, "write an absolute path or NAME.slice");
  }
  return path;
}

/** TCP ports, both included. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** `FIRST-LAST`, or one port. */
export function parsePortRange(text: string, where: Where): PortRange {
  const [first, last] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text)?.slice(1) ?? [];
  const range = { first: Number(first ?? 0), last: Number(last ?? first ?? 0) };
  if (range.first >= 1 && range.first <= range.last && range.last <= 65_535) return range;
  throw fault(where, `${quote(text)} is no range of TCP ports`, "write FIRST-LAST, such as 30000-30100");
}

export function formatPortRange({ first, last }: PortRange): string {
  return `${first}-${last}`;
}

/** Words with blanks between, one of them or a part of one `%h`. No shell reads them. */
export function parseWords(text: string, where: Where): string {
  parseValue(text, where);
  const words = text.split(/ +/);
  if (words.length > 1 && text.split("%h").length === 2 && words[0]?.includes("%h") === false) return text;
  throw fault(where, `${quote(text)} is no program with %h for a host`, "write such as oarsh %h");
}

/** How a client program of a name is called. */
export interface ClientRule {
  readonly name: string;
  readonly command: string;
}

/** `NAME=WORDS`, with tokens of one letter behind a `%`. */
export function parseClientRule(text: string, where: Where): ClientRule {
  parseValue(text, where);
  const equals = text.indexOf("=");
  const [name, command] = [text.slice(0, Math.max(0, equals)), text.slice(equals + 1).trim()];
  if (!/^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/.test(name) || command === "") {
    throw fault(where, `${quote(text)} is no client program`, "write NAME=PROGRAM WORDS…");
  }
  if (/%(?![Fhikux])/.test(command.replaceAll("%%", ""))) {
    throw fault(where, `${quote(text)}: a % in it means nothing`, "the tokens are %F %h %i %k %u %x, and %% for %");
  }
  return { name, command };
}
