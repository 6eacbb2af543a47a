import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually, IMAGES, INSTALL, USER } from "../job/harness.ts";
import { asRoot, eventuallyGiven, type Host, PLACE, rootOf, runOn, startOn } from "./cluster.ts";
import { EngineGate, GATE } from "./engine-gate.ts";

export const COMPUTE = ["n1", "n2", "n3"] as const;
const RUN_BASE = `run/user/${USER.uid}/gangway`;
/** So long without a word is death, in these launches. */
export const SILENCE = "3s";

/** A process on one of the hosts: these are apart by their networks, not by their process numbers. */
export function processesOn(host: Host, pattern: RegExp): number[] {
  const network = readlinkSync(`/proc/${readFileSync(join(PLACE, `${host}.pid`), "utf8").trim()}/ns/net`);
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
        return pattern.test(command) && readlinkSync(`/proc/${pid}/ns/net`) === network;
      } catch {
        // It has ended meanwhile.
        return false;
      }
    })
    .map(Number);
}

function runBaseOf(host: Host): string {
  return join(rootOf(host), RUN_BASE);
}

/** The docker command against a host's engine. */
export function docker(host: Host, ...words: readonly string[]): string {
  return execFileSync("docker", ["-H", `unix://${rootOf(host)}/run/docker.sock`, ...words], { encoding: "utf8" });
}

function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

export type Phase = "prepare" | "up" | "membership" | "running";
/** Who is killed. */
export type Victim = "node" | "slurmstepd" | "srun" | "launcher";

/**
 * One allocation of all three hosts, in which launches follow each other: what a launch leaves is not cleared by the end of
 * the manager's job.
 */
export class Allocation {
  readonly variables: readonly string[];
  readonly gates: Readonly<Record<"n1" | "n2" | "n3", EngineGate>>;

  private constructor(variables: readonly string[], gates: Allocation["gates"]) {
    this.variables = variables;
    this.gates = gates;
  }

  static async take(): Promise<Allocation> {
    const child = startOn("ctl", ["salloc", "-Q", "-N3", "sh", "-c", "env -0; echo; exec sleep infinity"]);
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => {
      text += chunk.toString("utf8");
    });
    await eventuallyGiven("an allocation", 60, () => text.endsWith("\n"));
    const variables = text.split("\0").filter((entry) => entry.startsWith("SLURM_"));
    const gates = { n1: new EngineGate("n1"), n2: new EngineGate("n2"), n3: new EngineGate("n3") };
    await Promise.all(Object.values(gates).map((gate) => gate.open()));
    return new Allocation(variables, gates);
  }

  /** Slurm's number of the job. */
  get id(): string {
    return this.variables.find((entry) => entry.startsWith("SLURM_JOB_ID="))?.slice("SLURM_JOB_ID=".length) ?? "";
  }

  async release(): Promise<void> {
    await runOn("ctl", ["scancel", this.id]);
    await Promise.all(Object.values(this.gates).map((gate) => gate.close()));
  }
}

let count = 0;

export interface LaunchWords {
  readonly words?: readonly string[];
  readonly variables?: readonly string[];
  readonly image?: string;
  readonly command?: readonly string[];
}

/** A launch on n1, n2 and n3, whose launcher is on another host, ctl. */
export class Launched {
  readonly id: string;
  readonly #child: ReturnType<typeof startOn>;
  readonly #ended: Promise<number>;
  stdout = "";
  stderr = "";

  constructor(
    allocation: Allocation,
    { words = [], variables = [], image = IMAGES.debian, command }: LaunchWords = {},
  ) {
    count += 1;
    this.id = `failing-${process.pid}-${count}`;
    const env = [...allocation.variables, `DOCKER_HOST=${GATE}`, `GANGWAY_NODE_SILENCE=${SILENCE}`, ...variables];
    const run = ["gangway", "run", "--name", this.id, "--pull", "never", "--image", image, ...words, "--"];
    this.#child = startOn("ctl", ["env", ...env, ...run, ...(command ?? ["sh", "-c", "echo ready; exec sleep 600"])]);
    this.#child.stdout.on("data", (chunk: Buffer) => {
      this.stdout += chunk.toString("utf8");
    });
    this.#child.stderr.on("data", (chunk: Buffer) => {
      this.stderr += chunk.toString("utf8");
    });
    this.#child.stdin.on("error", () => undefined);
    this.#child.stdin.end();
    this.#ended = new Promise((resolve) => this.#child.once("close", (code) => resolve(code ?? 255)));
  }

  /** @returns its exit code @throws Error when it goes on for more than so many seconds */
  async end(seconds: number): Promise<number> {
    let code: number | undefined;
    void this.#ended.then((value) => {
      code = value;
    });
    try {
      await eventually("the launch's end", seconds, () => code !== undefined);
    } catch (error) {
      throw new Error(`${(error as Error).message} (so far: ${this.stderr})\n${this.#whatIsThere()}`);
    }
    return code ?? 255;
  }

  /** For a launch that hangs: who of it runs where, and what Slurm thinks of its hosts and steps. */
  #whatIsThere(): string {
    const asked = [
      ["sinfo", "-h", "-N", "-o", "%N %T %E"],
      ["squeue", "-h", "-s", "-o", "%i %j %N %M"],
    ].map((words) => asRoot("ctl", ["timeout", "5", ...words]).trim());
    return [...LAUNCHED_ON.flatMap(tellTraces), ...asked].join("\n");
  }

  /** @param host of a node's process */
  pids(victim: Victim, host: "n1" | "n2" | "n3"): number[] {
    const node = () => processesOn(host, new RegExp(`gangway node .*--job ${this.id} .*--key`));
    switch (victim) {
      case "node":
        return node().filter((pid) => !readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("slurmstepd"));
      case "slurmstepd":
        return this.pids("node", host).map(parentOf);
      case "srun":
        return processesOn("ctl", new RegExp(`^/\\S*/srun .*--job ${this.id} `));
      case "launcher":
        return processesOn("ctl", new RegExp(`gangway run --name ${this.id} `));
    }
  }

  kill(victim: Victim, signal: NodeJS.Signals, host: "n1" | "n2" | "n3" = "n2"): void {
    const pids = this.pids(victim, host);
    if (pids.length === 0) throw new Error(`there is no ${victim} of ${this.id}`);
    for (const pid of pids) process.kill(pid, signal);
  }

  /** Whether the launcher has written the job's record: every init is up by then. */
  get recorded(): boolean {
    return existsSync(join(runBaseOf("ctl"), this.id, "job.json"));
  }
}

/** An sshd that never says a word, on n2. @returns what takes it away again */
function silenceSshd(): () => void {
  const sshd = join(INSTALL, "lib/gangway/udiImage/sbin/sshd");
  const script = sharedFile("silent-sshd", "#!/opt/udiImage/tools/sh\nexec /opt/udiImage/tools/sleep 600\n");
  asRoot("n2", ["mount", "--bind", script, sshd]);
  return () => asRoot("n2", ["umount", "-l", sshd]);
}

/** Launches, and waits until the launch is in that phase, and stays there since n2 does. */
export async function launchInto(
  phase: Phase,
  allocation: Allocation,
  words: LaunchWords = {},
): Promise<{ readonly job: Launched; readonly go: () => void }> {
  const gate = allocation.gates.n2;
  if (phase === "running") {
    const job = new Launched(allocation, words);
    await eventually(`the command (so far: ${job.stderr})`, 30, () => job.stdout.includes("ready\n"));
    return { job, go: () => undefined };
  }
  if (phase === "membership") {
    const speak = silenceSshd();
    try {
      const job = new Launched(allocation, words);
      await eventually(`the record (so far: ${job.stderr})`, 30, () => job.recorded);
      return { job, go: speak };
    } catch (error) {
      speak();
      throw error;
    }
  }
  const held = gate.hold(phase === "prepare" ? /^POST \S*\/containers\/create/ : /^POST \S*\/start /);
  let arrived = false;
  void held.then(() => {
    arrived = true;
  });
  const job = new Launched(allocation, words);
  await eventually(`phase ${phase} (so far: ${job.stderr})`, 30, () => arrived);
  return { job, go: () => gate.release() };
}

function linesOf(text: string): string[] {
  return text.split("\n").filter((line) => line !== "");
}

/** Whatever of any launch is on a host. */
interface Traces {
  /** Of run directories. */
  readonly directories: readonly string[];
  readonly processes: readonly number[];
  readonly containers: readonly string[];
}

/** The allocation has a step of its own on each host, "extern". */
const OURS = new RegExp(`${INSTALL}/|^slurmstepd: \\[(?!\\d+\\.extern)|^\\S*\\bsrun |gangway (?:run|node) |^sleep 600`);

function tracesOn(host: Host): Traces {
  const directory = runBaseOf(host);
  return {
    directories: existsSync(directory) ? readdirSync(directory) : [],
    processes: processesOn(host, OURS),
    containers: host === "ctl" ? [] : linesOf(docker(host, "ps", "-a", "--format", "{{.Names}}")),
  };
}

/** One line for each trace. */
function tellTraces(host: Host): string[] {
  const { directories, processes, containers } = tracesOn(host);
  const running = processes.map((pid) => {
    try {
      return `process ${pid}: ${readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").slice(0, 120)}`;
    } catch {
      return `process ${pid}`;
    }
  });
  return [
    ...directories.map((name) => `directory ${name}`),
    ...running,
    ...containers.map((name) => `container ${name}`),
  ].map((trace) => `${host}: ${trace}`);
}

const LAUNCHED_ON = ["ctl", ...COMPUTE] as const;

/**
 * What a test leaves is that test's failure, and no other's: it is removed.
 *
 * @throws Error naming what is still there after so many seconds
 */
export async function nothingLeft(seconds = 20): Promise<void> {
  let left: string[] = [];
  try {
    await eventually("nothing left", seconds, () => {
      left = LAUNCHED_ON.flatMap(tellTraces);
      return left.length === 0;
    });
  } catch {
    for (const host of LAUNCHED_ON) clear(host);
    throw new Error(`left after ${seconds} s:\n${left.join("\n")}`);
  }
}

function clear(host: Host): void {
  for (const pid of tracesOn(host).processes) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended meanwhile.
    }
  }
  const { containers, directories } = tracesOn(host);
  if (containers.length > 0) docker(host, "rm", "-f", ...containers);
  for (const name of directories) rmSync(join(runBaseOf(host), name), { recursive: true, force: true });
}

/** Files that the test user's processes on every host can read, or execute. */
export const SHARED = join(PLACE, "failures");

/** @returns the path of such a file */
export function sharedFile(name: string, text: string): string {
  mkdirSync(SHARED, { recursive: true });
  const path = join(SHARED, name);
  writeFileSync(path, text, { mode: 0o755 });
  return path;
}
