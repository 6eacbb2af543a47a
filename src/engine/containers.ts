import { statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { EngineError } from "../config/errors.ts";
import { checkSpec, createBody } from "./create.ts";
import { refusal } from "./failures.ts";
import { inTurn } from "./in-turn.ts";
import { list as items, number, object, text, textRecord } from "./json.ts";
import type { Transport } from "./transport.ts";
import type { ContainerSpec, ContainerState, ContainerSummary, EngineIdentity } from "./types.ts";

/** Path of a container, by id or name, in the engine's interface. */
function pathOf(id: string): string {
  return `/containers/${encodeURIComponent(id)}`;
}

/**
 * Makes a container.
 *
 * @returns its id
 * @throws EngineError status 404: the engine has no such image; 409: the name is taken
 */
export async function createContainer(
  transport: Transport,
  spec: ContainerSpec,
  engine: EngineIdentity,
): Promise<string> {
  await checkSpec(spec, engine);
  checkOwner(spec, engine, transport.endpoint.socketPath);
  const action = `create container "${spec.name}"`;
  const create = () =>
    transport.call(
      {
        method: "POST",
        path: "/containers/create",
        query: { name: spec.name },
        body: createBody(spec, engine),
        action,
      },
      [201, 404, 409, 500],
    );
  const keepsIds = engine.kind === "podman" && engine.rootless;
  const { status, body } = await (keepsIds ? inTurn(transport.endpoint.socketPath, create) : create());
  if (status !== 201) throw createRefusal(spec, refusal(action, status, body));
  const id = text(object(JSON.parse(body.toString("utf8"))).Id);
  if (id === "") throw new EngineError(`could not ${action}: the engine's answer names no container`);
  return id;
}

/** A rootless engine can do what its own user can, and no more: neither be another, nor read another's files. */
function checkOwner(spec: ContainerSpec, engine: EngineIdentity, socketPath: string): void {
  if (!engine.rootless) return;
  const { uid } = statSync(socketPath);
  if (uid === spec.uid) return;
  throw new EngineError(
    `the rootless engine at ${socketPath} is that of uid ${uid}, and the job that of uid ${spec.uid}`,
    {
      hint: "use an engine of the job's own user, or one that runs as root",
    },
  );
}

function createRefusal(spec: ContainerSpec, error: EngineError): EngineError {
  // Podman answers a name that is taken with status 500.
  if (error.status === 409 || /name .* is (already )?in use|already in use/.test(error.message)) {
    return new EngineError(`a container named "${spec.name}" exists already`, {
      status: 409,
      hint: "remove it, or wait until its job has ended",
      cause: error,
    });
  }
  if (error.status === 404) {
    return new EngineError(error.message, {
      status: 404,
      hint: "pull the image first, or check its name",
      cause: error,
    });
  }
  return error;
}

/** Starts a created container. One that runs already is left alone. */
export async function startContainer(transport: Transport, id: string): Promise<void> {
  const action = `start container ${shortName(id)}`;
  await transport.call({ method: "POST", path: `${pathOf(id)}/start`, action }, [204, 304]);
}

/** Podman found the name, and a moment later, reading on, not the container: status 500. */
function wentMeanwhile(error: unknown): boolean {
  return error instanceof EngineError && error.status === 500 && /does not exist in database/.test(error.message);
}

/** undefined: there is no such container. */
export async function inspectContainer(transport: Transport, id: string): Promise<ContainerState | undefined> {
  const { status, value } = await transport
    .json({ method: "GET", path: `${pathOf(id)}/json`, action: `inspect container ${id}` }, [200, 404])
    .catch((error: unknown) => {
      if (wentMeanwhile(error)) return { status: 404, value: undefined };
      throw error;
    });
  if (status === 404) return undefined;
  const container = object(value);
  const state = object(container.State);
  return {
    id: text(container.Id),
    name: text(container.Name).replace(/^\//, ""),
    status: text(state.Status),
    running: state.Running === true,
    paused: state.Paused === true,
    pid: number(state.Pid),
    exitCode: number(state.ExitCode),
    oomKilled: state.OOMKilled === true,
    error: text(state.Error),
    labels: textRecord(object(container.Config).Labels),
    addresses: addressesOf(object(container.NetworkSettings)),
  };
}

/** Addresses in all networks, IPv4 first. The fields above Networks are gone since API 1.52. */
function addressesOf(settings: Readonly<Record<string, unknown>>): string[] {
  const networks = Object.values(object(settings.Networks)).map(object);
  const of = (field: string) => networks.map((network) => text(network[field])).filter((address) => address !== "");
  return [...of("IPAddress"), ...of("GlobalIPv6Address")];
}

const LIST_ATTEMPTS = 5;

/** All containers with these labels, stopped and never started ones too. */
export async function listContainers(transport: Transport, labels: readonly string[]): Promise<ContainerSummary[]> {
  const call = {
    method: "GET",
    path: "/containers/json",
    query: { all: "1", filters: JSON.stringify({ label: labels }) },
    action: "list containers",
  } as const;
  for (let attempt = 1; ; attempt++) {
    try {
      const { value } = await transport.json(call, [200]);
      return items(value).map(summaryOf);
    } catch (error) {
      // Podman inspects one after the other, and fails as a whole when one is removed meanwhile.
      const refused = error instanceof EngineError && (error.status === 500 || error.status === 404);
      if (!refused || attempt === LIST_ATTEMPTS) throw error;
      await sleep(attempt * 5);
    }
  }
}

function summaryOf(value: unknown): ContainerSummary {
  const container = object(value);
  return {
    id: text(container.Id),
    name: text(items(container.Names)[0]).replace(/^\//, ""),
    image: text(container.Image),
    state: text(container.State),
    labels: textRecord(container.Labels),
    created: number(container.Created),
  };
}

/** Pauses a container or lets it go on; one that is in that state already is left alone. */
export async function setContainerPaused(transport: Transport, id: string, paused: boolean): Promise<void> {
  const verb = paused ? "pause" : "unpause";
  const action = `${verb} container ${shortName(id)}`;
  const { status, body } = await transport.call(
    { method: "POST", path: `${pathOf(id)}/${verb}`, action },
    [204, 409, 500],
  );
  if (status === 204) return;
  // Both engines refuse to do what is done, in different words.
  if ((await inspectContainer(transport, id))?.paused === paused) return;
  throw refusal(action, status, body);
}

/** A container as messages call it: the first digits of an id, a name as it is. */
export function shortName(idOrName: string): string {
  return /^[0-9a-f]{64}$/.test(idOrName) ? idOrName.slice(0, 12) : idOrName;
}
