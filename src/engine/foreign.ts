import { EngineError } from "../config/errors.ts";
import { type BesideRequest, type BesideResult, type Confinement, confinementOf, runBeside } from "./beside.ts";
import { shortName } from "./containers.ts";
import { type ExecRequest, type ExecStream, execute } from "./exec.ts";
import { messageIn, refusal } from "./failures.ts";
import { productOf } from "./identity.ts";
import { list, number, object, text, textRecord } from "./json.ts";
import { firstTarHeader, type TarHeader } from "./tar.ts";
import { Transport } from "./transport.ts";
import type { Endpoint } from "./types.ts";

/** A container that somebody else started. */
export interface ForeignContainer {
  readonly id: string;
  readonly name: string;
  /** The image's id. */
  readonly image: string;
  /** "running", "paused", "exited" and others, in the engine's own words. */
  readonly status: string;
  readonly running: boolean;
  /** When it was started, in the engine's own words: another text after each start. */
  readonly started: string;
  readonly paused: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly readOnlyRoot: boolean;
  /** Whether its processes are in a PID namespace of its own, so that process 1 there is its first. */
  readonly ownProcesses: boolean;
  /** "", "host", or, of Podman's, something else where its ids are its own. */
  readonly usernsMode: string;
  readonly confinement: Confinement;
  /** As whom its programs run: UID, UID:GID, names, or empty. */
  readonly user: string;
  /** Where something is mounted in it, as far as the engine knows: absolute paths. */
  readonly mounts: readonly string[];
  /** Those of them that are not memory of the container's own: others may have the same thing mounted. */
  readonly sharedMounts: readonly string[];
}

/** What a path in a container is, not followed where it is a link. */
export interface PathFacts {
  readonly kind: "directory" | "file" | "link" | "other";
  /** Permission bits, the sticky one among them. */
  readonly mode: number;
  /** Of the last change, since the epoch. */
  readonly mtime: { readonly seconds: number; readonly nanoseconds: number };
}

/** Bits of Go's os.FileMode, in which engines tell what a path is. */
const GO_DIRECTORY = 0x8000_0000;
const GO_LINK = 0x0800_0000;
const GO_STICKY = 0x0010_0000;
const GO_TYPE = 0x8f28_0000;

/** Running containers of one engine, as far as something is put into them and started there. */
export class ForeignContainers {
  readonly endpoint: Endpoint;
  readonly #transport: Transport;
  #product: ReturnType<typeof productOf> | undefined;

  constructor(endpoint: Endpoint) {
    this.endpoint = endpoint;
    this.#transport = new Transport(endpoint);
  }

  /** Whose archives tell of everything that the container's own user has it, and give everything to that user. */
  async isPodman(): Promise<boolean> {
    this.#product ??= productOf(this.#transport);
    return (await this.#product).kind === "podman";
  }

  /**
   * @param name or id
   * @returns undefined where the engine has no such container
   */
  async find(name: string): Promise<ForeignContainer | undefined> {
    const call = { method: "GET", path: `${pathOf(name)}/json`, action: `inspect container ${name}` } as const;
    const answer = await this.#transport.json(call, [200, 404]).catch((error: unknown) => {
      // Podman's word, with status 500, of one that is being removed at this moment.
      if (error instanceof EngineError && /no such container/i.test(error.message)) return undefined;
      throw error;
    });
    if (answer === undefined || answer.status === 404) return undefined;
    const container = object(answer.value);
    const state = object(container.State);
    const host = object(container.HostConfig);
    const mounts = list(container.Mounts).map(object);
    return {
      id: text(container.Id),
      name: text(container.Name).replace(/^\//, ""),
      image: text(container.Image),
      status: text(state.Status),
      running: state.Running === true,
      started: text(state.StartedAt),
      paused: state.Paused === true || text(state.Status) === "paused",
      labels: textRecord(object(container.Config).Labels),
      ownProcesses: ["", "private"].includes(text(host.PidMode)),
      usernsMode: text(host.UsernsMode),
      confinement: confinementOf(container),
      user: text(object(container.Config).User),
      readOnlyRoot: host.ReadonlyRootfs === true,
      mounts: [...mounts.map((mount) => text(mount.Destination)), ...Object.keys(object(host.Tmpfs))],
      sharedMounts: mounts.filter((mount) => mount.Type !== "tmpfs").map((mount) => text(mount.Destination)),
    };
  }

  /** @returns undefined where there is no such path, or what is above it is no directory (status 500, without a word) */
  async stat(id: string, path: string): Promise<PathFacts | undefined> {
    const { status, headers } = await this.#transport.call(
      {
        method: "HEAD",
        path: `${pathOf(id)}/archive`,
        query: { path },
        action: `look at ${path} of container ${shortName(id)}`,
      },
      [200, 404, 500],
    );
    if (status !== 200) return undefined;
    const said = Buffer.from(text(headers["x-docker-container-path-stat"]), "base64").toString("utf8");
    const facts = object(JSON.parse(said));
    const mode = number(facts.mode);
    return {
      kind: kindOf(mode),
      mode: (mode & 0o777) | ((mode & GO_STICKY) === 0 ? 0 : 0o1000),
      mtime: parseTime(text(facts.mtime)),
    };
  }

  /**
   * Owner and mode of a path by what an archive of it begins with; the rest is not waited for. Podman's owners are not true.
   *
   * @throws EngineError also where there is no such path
   */
  async header(id: string, path: string): Promise<TarHeader> {
    const action = `look at ${path} of container ${shortName(id)}`;
    const { status, stream } = await this.#transport.stream({
      method: "GET",
      path: `${pathOf(id)}/archive`,
      query: { path },
      action,
    });
    const begin: Buffer[] = [];
    let length = 0;
    for await (const chunk of stream) {
      begin.push(chunk);
      length += chunk.length;
      const header = status === 200 ? firstTarHeader(Buffer.concat(begin)) : undefined;
      if (header !== undefined) return header;
      if (length > 64 * 1024) break;
    }
    if (status === 200) throw new EngineError(`could not ${action}: the engine's archive is none`);
    throw refusal(action, status, Buffer.concat(begin));
  }

  /** A small file of a container, by the engine's archive of it; undefined where there is none, or it is no plain file. */
  async file(id: string, path: string): Promise<{ readonly header: TarHeader; readonly content: Buffer } | undefined> {
    const action = `read ${path} of container ${shortName(id)}`;
    const { status, body } = await this.#transport.call(
      { method: "GET", path: `${pathOf(id)}/archive`, query: { path }, action },
      [200, 404],
    );
    const header = status === 200 ? firstTarHeader(body) : undefined;
    if (header === undefined || header.type !== "file") return undefined;
    return { header, content: body.subarray(header.end, header.end + header.size) };
  }

  /**
   * Unpacks an archive in a directory of a container.
   *
   * @param archive a tar
   * @throws EngineError status 400, 403 or 500 where it cannot be written there
   */
  async put(id: string, directory: string, archive: Buffer): Promise<void> {
    const action = `write to ${directory} of container ${shortName(id)}`;
    const { status, body } = await this.#transport.call(
      { method: "PUT", path: `${pathOf(id)}/archive`, query: { path: directory }, body: archive, action },
      [200, 400, 403, 404, 500],
    );
    if (status !== 200) throw new EngineError(`could not ${action}: ${messageIn(body)}`, { status });
  }

  /** @throws EngineError */
  async execute(id: string, request: ExecRequest): Promise<ExecStream> {
    return await execute(this.#transport, id, request);
  }

  /** @throws EngineError */
  async runBeside(request: BesideRequest): Promise<BesideResult> {
    return await runBeside(this.#transport, request);
  }

  close(): void {
    this.#transport.close();
  }
}

function pathOf(name: string): string {
  return `/containers/${encodeURIComponent(name)}`;
}

function kindOf(mode: number): PathFacts["kind"] {
  if ((mode & GO_LINK) !== 0) return "link";
  if ((mode & GO_DIRECTORY) !== 0) return "directory";
  return (mode & GO_TYPE) === 0 ? "file" : "other";
}

/** RFC 3339 with up to nine digits of a second, which Date would cut to three. */
function parseTime(text: string): PathFacts["mtime"] {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(text);
  if (match === null) throw new EngineError(`the engine tells a time that is none ("${text.slice(0, 40)}")`);
  const [, whole = "", fraction = "", zone = ""] = match;
  return { seconds: Date.parse(`${whole}${zone}`) / 1000, nanoseconds: Number(fraction.padEnd(9, "0")) };
}
