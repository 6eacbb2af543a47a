import { randomBytes } from "node:crypto";
import { dirname } from "node:path/posix";
import { EngineError } from "../config/errors.ts";
import { type ArchiveEntry, readArchive } from "./archive.ts";
import { messageIn, refusal } from "./failures.ts";
import { number, object, text } from "./json.ts";
import { removeContainer } from "./remove.ts";
import type { Transport } from "./transport.ts";
import type { ImageContents, ImageFile, ImageQuestions, PathKind } from "./types.ts";

/** A container with this label was made to look into an image. */
export const PROBE_LABEL = "gangway.probe";

/** Links followed for one path before it counts as a loop; Linux itself stops at 40. */
const LINK_LIMIT = 40;

const CALLS_AT_ONCE = 4;

/** How engines word, with status 500, that an image's links run in a circle, or pass through a file. */
const LEADS_NOWHERE = /too many (levels of symbolic )?links|not a directory/;

/** Bits of Go's os.FileMode, in which engines tell what a path is. */
const GO_DIRECTORY = 0x8000_0000;
const GO_LINK = 0x0800_0000;
const GO_TYPE = 0x8f28_0000;

/**
 * Looks into an image without running anything of it: through a container that is created without any mount (one would show
 * in its place), never started, and removed again.
 *
 * @param files absolute paths to read
 * @param stats absolute paths of which only the kind is asked
 */
export async function examineImage(
  transport: Transport,
  imageId: string,
  wanted: ImageQuestions,
): Promise<ImageContents> {
  const container = await createProbe(transport, imageId, wanted);
  try {
    const probe = new Probe(transport, container);
    const files = await probe.read(wanted.files);
    const kinds = await probe.kinds(wanted.stats);
    return { files, kinds };
  } finally {
    await removeContainer(transport, container);
  }
}

async function createProbe(transport: Transport, imageId: string, { container }: ImageQuestions): Promise<string> {
  const action = `look into image ${imageId}`;
  const { value } = await transport.json(
    {
      method: "POST",
      path: "/containers/create",
      query: { name: container?.name ?? `gangway-probe-${process.pid}-${randomBytes(6).toString("hex")}` },
      body: {
        Image: imageId,
        // An image that names no command (from scratch) is refused without one; it is never run.
        Entrypoint: ["/gangway-probe"],
        Cmd: [],
        Labels: { [PROBE_LABEL]: "1", ...container?.labels },
        HostConfig: { NetworkMode: "none", LogConfig: { Type: "none" } },
      },
      action,
    },
    [201],
  );
  const id = text(object(value).Id);
  if (id === "") throw new EngineError(`could not ${action}: the engine's answer names no container`);
  return id;
}

class Probe {
  readonly #transport: Transport;
  readonly #container: string;

  constructor(transport: Transport, container: string) {
    this.#transport = transport;
    this.#container = container;
  }

  /** The regular files among these paths, links followed. */
  async read(paths: readonly string[]): Promise<Map<string, ImageFile>> {
    const known = new Map<string, ArchiveEntry>();
    // An archive of a small directory costs Docker as much as one of a single file (39 ms), so siblings come together.
    for (const directory of directoriesOfSeveral(paths)) await this.#load(directory, paths, known);
    const files = new Map<string, ImageFile>();
    for (const path of paths) {
      const file = await this.#follow(path, known);
      if (file !== undefined) files.set(path, file);
    }
    return files;
  }

  async #load(path: string, wanted: readonly string[], known: Map<string, ArchiveEntry>): Promise<void> {
    const stream = await this.#archive(path);
    // What is not there is remembered too, so that it is not asked for again.
    known.set(path, { kind: "none" });
    for (const name of wanted) if (dirname(name) === path) known.set(name, { kind: "none" });
    if (stream === undefined) return;
    for (const [name, entry] of await readArchive(stream, path, (name) => wanted.includes(name)))
      known.set(name, entry);
    // The directory is itself a link: its files have to be asked for one by one, through it.
    if (known.get(path)?.kind === "link") for (const name of wanted) if (dirname(name) === path) known.delete(name);
  }

  async #follow(path: string, known: Map<string, ArchiveEntry>): Promise<ImageFile | undefined> {
    let name = path;
    for (let links = 0; links <= LINK_LIMIT; links++) {
      if (!known.has(name)) await this.#load(name, [name], known);
      const entry = known.get(name);
      if (entry?.kind === "file") return { content: entry.content, mode: entry.mode };
      if (entry?.kind !== "link") return undefined;
      name = entry.target;
    }
    return undefined;
  }

  async #archive(path: string): Promise<AsyncIterable<Buffer> | undefined> {
    const action = `read ${path} of an image`;
    const { status, stream } = await this.#transport.stream({
      method: "GET",
      path: `/containers/${this.#container}/archive`,
      query: { path },
      action,
    });
    if (status === 200) return stream;
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    if (status === 404 || LEADS_NOWHERE.test(messageIn(body))) return undefined;
    throw refusal(action, status, body);
  }

  /** What each of these paths is, links followed; those that are not there are left out. */
  async kinds(paths: readonly string[]): Promise<Map<string, PathKind>> {
    const kinds = new Map<string, PathKind>();
    const queue = [...new Set(paths)];
    const worker = async (): Promise<void> => {
      for (let path = queue.shift(); path !== undefined; path = queue.shift()) {
        const kind = await this.#kind(path);
        if (kind !== undefined) kinds.set(path, kind);
      }
    };
    await Promise.all(Array.from({ length: CALLS_AT_ONCE }, worker));
    return kinds;
  }

  async #kind(path: string): Promise<PathKind | undefined> {
    let name = path;
    for (let links = 0; links <= LINK_LIMIT; links++) {
      const { mode, target } = await this.#stat(name);
      if (mode === undefined) return undefined;
      if ((mode & GO_LINK) === 0) {
        if ((mode & GO_DIRECTORY) !== 0) return "directory";
        return (mode & GO_TYPE) === 0 ? "file" : "other";
      }
      // Engines tell the target already resolved within the image. One that is its own target leads nowhere.
      if (target === name || target === "") return undefined;
      name = target;
    }
    return undefined;
  }

  async #stat(path: string): Promise<{ readonly mode?: number; readonly target: string }> {
    const { status, headers } = await this.#transport.call(
      {
        method: "HEAD",
        path: `/containers/${this.#container}/archive`,
        query: { path },
        action: `look at ${path} of an image`,
      },
      // 500, without a word as to HEAD belongs, where links run in a circle: the image is to blame, not the engine.
      [200, 404, 500],
    );
    if (status !== 200) return { target: "" };
    const header = Buffer.from(text(headers["x-docker-container-path-stat"]), "base64").toString("utf8");
    const stat = object(JSON.parse(header));
    return { mode: number(stat.mode), target: text(stat.linkTarget) };
  }
}

/** The directories that hold more than one of these paths. */
function directoriesOfSeveral(paths: readonly string[]): Set<string> {
  const directories = paths.map((path) => dirname(path));
  return new Set(
    directories.filter((directory, index) => directory !== "/" && directories.indexOf(directory) !== index),
  );
}
