import { accessSync, constants, statSync } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../config/errors.ts";
import type { Endpoint } from "./types.ts";

/** Where a root Docker listens by default. */
const DOCKER_SOCKET = "/var/run/docker.sock";
/** Where Podman as root listens by default. */
const PODMAN_SOCKET = "/run/podman/podman.sock";

/** What {@link resolveEndpoint} chooses from. */
export interface EndpointSources {
  /** As given on the command line. */
  readonly flag?: string | undefined;
  readonly env: NodeJS.ProcessEnv;
  /** As given in the configuration. */
  readonly configured?: string | undefined;
  /** Of the caller, for the places where a user's own engine listens. */
  readonly uid: number;
}

/**
 * Decides which engine is meant: the flag, then DOCKER_HOST, then the configuration, then the first of the usual sockets
 * that the caller may use: root's Docker, the user's own Podman, root's Podman.
 *
 * Where none can be used the most telling of them is returned (one that exists and is closed to the caller, else the first),
 * so that the error at the first call explains what is wrong.
 *
 * @throws EngineError when what was named is no unix socket
 */
export function resolveEndpoint(sources: EndpointSources): Endpoint {
  const named: [string | undefined, string][] = [
    [sources.flag, "flag"],
    [sources.env.DOCKER_HOST, "DOCKER_HOST"],
    [sources.configured, "config"],
  ];
  for (const [value, origin] of named) {
    if (value !== undefined && value !== "") return { socketPath: parseAddress(value, origin), origin };
  }
  return { socketPath: usualSocket(usualSockets(sources)), origin: "default" };
}

function usualSockets({ env, uid }: EndpointSources): string[] {
  const runtime = env.XDG_RUNTIME_DIR || `/run/user/${uid}`;
  return [DOCKER_SOCKET, join(runtime, "podman/podman.sock"), PODMAN_SOCKET];
}

function usualSocket(candidates: string[]): string {
  const existing = candidates.filter(isSocket);
  return existing.find(isOpenToUs) ?? existing[0] ?? DOCKER_SOCKET;
}

function isSocket(path: string): boolean {
  try {
    return statSync(path).isSocket();
  } catch {
    // Missing, or in a directory that is closed to us: no candidate either way.
    return false;
  }
}

function isOpenToUs(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * The socket's path in an engine's address: `unix:///path`, or an absolute path alone.
 *
 * @throws EngineError for tcp, ssh and everything else
 */
function parseAddress(address: string, origin: string): string {
  const who = origin === "flag" ? "the engine's address" : origin === "config" ? "the configured engine" : origin;
  const path = address.startsWith("unix://") ? address.slice("unix://".length) : address;
  if (path.startsWith("/")) return path;
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(path)?.[1];
  if (scheme !== undefined) {
    throw new EngineError(`${who} is "${address}": engines reached over ${scheme} are not supported`, {
      hint: "name the unix socket of an engine on this host, as in unix:///var/run/docker.sock",
    });
  }
  throw new EngineError(`${who} is "${address}", which is no absolute path of a unix socket`, {
    hint: "write it as unix:///var/run/docker.sock",
  });
}
