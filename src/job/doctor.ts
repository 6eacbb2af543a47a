import { createHash } from "node:crypto";
import { createReadStream, existsSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { GangwayError, reasonOf } from "../config/errors.ts";
import type { Engine, EngineInfo } from "../engine/types.ts";
import type { Account } from "../udi/accounts.ts";

/** One thing that was looked at. */
export interface Finding {
  readonly what: string;
  /** "limit": it works, but something cannot be had on this machine. */
  readonly state: "ok" | "limit" | "fault";
  readonly detail: string;
  readonly hint?: string;
}

interface Manifest {
  readonly version?: string;
  readonly arch: string;
  readonly components: readonly { readonly name: string; readonly version: string }[];
  readonly files: Readonly<Record<string, { readonly sha256: string; readonly mode: string | number }>>;
  readonly links?: Readonly<Record<string, string>>;
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

/** Verifies a udiImage against its own manifest: nothing missing, nothing changed but what the administrator may. */
export async function examineUdiImage(udiImage: string): Promise<Finding[]> {
  let manifest: Manifest;
  try {
    manifest = JSON.parse(readFileSync(join(udiImage, "manifest.json"), "utf8")) as Manifest;
  } catch (error) {
    return [
      {
        what: "udiImage",
        state: "fault",
        detail: `${udiImage}: its manifest cannot be read: ${reasonOf(error)}`,
        hint: "build it anew with make",
      },
    ];
  }
  const findings: Finding[] = [];
  for (const [name, { sha256 }] of Object.entries(manifest.files)) {
    const path = join(udiImage, name);
    if (!existsSync(path)) {
      findings.push({
        what: "udiImage",
        state: "fault",
        detail: `${path} is missing`,
        hint: "build it anew with make",
      });
    } else if ((await sha256Of(path)) !== sha256) {
      // Shifter's administrators edit these, and so may ours.
      const editable = name.startsWith("etc/");
      findings.push({
        what: "udiImage",
        state: editable ? "limit" : "fault",
        detail: `${path} is not what was built${editable ? " (edited here)" : ""}`,
        ...(editable ? {} : { hint: "build it anew with make" }),
      });
    }
  }
  for (const [name, target] of Object.entries(manifest.links ?? {})) {
    if (linkTarget(join(udiImage, name)) !== target) {
      findings.push({
        what: "udiImage",
        state: "fault",
        detail: `${name} should be a link to ${target}`,
        hint: "build it anew with make",
      });
    }
  }
  if (findings.every((finding) => finding.state !== "fault")) {
    const versions = manifest.components.map(({ name, version }) => `${name} ${version}`).join(", ");
    findings.unshift({ what: "udiImage", state: "ok", detail: `${udiImage} (${manifest.arch}): ${versions}` });
  }
  return findings;
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** What this engine and machine cannot do, before a job stumbles over it. */
export function limitsOf(engine: EngineInfo, account: Account): Finding[] {
  const limits: Finding[] = [];
  const limit = (what: string, detail: string, hint: string) => limits.push({ what, state: "limit", detail, hint });
  if (engine.rootless && !existsSync("/dev/net/tun")) {
    limit(
      "network",
      "no bridge for a rootless engine: /dev/net/tun is not there",
      "virtual nodes share the host's network, a port each",
    );
  }
  if (engine.rootless) {
    limit(
      "mpirun",
      "virtual nodes of a rootless engine share one address, so mpirun takes them for one machine",
      "run MPI over virtual nodes with a bridge (a root engine), or on one node",
    );
  }
  if (engine.rootless && account.groups.length > 0) {
    limit(
      "groups",
      `the ${account.groups.length} supplementary groups of ${account.name} are lost in rootless containers that runc starts`,
      "let the engine use crun, which keeps them",
    );
  }
  if (engine.rootless && engine.cgroupVersion === 1) {
    limit(
      "limits",
      "a rootless engine cannot limit cpus or memory with cgroup v1",
      "leave --cpus and --memory to the workload manager",
    );
  }
  return limits;
}

/** By which command a user gives a job to each workload manager. */
const SUBMITS: readonly (readonly [manager: string, command: string])[] = [
  ["Slurm", "sbatch"],
  ["HTCondor", "condor_submit"],
  ["OAR", "oarsub"],
  ["LSF", "bsub"],
  ["Flux", "flux"],
  ["PBS or Grid Engine", "qsub"],
];

/**
 * The workload manager that jobs can be given to from this host.
 *
 * @param path the value of PATH
 * @returns its name, or undefined where there is none
 */
export function managerHere(path: string): string | undefined {
  const directories = path.split(":").filter((directory) => directory.startsWith("/"));
  const has = (command: string) => directories.some((directory) => existsSync(join(directory, command)));
  return SUBMITS.find(([, command]) => has(command))?.[0];
}

/**
 * The engine, and what it cannot do here.
 *
 * @param manager a workload manager that has the engines on its nodes: a host of its own may be without
 */
export async function examineEngine(
  connect: () => Promise<Engine>,
  account: Account,
  manager?: string,
): Promise<Finding[]> {
  let engine: Engine | undefined;
  try {
    engine = await connect();
    const info = await engine.info();
    const kind = `${info.kind === "docker" ? "Docker" : "Podman"} ${info.version}${info.rootless ? ", rootless" : ""}`;
    const where = `${engine.endpoint.socketPath} (from ${engine.endpoint.origin})`;
    const cgroup = `cgroup v${info.cgroupVersion}, ${info.cgroupDriver}`;
    return [
      { what: "engine", state: "ok", detail: `${kind} at ${where}, API ${info.apiVersion}, ${cgroup}` },
      ...limitsOf(info, account),
    ];
  } catch (error) {
    if (!(error instanceof GangwayError)) throw error;
    // What somebody named has to be there; of what is only looked for, there may be none on a login node.
    const none = engine?.endpoint.origin === "default" && !existsSync(engine.endpoint.socketPath);
    if (none && manager !== undefined) {
      return [
        {
          what: "engine",
          state: "limit",
          detail: `none on this host: jobs are launched on the nodes that ${manager} gives`,
          hint: "look there, in a job of one node (srun gangway doctor, or the like)",
        },
      ];
    }
    return [
      {
        what: "engine",
        state: "fault",
        detail: error.message,
        ...(error.hint === undefined ? {} : { hint: error.hint }),
      },
    ];
  } finally {
    engine?.close();
  }
}
