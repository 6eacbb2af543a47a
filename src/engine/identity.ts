import { statfsSync, statSync } from "node:fs";
import { EngineError } from "../config/errors.ts";
import { list, object, text } from "./json.ts";
import type { Transport } from "./transport.ts";
import type { EngineIdentity, EngineInfo } from "./types.ts";

/** How long an engine may take for its first answer before it counts as hung. */
const PING_LIMIT_MS = 10_000;

/** CGROUP2_SUPER_MAGIC, linux/magic.h. */
const CGROUP2_MAGIC = 0x63677270;

/**
 * Who listens, from the head of its shortest answer: 0.5 ms on both engines, where Podman 4.3 takes 160 ms for /info and
 * 320 ms for /version (it asks the package manager for each helper's version).
 *
 * @throws EngineError when no engine answers
 */
export async function identify(transport: Transport): Promise<EngineIdentity> {
  const product = await productOf(transport);
  return { ...product, rootless: isRootless(transport.endpoint.socketPath) };
}

/**
 * The same of an engine that may be on another host.
 *
 * @throws EngineError when no engine answers
 */
export async function productOf(transport: Transport): Promise<Omit<EngineIdentity, "rootless">> {
  const { headers } = await transport.call(
    { method: "GET", path: "/_ping", action: "ask who listens", timeoutMs: PING_LIMIT_MS },
    [200],
  );
  const apiVersion = text(headers["api-version"]);
  // "Docker/20.10.24+dfsg1 (linux)", "Libpod/4.3.1 (linux)"
  const [product = "", version = ""] = (text(headers.server).split(" ")[0] ?? "").split("/");
  if (apiVersion === "") {
    throw new EngineError(`what listens on ${transport.endpoint.socketPath} is no container engine`, {
      hint: "name the socket of Docker or Podman, for example with DOCKER_HOST",
    });
  }
  return {
    kind: product === "Libpod" || headers["libpod-api-version"] !== undefined ? "podman" : "docker",
    version,
    apiVersion,
  };
}

/** An engine without root's rights makes its socket as the user it runs as. */
function isRootless(socketPath: string): boolean {
  return statSync(socketPath).uid !== 0;
}

/** Version of the control groups that engines on this host use; the hybrid layout counts as version 1, as they have it. */
export function hostCgroupVersion(): 1 | 2 {
  return statfsSync("/sys/fs/cgroup").type === CGROUP2_MAGIC ? 2 : 1;
}

/** Go's names of architectures (Podman's answer) as `uname -m` has them (Docker's). */
const MACHINE: Readonly<Record<string, string>> = { amd64: "x86_64", arm64: "aarch64" };

/** Everything the engine says of itself. */
export async function readInfo(transport: Transport, identity: EngineIdentity): Promise<EngineInfo> {
  const { value } = await transport.json(
    { method: "GET", path: "/info", action: "ask the engine about itself" },
    [200],
  );
  const info = object(value);
  const architecture = text(info.Architecture);
  const driver = text(info.CgroupDriver);
  return {
    ...identity,
    version: text(info.ServerVersion) || identity.version,
    architecture: MACHINE[architecture] ?? architecture,
    // Podman says it in a field of its own, Docker among the security options ("name=rootless").
    rootless: info.Rootless === true || list(info.SecurityOptions).some((option) => option === "name=rootless"),
    cgroupVersion: String(info.CgroupVersion) === "2" ? 2 : 1,
    cgroupDriver: driver === "systemd" || driver === "cgroupfs" ? driver : "none",
  };
}
