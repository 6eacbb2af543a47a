import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { AllocatedNode } from "../allocation/allocation.ts";
import { GangwayError, UsageError } from "../config/errors.ts";
import type { ContainerSpec, EngineIdentity, ImageInfo, MountSpec } from "../engine/types.ts";
import { mergeHosts } from "../udi/hosts.ts";
import { renderHostsfile } from "../udi/hostsfile.ts";
import { generateKeyPair } from "../udi/keys.ts";
import { jobHost } from "../udi/names.ts";
import { chooseShell, mergeGroup, mergePasswd } from "../udi/passwd.ts";
import { renderSshdConfig } from "../udi/sshd-config.ts";
import type { JobDirectory } from "./directory.ts";
import { type EngineView, forEngine } from "./engine-view.ts";
import { containerName } from "./id.ts";
import type { ImageKnowledge } from "./image.ts";
import { LABEL } from "./labels.ts";
import { ownMounts, type Places, UDI_IMAGE } from "./mounts.ts";
import { environmentOf } from "./node-environment.ts";
import { formatIdentity, thisProcess } from "./process.ts";
import { type JobSpec, runsCommand } from "./spec.ts";

/** The port of sshd where each container has a network of its own; Shifter's. On a shared one the kernel chooses. */
const USUAL_PORT = 1204;

/** Everything about a job that is the same on each of its nodes and known before a container is made. */
export interface Plan {
  readonly spec: JobSpec;
  readonly image: ImageInfo;
  readonly knowledge: ImageKnowledge;
  readonly network: string;
  readonly udiImage: string;
  readonly command: readonly string[];
  readonly shell: string;
  readonly workdir: string;
  readonly mounts: ContainerSpec["mounts"];
  readonly view: EngineView;
}

/** The principal that the job's user certificates carry and its sshds accept. */
export function principalOf(spec: JobSpec): string {
  return `job-${spec.id}`;
}

/** Names by which a node is known inside the job and, with the access kit, outside. */
export function namesOf(spec: JobSpec, node: AllocatedNode): string[] {
  return [
    node.name,
    jobHost({ job: spec.id, node: node.name }),
    ...(node.index === 0 ? [jobHost({ job: spec.id })] : []),
  ];
}

/** Whether all nodes of the job live in the same network, where each needs a port of its own. */
export function sharesNetwork(plan: Plan): boolean {
  return plan.network === "host" && !plan.spec.several;
}

/** Node.js' names of architectures as the image format has them (OCI image-spec, GOARCH). */
function imageArchitecture(udiArchitecture: string): string {
  const names: Record<string, string> = { x86_64: "amd64", aarch64: "arm64", ppc64le: "ppc64le", riscv64: "riscv64" };
  return names[udiArchitecture] ?? udiArchitecture;
}

/**
 * Refuses what the udiImage cannot serve.
 *
 * @throws GangwayError when the tree is missing, or made for another architecture than the image
 */
export function checkArchitecture(udiImage: string, image: ImageInfo, reference: string): void {
  let manifest: string;
  try {
    manifest = readFileSync(join(udiImage, "manifest.json"), "utf8");
  } catch (error) {
    throw new GangwayError(`the udiImage at ${udiImage} has no manifest.json`, {
      hint: "build it with `make`, or name another with --udi-image-path",
      cause: error,
    });
  }
  const architecture = imageArchitecture(/"arch"\s*:\s*"([^"]*)"/.exec(manifest)?.[1] ?? "unknown");
  if (image.architecture !== "" && image.architecture !== architecture) {
    throw new GangwayError(
      `image "${reference}" is made for ${image.architecture}, and the udiImage for ${architecture}`,
      {
        hint: "use an image of this machine's architecture",
      },
    );
  }
}

function commandOf(spec: JobSpec, image: ImageInfo): string[] {
  const entrypoint = spec.entrypoint ?? image.entrypoint;
  // As `docker run`: an entrypoint given by hand takes the image's CMD away with the image's ENTRYPOINT.
  const command = spec.command.length > 0 || spec.entrypoint !== undefined ? spec.command : image.cmd;
  const argv = [...entrypoint, ...command];
  if (argv.length === 0) {
    throw new UsageError(`image "${spec.image}" names no command of its own, and none was given`, {
      hint: "put one behind `--`: gangway run --image IMG -- COMMAND",
    });
  }
  return argv;
}

/**
 * Refuses networks in which the job's nodes could not reach each other.
 *
 * @returns the network to use
 * @throws UsageError
 */
function networkOf(spec: JobSpec, engine: EngineIdentity): string {
  // Between hosts, what has an address of its own is the hosts' network.
  const network = spec.network ?? (engine.rootless || spec.several ? "host" : "bridge");
  const nodes = spec.allocation.nodes.length;
  if (nodes === 1 || !spec.sshd) return network;
  if (network === "none" || !spec.listen) {
    throw new UsageError(
      `${nodes} nodes cannot reach each other with ${network === "none" ? "--network none" : "no TCP port"}`,
      {
        hint: "leave it out, or use one node",
      },
    );
  }
  if (network === "host" && !spec.several && spec.port !== undefined && spec.port !== 0) {
    throw new UsageError(`${nodes} nodes share this host's network, where only one can have port ${spec.port}`, {
      hint: "leave --port out, and each gets one of its own",
    });
  }
  return network;
}

/** What a plan is made from. */
export interface Findings {
  readonly engine: EngineIdentity;
  readonly image: ImageInfo;
  readonly knowledge: ImageKnowledge;
  readonly udiImage: string;
  readonly places: Places;
  readonly volumes: readonly MountSpec[];
  readonly view: EngineView;
}

/** Decides what the specification leaves to the engine, the image and the user's files. */
export function makePlan(spec: JobSpec, { engine, image, knowledge, udiImage, places, volumes, view }: Findings): Plan {
  const wanted = spec.shell ?? spec.account.shell;
  return {
    spec,
    image,
    knowledge,
    network: networkOf(spec, engine),
    udiImage,
    command: commandOf(spec, image),
    shell: chooseShell(wanted, (path) => knowledge.present.includes(path)),
    workdir: (spec.workdir ?? (places.workdirIsMounted ? spec.callerDirectory : "")) || image.workdir || "/",
    mounts: [...places.mounts, ...volumes],
    view,
  };
}

/** The first and the last of the ports that init tries first on a host's network: below those that the kernel gives away. */
const PREFERRED_PORTS = [20_000, 32_767] as const;

/** One port for all nodes of a job; two jobs on a host hardly ever have the same. */
function preferredPort({ id, account }: JobSpec): number {
  const [first, last] = PREFERRED_PORTS;
  const hash = createHash("sha256").update(`${account.uid} ${id}`).digest().readUInt32BE(0);
  return first + (hash % (last - first + 1));
}

function initArguments(plan: Plan, node: AllocatedNode): string[] {
  const { spec } = plan;
  const options = ["--launcher"];
  const delay = spec.heldBack[node.name];
  if (delay !== undefined) options.push("--held-back", String(delay));
  if (!spec.sshd) options.push("--no-sshd");
  else if (!spec.listen || plan.network === "none") options.push("--no-listen");
  else {
    if (spec.port !== undefined) options.push("--port", String(spec.port));
    else if (plan.network !== "host") options.push("--port", String(USUAL_PORT));
    else if (spec.several) options.push("--prefer-port", String(preferredPort(spec)));
    else options.push("--port", "0");
    if (spec.listenAddress !== undefined) options.push("--listen", spec.listenAddress);
  }
  options.push("--max-connections", String(spec.maxConnections), "--max-per-source", String(spec.maxPerSource));
  if (!runsCommand(spec, node)) return [...options, "--hold"];
  const linger = typeof spec.linger === "string" ? spec.linger : String(spec.linger.seconds);
  return [...options, "--linger", linger, "--", ...plan.command];
}

function labelsOf(plan: Plan, node: AllocatedNode, directory: JobDirectory): Record<string, string> {
  const { spec } = plan;
  return {
    [LABEL.job]: spec.id,
    [LABEL.node]: node.name,
    [LABEL.nodeIndex]: String(node.index),
    [LABEL.nodes]: String(spec.allocation.nodes.length),
    [LABEL.uid]: String(spec.account.uid),
    [LABEL.user]: spec.account.name,
    [LABEL.image]: spec.image,
    [LABEL.directory]: directory.path,
    [LABEL.launcher]: formatIdentity(thisProcess()),
    [LABEL.sshd]: spec.sshd ? "yes" : "no",
    ...(spec.outputFile === undefined ? {} : { [LABEL.output]: spec.outputFile }),
  };
}

/** The container of one node, in every detail. */
export function containerSpec(plan: Plan, node: AllocatedNode, directory: JobDirectory): ContainerSpec {
  const { spec } = plan;
  const own = ownMounts(plan.udiImage, directory.node(node.index), plan.knowledge, spec.sshd);
  return {
    name: containerName(spec.account.uid, spec.id, node.index),
    image: plan.image.id,
    argv: [`${UDI_IMAGE}/libexec/init`, ...initArguments(plan, node)],
    env: environmentOf(plan, node),
    uid: spec.account.uid,
    gid: spec.account.gid,
    supplementaryGids: spec.account.groups.map((group) => group.gid),
    workdir: plan.workdir,
    hostname: node.name,
    labels: labelsOf(plan, node, directory),
    mounts: [...forEngine(own, plan.view), ...plan.mounts],
    tmpfs: spec.tmpfs,
    network: plan.network,
    tty: spec.tty && runsCommand(spec, node),
    openStdin: runsCommand(spec, node),
    readOnlyRoot: spec.readOnlyRoot,
    autoRemove: true,
    limits: spec.limits,
    devices: spec.devices,
    ...(spec.gpus === undefined ? {} : { gpus: spec.gpus }),
  };
}

/** Writes what is mounted into a node's container: it must be there before the container is created. */
export function writeMountedFiles(plan: Plan, node: AllocatedNode, directory: JobDirectory): void {
  const { spec, knowledge } = plan;
  directory.write(directory.node(node.index), {
    passwd: mergePasswd(knowledge.passwd, spec.account, plan.shell),
    group: mergeGroup(knowledge.group, spec.account),
    hosts: mergeHosts(
      [knowledge.hosts],
      spec.allocation.nodes.flatMap((other) => namesOf(spec, other)),
    ),
    hostsfile: renderHostsfile(spec.allocation.nodes),
  });
}

/** The public halves of a node's two keys. */
export interface NodeKeys {
  readonly hostKey: string;
  readonly userKey: string;
}

/**
 * Writes what sshd and ssh need of a node's run directory before the container starts, the node's two keys among it: they
 * are born here and stay here.
 */
export function equipNode(spec: JobSpec, node: AllocatedNode, directory: JobDirectory): NodeKeys {
  const host = generateKeyPair(`${node.name}.${spec.id}.job`);
  const user = generateKeyPair(`${spec.account.name}@${node.name}.${spec.id}.job`);
  const place = directory.node(node.index);
  directory.write(place, { host_ed25519: host.privateKey, id_ed25519: user.privateKey }, 0o600);
  directory.write(place, { revoked_keys: "", authorized_keys: "" }, 0o600);
  directory.write(place, {
    "host_ed25519.pub": `${host.publicKey}\n`,
    "id_ed25519.pub": `${user.publicKey}\n`,
    "authority.pub": "",
    principals: `${principalOf(spec)}\n`,
    sshd_config: renderSshdConfig(spec.account.name),
  });
  return { hostKey: host.publicKey, userKey: user.publicKey };
}
