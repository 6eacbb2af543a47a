import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { EngineError } from "../config/errors.ts";
import { listContainers, shortName } from "./containers.ts";
import { FrameParser } from "./demux.ts";
import { object, text } from "./json.ts";
import type { Transport } from "./transport.ts";
import type { ContainerSummary } from "./types.ts";

/** A program that is to run beside a container: not in it, but among its processes. */
export interface BesideRequest {
  /** Whose processes it sees: the container's id. */
  readonly target: string;
  /** Of the container: its own, since the engine has that. Nothing in it is run or read. */
  readonly image: string;
  /** As the engine tells it of the container. */
  readonly usernsMode: string;
  readonly confinement: Confinement;
  /** A tar, unpacked at `/` of the program's own container. */
  readonly archive: Buffer;
  /** The program's path there, static, and its words. It runs as root, with these capabilities and no others. */
  readonly argv: readonly string[];
  readonly capabilities: readonly string[];
  /** What marks its container, so that one that was left is found. */
  readonly label: string;
}

/**
 * What holds a container in, as the engine tells it. Its processes see the one beside it, and may have the right to take it
 * over: so that one is held in alike.
 */
export interface Confinement {
  /** Bytes; 0: no limit. */
  readonly memory: number;
  /** 0 or less: no limit. */
  readonly pids: number;
  /** What is handed on as it is: shares of the processors, and the cgroup above. */
  readonly settings: Readonly<Record<string, string | number>>;
  /** SELinux's, USER:ROLE:TYPE:LEVEL; empty: none. */
  readonly processLabel: string;
}

const SETTINGS = [
  "NanoCpus",
  "CpuShares",
  "CpuPeriod",
  "CpuQuota",
  "CpusetCpus",
  "CpusetMems",
  "CgroupParent",
] as const;
/** Less than that the engine itself may not be able to start a program with. */
const LEAST_MEMORY = 32 * 1024 * 1024;
const LEAST_PIDS = 32;

/** @param container the engine's answer to an inspection */
export function confinementOf(container: Readonly<Record<string, unknown>>): Confinement {
  const host = object(container.HostConfig);
  const settings: Record<string, string | number> = {};
  for (const name of SETTINGS) {
    const value = host[name];
    if ((typeof value === "string" && value !== "") || (typeof value === "number" && value > 0)) settings[name] = value;
  }
  return {
    memory: typeof host.Memory === "number" ? host.Memory : 0,
    pids: typeof host.PidsLimit === "number" ? host.PidsLimit : 0,
    settings,
    processLabel: typeof container.ProcessLabel === "string" ? container.ProcessLabel : "",
  };
}

/** As parts of a HostConfig. */
function limitsOf({ memory, pids, settings }: Confinement): Record<string, string | number> {
  const room = Math.max(memory, LEAST_MEMORY);
  return {
    ...settings,
    // With as much swap as memory in all: none.
    ...(memory > 0 ? { Memory: room, MemorySwap: room } : {}),
    ...(pids > 0 ? { PidsLimit: Math.max(pids, LEAST_PIDS) } : {}),
  };
}

/** SELinux gives each container a label of its own, by which it could not write into the other: it gets the other's. */
function labelOptions({ processLabel }: Confinement): string[] {
  const [, user, role, type, level] = /^([^:]+):([^:]+):([^:]+):(.+)$/.exec(processLabel) ?? [];
  if (level === undefined) return ["label=disable"];
  return [`label=user:${user}`, `label=role:${role}`, `label=type:${type}`, `label=level:${level}`];
}

export interface BesideResult {
  readonly output: string;
  readonly complaints: string;
}

/** Such a program works for a moment; it may have been stopped by a process of the container that it sees. */
const PATIENCE_MS = 60_000;
const KEPT = 16 * 1024;
/** A label alone may be an image's, and its container somebody's own. */
const NAME = /^gangway-beside-[0-9a-f]{16}$/;

/**
 * Runs a program to its end in a container of its own, which shares its process ids with another container, and which is
 * gone afterwards.
 *
 * @throws EngineError
 */
export async function runBeside(transport: Transport, request: BesideRequest): Promise<BesideResult> {
  await removeLeft(transport, request.label);
  const action = `start a program beside container ${shortName(request.target)}`;
  const { value } = await transport.json(
    {
      method: "POST",
      path: "/containers/create",
      query: { name: `gangway-beside-${randomBytes(8).toString("hex")}` },
      body: bodyOf(request),
      action,
    },
    [201],
  );
  const path = `/containers/${encodeURIComponent(text(object(value).Id))}`;
  try {
    const archive = { query: { path: "/" }, body: request.archive, action } as const;
    await transport.call({ method: "PUT", path: `${path}/archive`, ...archive }, [200]);
    const query = { stream: "1", stdout: "1", stderr: "1" };
    const socket = await transport.hijack({ method: "POST", path: `${path}/attach`, query, action });
    const timer = setTimeout(() => socket.destroy(new Error("it does not end")), PATIENCE_MS);
    try {
      await transport.call({ method: "POST", path: `${path}/start`, action }, [204, 304]);
      return await readStreams(socket, action);
    } finally {
      clearTimeout(timer);
      socket.destroy();
    }
  } finally {
    await remove(transport, path, action);
  }
}

function bodyOf(request: BesideRequest): unknown {
  const { target, image, usernsMode, argv, capabilities, label, confinement } = request;
  const [program = "", ...words] = argv;
  // One of Podman's with ids of its own can be shared only by name; Docker knows "host" and nothing else.
  const userns = usernsMode === "" || usernsMode === "host" ? usernsMode : `container:${target}`;
  return {
    Image: image,
    Entrypoint: [program],
    Cmd: words,
    User: "0:0",
    WorkingDir: "/",
    Healthcheck: { Test: ["NONE"] },
    Labels: { [label]: target },
    AttachStdout: true,
    AttachStderr: true,
    HostConfig: {
      PidMode: `container:${target}`,
      NetworkMode: "none",
      CapDrop: ["ALL"],
      CapAdd: capabilities,
      SecurityOpt: ["no-new-privileges", ...labelOptions(confinement)],
      ...limitsOf(confinement),
      AutoRemove: true,
      ...(userns === "" ? {} : { UsernsMode: userns }),
    },
  };
}

async function readStreams(socket: AsyncIterable<Buffer>, action: string): Promise<BesideResult> {
  const parser = new FrameParser();
  let [output, complaints] = ["", ""];
  try {
    for await (const chunk of socket) {
      for (const { stream, data } of parser.feed(chunk)) {
        if (stream === 2) complaints = (complaints + data.toString("utf8")).slice(-KEPT);
        else output = (output + data.toString("utf8")).slice(-KEPT);
      }
    }
  } catch (error) {
    throw new EngineError(`could not ${action}: its output broke off`, { cause: error });
  }
  return { output, complaints };
}

/** It removes itself at its end; that is waited for, and helped where it cannot. */
async function remove(transport: Transport, path: string, action: string): Promise<void> {
  for (let turn = 0; turn < 100; turn++) {
    const { status } = await transport.call(
      { method: "DELETE", path, query: { force: "1", v: "1" }, action },
      [200, 204, 404, 409, 500],
    );
    if (status === 404) return;
    await sleep(20);
  }
}

/**
 * Whether a container with such a program's label is one that a killed client left: it was never started (Podman would not
 * remove the other container while it is there), or its program is being stopped by a process that it sees, and would
 * otherwise be there for ever.
 */
export function wasLeft({ name, created }: Pick<ContainerSummary, "name" | "created">): boolean {
  // Not by its status: Podman finds none by "created" that was attached to.
  return NAME.test(name) && created < (Date.now() - PATIENCE_MS) / 1000;
}

async function removeLeft(transport: Transport, label: string): Promise<void> {
  for (const { id } of (await listContainers(transport, [label])).filter(wasLeft))
    await remove(transport, `/containers/${encodeURIComponent(id)}`, "list containers");
}
