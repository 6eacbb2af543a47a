import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { eventually, GANGWAY, USER } from "../job/harness.ts";
import { asRoot, type Host, rootOf, runOn, slurmNodes } from "./cluster.ts";

const CLUSTER = join(import.meta.dirname, "../rig/cluster.sh");
const LOAD = join(import.meta.dirname, "../../images/load.sh");
const EXAMPLES = join(import.meta.dirname, "../../examples/slurm");
/** The rig's /etc/slurm, the same on all its hosts. */
const SLURM = join(process.env.GANGWAY_CLUSTER_PLACE ?? "", "slurm");

export type ComputeHost = Extract<Host, "n1" | "n2" | "n3">;
export const COMPUTE: readonly ComputeHost[] = ["n1", "n2", "n3"];

/** Whose containers a job's are. */
export interface HostEngine {
  readonly name: "docker" | "rootless";
  /** For the job's environment, and for whoever looks. */
  readonly env: Readonly<Record<string, string>>;
}

export const HOST_DOCKER: HostEngine = { name: "docker", env: { GANGWAY_ENGINE: "unix:///run/docker.sock" } };
/** One rule for every user and host. */
export const HOST_PODMAN: HostEngine = {
  name: "rootless",
  env: { GANGWAY_ENGINE: "unix:///run/user/%U/podman/podman.sock" },
};

/** Puts images into an engine of a host. */
export function loadInto(engine: HostEngine, host: ComputeHost, ...names: string[]): void {
  const user = engine.name === "docker" ? [] : [USER.name];
  const socket = execFileSync(CLUSTER, ["engine", host, ...user], { encoding: "utf8" }).trim();
  execFileSync(LOAD, [socket, ...names]);
}

/** The docker command at a host's engine, whichever that is: its output, a line each. */
function ask(engine: HostEngine, host: ComputeHost, ...words: string[]): string[] {
  const socket = engine.name === "docker" ? "/run/docker.sock" : `/run/user/${USER.uid}/podman/podman.sock`;
  return asRoot(host, ["docker", "-H", `unix://${socket}`, ...words])
    .split("\n")
    .filter((line) => line !== "");
}

/** The names of the containers in a host's engine, running or not. */
export function containersOn(engine: HostEngine, host: ComputeHost): string[] {
  return ask(engine, host, "ps", "-a", "--format", "{{.Names}}");
}

/** Pids, as the machine has them, of the inits of a host's containers. */
export function initsOn(engine: HostEngine, host: ComputeHost): number[] {
  return ask(engine, host, "inspect", "-f", "{{.State.Pid}}", ...containersOn(engine, host)).map(Number);
}

/** The private directories of a user's jobs on a host. */
export function directoriesOn(host: ComputeHost, uid: number = USER.uid): string[] {
  return [`/run/user/${uid}/gangway`, `/dev/shm/gangway-${uid}`].flatMap((base) => {
    const seen = join(rootOf(host), base);
    // As a user's `*` has it: what begins with a dot is no job's.
    const names = existsSync(seen) ? readdirSync(seen).filter((name) => !name.startsWith(".")) : [];
    return names.map((name) => join(base, name));
  });
}

/**
 * Launchers, watchdogs and node processes of ours on a host: told by the host's own network, since all hosts of the rig see
 * the processes of all.
 */
export function processesOn(host: ComputeHost): string[] {
  const own = readlinkSync(join(rootOf(host), "../ns/net"));
  return readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      if (readlinkSync(`/proc/${pid}/ns/net`) !== own) return [];
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll(/[\0\n]/g, " ");
      return /gangway (run|node)|\/libexec\/(watchdog|init)/.test(words) ? [`${pid} ${words}`] : [];
    } catch {
      // It has ended meanwhile.
      return [];
    }
  });
}

/** Waits until no job of ours has anything on a host: containers, private directories, processes. */
export async function nothingLeftOn(engine: HostEngine, host: ComputeHost, seconds = 20): Promise<void> {
  let left: string[] = [];
  await eventually(`nothing left on ${host}`, seconds, () => {
    left = [...containersOn(engine, host), ...directoriesOn(host), ...processesOn(host)];
    return left.length === 0;
  }).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${left.join("; ")}`);
  });
}

/** How a job is submitted. */
export interface Submission {
  readonly host?: ComputeHost | undefined;
  readonly engine?: HostEngine | undefined;
  readonly user?: string;
  /** Further words of sbatch. */
  readonly words?: readonly string[];
}

/** Submits a batch script, from the controller; its output is in {@link outputOf}. */
export async function sbatch(script: string, submission: Submission = {}): Promise<string> {
  const { host, engine = HOST_DOCKER, user = USER.name, words = [] } = submission;
  const settings = Object.entries(engine.env).map(([name, value]) => `${name}=${value}`);
  const where = host === undefined ? [] : [`--nodelist=${host}`];
  const argv = [
    "env",
    "-C",
    "/tmp",
    ...settings,
    "sbatch",
    "--parsable",
    "--output=/dev/shm/out-%j",
    ...where,
    ...words,
  ];
  const { code, stdout, stderr } = await runOn("ctl", argv, { input: `#!/bin/sh\n${script}\n`, user });
  if (code !== 0) throw new Error(`sbatch: ${stderr}`);
  return stdout.trim();
}

/** What a job has printed on a host. */
export function outputOf(job: string, host: ComputeHost): string {
  const path = join(rootOf(host), `dev/shm/out-${job}`);
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}

/** A field of what the controller says about a job. */
export function fieldOf(job: string, name: string): string {
  const text = asRoot("ctl", ["scontrol", "show", "job", "-o", job]);
  return new RegExp(`(?:^| )${name}=(\\S*)`).exec(text)?.[1] ?? "";
}

const OVER = /^(?:COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL|OUT_OF_MEMORY)$/;

/** Waits for a job's end. @returns its state and its exit status as Slurm has them */
export async function ended(job: string, seconds = 60): Promise<{ state: string; exit: string }> {
  await eventually(`the end of job ${job}`, seconds, () => OVER.test(fieldOf(job, "JobState")));
  return { state: fieldOf(job, "JobState"), exit: fieldOf(job, "ExitCode") };
}

/** Slurm's own command, as its administrator. */
export function scontrol(...words: string[]): string {
  return asRoot("ctl", ["scontrol", ...words]);
}

/**
 * Has all daemons of Slurm's read their settings anew. It is done where no epilog runs: slurmd 22.05 ends one that does, and
 * the node is drained ("Epilog error"), for all tests after it.
 */
async function reconfigure(): Promise<void> {
  let seen: string[] = [];
  await eventually("no job is on its way out, and all hosts answer", 60, () => {
    seen = slurmNodes();
    return !seen.some((node) => / completing|\*/.test(node));
  }).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${seen.join("; ")}`);
  });
  scontrol("reconfigure");
  for (const host of COMPUTE) {
    // slurmd reads them before it takes its next call but one.
    for (const _ of ["next", "after"]) asRoot(host, ["timeout", "20", "scontrol", "show", "slurmd"]);
  }
  const unusable = slurmNodes().filter((node) => /\b(?:drain|down)/.test(node));
  if (unusable.length > 0) throw new Error(`no use can be made of ${unusable.join("; ")}`);
}

/** Puts settings into slurm.conf while a test file runs. @returns what restores it */
async function configureSlurm(...lines: string[]): Promise<() => Promise<void>> {
  const file = join(SLURM, "slurm.conf");
  const before = readFileSync(file, "utf8");
  const keys = lines.map((line) => line.slice(0, line.indexOf("=") + 1));
  const kept = before.split("\n").filter((line) => !keys.some((key) => line.startsWith(key)));
  const write = async (text: string): Promise<void> => {
    // All at once: every command of Slurm's reads it.
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
    await reconfigure();
  };
  await write(`${kept.join("\n")}\n${lines.join("\n")}\n`);
  return async () => await write(before);
}

/**
 * Installs examples/slurm as an administrator would, with the path of this installation's gangway.
 *
 * @param engine as the site's file would name it
 * @returns what takes them out again
 */
export async function installExamples(engine: HostEngine): Promise<() => Promise<void>> {
  const program = join(SLURM, "gangway");
  const settings = Object.entries(engine.env).map(([name, value]) => `${name}='${value}'; export ${name}`);
  writeFileSync(program, `#!/bin/sh\n${settings.join("\n")}\nexec ${GANGWAY} "$@"\n`);
  chmodSync(program, 0o755);
  const scripts = {
    Prolog: "prolog.sh",
    // Where others of the rig's may stand beside it: Slurm runs them all, in the order of their names.
    Epilog: "epilog.d/10-gangway",
    TaskProlog: "task-prolog.sh",
    TaskEpilog: "task-epilog.sh",
  };
  mkdirSync(join(SLURM, "epilog.d"), { recursive: true });
  for (const [key, name] of Object.entries(scripts)) {
    const text = readFileSync(join(EXAMPLES, key === "Epilog" ? "epilog.sh" : name), "utf8");
    writeFileSync(join(SLURM, name), text.replace(/^gangway=.*$/m, "gangway=/etc/slurm/gangway"));
    chmodSync(join(SLURM, name), 0o755);
  }
  const lines = Object.entries(scripts).map(([key, name]) => `${key}=/etc/slurm/${name.replace(/\/.*/, "/*")}`);
  const restore = await configureSlurm(...lines);
  return async () => {
    try {
      await restore();
    } finally {
      for (const name of ["gangway", ...Object.values(scripts)]) rmSync(join(SLURM, name), { force: true });
    }
  };
}
