import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import type { PathFacts } from "../engine/foreign.ts";
import { type TarEntry, type TarOwner, writeTar } from "../engine/tar.ts";

/** Where the tree lies in a container: its programs have this compiled in. */
export const TREE = "/opt/udiImage";
/** The program in a tree that serves a session, and takes the tree out again (udiImage/src/inject.c). */
export function injectOf(tree: string): string {
  return `${tree}/libexec/inject`;
}
/** Written last, so that where it is all is: what the tree's removal has to put right. */
export const RECORD = `${TREE}/injected`;
/** The same, written first: by it what a client that was killed has begun is told from what is not ours. */
export const BEGUN = `${TREE}/injecting`;

/** Nobody else in the container shall be able to change what may run as root. */
const ROOT: TarOwner = { uid: 0, gid: 0 };

/** The part of the tree that sessions need; of the rest nothing is missed where there is no job. */
const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  bin: ["ssh", "scp", "sftp", "ssh-keygen"],
  sbin: ["sshd"],
  libexec: ["sshd-session", "sshd-auth", "sftp-server", "session", "inject", "xauth"],
};

/**
 * What is run, and read, of a tree in a container's files: its directories, and the files in them that are no links.
 *
 * @param udiImage the installed tree
 */
export function partsOfTree(udiImage: string): { readonly directories: string[]; readonly files: string[] } {
  const tools = readdirSync(join(udiImage, "tools"), { withFileTypes: true }).filter((tool) => !tool.isSymbolicLink());
  const files = [
    ...Object.entries(PROGRAMS).flatMap(([name, programs]) => programs.map((program) => `${name}/${program}`)),
    ...tools.map((tool) => `tools/${tool.name}`),
    "etc/sshd_config",
  ];
  const directories = [...Object.keys(PROGRAMS), "tools", "etc"];
  return { directories: directories.map((name) => `${TREE}/${name}`), files: files.map((name) => `${TREE}/${name}`) };
}

/** What sshd's configuration says of a job's keys and files; here all of that comes from `inject`. */
const JOBS_OWN =
  /^\s*(HostKey|HostCertificate|TrustedUserCAKeys|AuthorizedPrincipalsFile|AuthorizedKeysFile|RevokedKeys|PermitRootLogin)\b/i;

/** Where the tree goes, and what is there now. */
export interface TreePlace {
  /** The directory that is there already: /opt, or / where that has to be made. */
  readonly directory: "/opt" | "/";
  readonly mtime: PathFacts["mtime"];
}

/**
 * The archive of the tree, to be unpacked in the place's directory.
 *
 * @param udiImage the installed tree
 */
export function archiveTree(udiImage: string, { directory, mtime }: TreePlace): Buffer {
  const { seconds, nanoseconds } = mtime;
  const made = directory === "/" ? "made /opt\n" : "";
  return archiveFrom(udiImage, directory, `gangway-inject 1\nmtime ${directory} ${seconds} ${nanoseconds}\n${made}`);
}

/**
 * The same for a container where it is there in part, to be unpacked in /opt.
 *
 * @param record the content of {@link BEGUN} there
 */
export function archiveRest(udiImage: string, record: string): Buffer {
  return archiveFrom(udiImage, "/opt", record);
}

function archiveFrom(udiImage: string, directory: TreePlace["directory"], record: string): Buffer {
  const archive = new Archive(udiImage, TREE.slice(directory.length).replace(/^\//, ""));
  if (directory === "/") archive.directory("opt");
  archive.directory(archive.top);
  archive.text("injecting", record);
  addPrograms(archive, udiImage);
  archive.text("injected", record);
  return writeTar(archive.entries, ROOT);
}

/**
 * The archive of the tree for a container of our own, from where `inject carry` brings it into memory of another one.
 *
 * @param top a directory of `/` that no image has
 */
export function archiveCarrier(udiImage: string, top: string): Buffer {
  const archive = new Archive(udiImage, top);
  archive.directory(top);
  addPrograms(archive, udiImage);
  return writeTar(archive.entries, ROOT);
}

/** The archive of that program alone. */
export function archiveFetcher(udiImage: string, top: string): Buffer {
  const archive = new Archive(udiImage, top);
  archive.directory(top);
  archive.directory(`${top}/libexec`);
  archive.file("libexec/inject", 0o755);
  return writeTar(archive.entries, ROOT);
}

function addPrograms(archive: Archive, udiImage: string): void {
  const { top } = archive;
  for (const [name, programs] of Object.entries(PROGRAMS)) {
    archive.directory(`${top}/${name}`);
    for (const program of programs) archive.file(`${name}/${program}`, 0o755);
  }
  archive.directory(`${top}/tools`);
  for (const tool of readdirSync(join(udiImage, "tools"), { withFileTypes: true })) {
    if (tool.isSymbolicLink()) archive.link(`tools/${tool.name}`);
    else archive.file(`tools/${tool.name}`, 0o755);
  }
  archive.directory(`${top}/etc`);
  const settings = readFileSync(join(udiImage, "etc/sshd_config"), "utf8");
  archive.text(
    "etc/sshd_config",
    settings
      .split("\n")
      .filter((line) => !JOBS_OWN.test(line))
      .join("\n"),
  );
}

/** The archive of one program, to be unpacked in `/opt/udiImage/libexec`. */
export function archiveInject(content: Buffer): Buffer {
  return writeTar([{ path: "inject", mode: 0o755, type: "file", content }], ROOT);
}

export function readInject(udiImage: string): Buffer {
  return readFileSync(join(udiImage, "libexec/inject"));
}

class Archive {
  readonly entries: TarEntry[] = [];
  readonly #source: string;
  readonly top: string;
  /** Paths in the archive by content's length: programs that are one file under many names are sent once. */
  readonly #known = new Map<number, { readonly path: string; readonly content: Buffer }[]>();

  constructor(source: string, top: string) {
    this.#source = source;
    this.top = top;
  }

  directory(path: string): void {
    this.entries.push({ path, mode: 0o755, type: "directory" });
  }

  /** One that the installed tree does not have is left out. */
  file(name: string, mode: number): void {
    const source = join(this.#source, name);
    if (statSync(source, { throwIfNoEntry: false }) === undefined) return;
    const content = readFileSync(source);
    const path = `${this.top}/${name}`;
    const alike = this.#known.get(content.length) ?? [];
    const twin = alike.find((other) => other.content.equals(content));
    if (twin !== undefined) {
      this.entries.push({ path, mode, type: "hardlink", target: twin.path });
      return;
    }
    this.#known.set(content.length, [...alike, { path, content }]);
    this.entries.push({ path, mode, type: "file", content });
  }

  link(name: string): void {
    const target = readlinkSync(join(this.#source, name));
    this.entries.push({ path: `${this.top}/${name}`, mode: 0o777, type: "link", target });
  }

  text(name: string, text: string): void {
    this.entries.push({ path: `${this.top}/${name}`, mode: 0o644, type: "file", content: Buffer.from(text) });
  }
}
