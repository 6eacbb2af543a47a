import { stat } from "node:fs/promises";
import { EngineError } from "../config/errors.ts";
import { hostCgroupVersion } from "./identity.ts";
import { completeUlimits } from "./limits.ts";
import type { ContainerSpec, EngineIdentity, MountSpec, Ulimit } from "./types.ts";

/** User and group ids above this are refused by both engines, by Docker only at the start. */
const HIGHEST_ID = 2_147_483_647;

/**
 * Refuses what an engine would accept and then not do.
 *
 * @throws EngineError naming what cannot be had
 */
export async function checkSpec(spec: ContainerSpec, engine: EngineIdentity): Promise<void> {
  checkIds(spec);
  if (engine.kind === "docker") return;
  checkPaths(spec.mounts);
  checkUlimits(spec.limits.ulimits, engine);
  checkLimits(spec, engine);
  await checkSources(spec.mounts);
  if (spec.gpus !== undefined) {
    throw new EngineError(
      "Podman's Docker-compatible interface takes no request for GPUs: it would silently give none",
      {
        hint: "name the devices one by one with --device, or use a Docker engine",
      },
    );
  }
}

function checkIds({ uid, gid, supplementaryGids }: ContainerSpec): void {
  const tooHigh = [uid, gid, ...supplementaryGids].find((id) => id > HIGHEST_ID);
  if (tooHigh === undefined) return;
  throw new EngineError(`no container can have the user or group id ${tooHigh}: engines know ids up to ${HIGHEST_ID}`, {
    hint: "run as a user with a lower id",
  });
}

/** Podman makes one line of each mount, "type=bind,source=…", and takes it apart again without any quoting. */
function checkPaths(mounts: readonly MountSpec[]): void {
  const bad = mounts
    .flatMap(({ source, engineSource, target }) => [engineSource ?? source, target])
    .find((path) => /[,"\n]/.test(path));
  if (bad === undefined) return;
  throw new EngineError(
    `Podman cannot mount ${JSON.stringify(bad)}: there is a comma, quote or line break in the path`,
    {
      hint: "rename it, or mount the directory above it",
    },
  );
}

/** Podman's compatible interface ignores resource limits where it is rootless (containers_create.go, "IsRootless"). */
function checkUlimits(asked: readonly Ulimit[], engine: EngineIdentity): void {
  if (asked.length === 0 || !engine.rootless) return;
  throw new EngineError("rootless Podman takes no --ulimit by its Docker-compatible interface: it would ignore it", {
    hint: "leave it away: the job has the limits under which your Podman was started",
  });
}

/**
 * Podman's compatible interface makes a missing source as an empty directory, also for entries of Mounts (seen with 4.3.1;
 * Docker refuses those). So it is looked for here: engine and caller are on the same host.
 */
async function checkSources(mounts: readonly MountSpec[]): Promise<void> {
  for (const { source } of mounts) {
    try {
      await stat(source);
    } catch (error) {
      const reason = (error as NodeJS.ErrnoException).code === "EACCES" ? "cannot be reached by you" : "does not exist";
      throw new EngineError(`cannot mount ${source}: it ${reason}`, {
        hint: "what is mounted must be there before the launch",
        cause: error,
      });
    }
  }
}

/** Rootless Podman on control groups of version 1 takes limits and then ignores them (seen with 4.3.1). */
function checkLimits({ limits }: ContainerSpec, engine: EngineIdentity): void {
  const asked = [
    limits.nanoCpus === undefined ? "" : "cpus",
    limits.cpusetCpus === undefined ? "" : "a set of cpus",
    limits.memoryBytes === undefined ? "" : "memory",
    limits.pids === undefined ? "" : "the number of processes",
    limits.cgroupParent === undefined ? "" : "a cgroup parent",
  ].filter((name) => name !== "");
  if (asked.length === 0 || !engine.rootless || hostCgroupVersion() === 2) return;
  throw new EngineError(`rootless Podman cannot limit ${asked.join(", ")} on a host with cgroup v1`, {
    hint: "leave these limits to the workload manager, or use an engine that runs as root",
  });
}

/** The body of `POST /containers/create`. Everything is said; no default of the engine or the image is relied on. */
export function createBody(spec: ContainerSpec, engine: EngineIdentity): Record<string, unknown> {
  return {
    Image: spec.image,
    // The whole argv stands here, since only a filled ENTRYPOINT switches the image's off: Podman ignores an empty list,
    // and takes [""] for a program without a name. With an ENTRYPOINT given, neither engine adds the image's CMD.
    Entrypoint: spec.argv,
    Cmd: [],
    Env: spec.env,
    User: `${spec.uid}:${spec.gid}`,
    WorkingDir: spec.workdir,
    Hostname: spec.hostname,
    Labels: spec.labels,
    Tty: spec.tty,
    OpenStdin: spec.openStdin,
    // The end of the attached client's stream becomes the end of the command's input.
    StdinOnce: spec.openStdin,
    AttachStdin: spec.openStdin,
    AttachStdout: true,
    AttachStderr: true,
    // The image's would run its code beside init, before there is a job.
    Healthcheck: { Test: ["NONE"] },
    HostConfig: hostConfig(spec, engine),
  };
}

function hostConfig(spec: ContainerSpec, engine: EngineIdentity): Record<string, unknown> {
  const { limits } = spec;
  return {
    ...identityOptions(spec, engine),
    AutoRemove: spec.autoRemove,
    CapDrop: ["ALL"],
    SecurityOpt: ["no-new-privileges"],
    NetworkMode: spec.network,
    ReadonlyRootfs: spec.readOnlyRoot,
    Init: false,
    RestartPolicy: { Name: "no" },
    // 4 ms of a launch; the output goes to whoever is attached.
    LogConfig: { Type: "none" },
    Mounts: spec.mounts.map(mount),
    Tmpfs: spec.tmpfs,
    Ulimits: ulimits(limits.ulimits, engine),
    ...(limits.nanoCpus === undefined ? {} : { NanoCpus: limits.nanoCpus }),
    ...(limits.cpusetCpus === undefined ? {} : { CpusetCpus: limits.cpusetCpus }),
    ...(limits.memoryBytes === undefined ? {} : memoryLimit(limits.memoryBytes)),
    ...(limits.shmBytes === undefined ? {} : { ShmSize: limits.shmBytes }),
    ...(limits.pids === undefined ? {} : { PidsLimit: limits.pids }),
    ...(limits.cgroupParent === undefined ? {} : { CgroupParent: limits.cgroupParent }),
    ...(limits.oomScoreAdj === undefined ? {} : { OomScoreAdj: limits.oomScoreAdj }),
    Devices: spec.devices.map(({ hostPath, containerPath, permissions }) => ({
      PathOnHost: hostPath,
      PathInContainer: containerPath,
      CgroupPermissions: permissions,
    })),
    ...(spec.gpus === undefined ? {} : { DeviceRequests: [gpuRequest(spec.gpus)] }),
  };
}

/**
 * The user's ids as the host has them. A rootless engine lives in a user namespace, where "keep-id" makes the user's own
 * id mean the same inside; supplementary groups can only be kept as a whole there, which crun does for this annotation
 * (Podman 4.4 and later take it here), and runc does not.
 */
function identityOptions(spec: ContainerSpec, engine: EngineIdentity): Record<string, unknown> {
  if (engine.kind === "podman" && engine.rootless) {
    return { UsernsMode: "keep-id", Annotations: { "run.oci.keep_original_groups": "1" } };
  }
  return { GroupAdd: spec.supplementaryGids.filter((gid) => gid !== spec.gid).map(String) };
}

/** Memory and swap together get that much: engines would else add as much swap again, more than the job was given. */
function memoryLimit(bytes: number): Record<string, unknown> {
  return { Memory: bytes, MemorySwap: bytes };
}

function mount({ source, engineSource, target, readOnly, propagation }: MountSpec): Record<string, unknown> {
  return {
    // Of type "bind" in Mounts, unlike in Binds, a missing source is an error (Docker).
    Type: "bind",
    Source: engineSource ?? source,
    Target: target,
    ReadOnly: readOnly,
    ...(propagation === undefined ? {} : { BindOptions: { Propagation: propagation } }),
  };
}

function ulimits(asked: readonly Ulimit[], engine: EngineIdentity): Record<string, unknown>[] {
  const all = engine.kind === "podman" && asked.length > 0 ? completeUlimits(asked) : asked;
  return all.map(({ name, soft, hard }) => ({ Name: name, Soft: soft, Hard: hard }));
}

/** `--gpus` as Docker's command line reads it: "all", a count, or "device=ID,ID". */
function gpuRequest(gpus: string): Record<string, unknown> {
  const devices = /^"?device=(.+?)"?$/.exec(gpus)?.[1];
  const capabilities = { Capabilities: [["gpu"]] };
  if (devices !== undefined) return { DeviceIDs: devices.split(","), ...capabilities };
  const count = gpus === "all" ? -1 : Number(gpus);
  if (!Number.isInteger(count) || count === 0 || count < -1) {
    throw new EngineError(`"${gpus}" is no request for GPUs`, { hint: 'write "all", a number, or "device=ID,ID"' });
  }
  return { Count: count, ...capabilities };
}
