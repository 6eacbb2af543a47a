import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { eventually, INSTALL, type RigEngine, USER } from "./harness.ts";

const execute = promisify(execFile);

/** Runs the docker command as root against an engine of the rig. */
export async function docker(engine: RigEngine, ...words: readonly string[]): Promise<string> {
  return (await execute("docker", ["-H", engine.endpoint, ...words])).stdout.trim();
}

function lines(text: string): string[] {
  return text.split("\n").filter((line) => line !== "");
}

/** Names of what belongs to the HTCondor pool and its jobs, whose tests run beside on the same engine. */
export const OF_THE_POOL = /gangway-\d+-\d+\.\d+|gangway-test\S*-condor\b/;

/** What the engine itself has: `container NAME`, `volume NAME`, `network NAME`. */
async function inEngine(engine: RigEngine): Promise<string[]> {
  const ask = async (kind: string, ...words: string[]) =>
    lines(await docker(engine, ...words)).map((name) => `${kind} ${name}`);
  const found = await Promise.all([
    ask("container", "ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}}"),
    ask("volume", "volume", "ls", "-q"),
    ask("network", "network", "ls", "--format", "{{.Name}}"),
  ]);
  return found.flat().filter((trace) => !OF_THE_POOL.test(trace));
}

/** All run directories of the test users lie below it, on a file system that nothing else is on. */
const RUN_TIME = dirname(USER.runtime);

function runDirectories(): string[] {
  return readdirSync(RUN_TIME)
    .flatMap((user) => readDirectory(join(RUN_TIME, user, "gangway")))
    .map((path) => `directory ${path}`);
}

function readDirectory(path: string): string[] {
  return existsSync(path) ? readdirSync(path).map((name) => join(path, name)) : [];
}

function readProcess(pid: string, file: string): string {
  try {
    return readFileSync(join("/proc", pid, file), "utf8");
  } catch {
    // It has ended meanwhile.
    return "";
  }
}

/** A job's container process: the run directory's file system is mounted in it (proc(5), mountinfo, field 3 and 5). */
function hasRunDirectory(pid: string): boolean {
  const { dev } = statSync(RUN_TIME);
  const device = `${(dev >> 8) & 0xfff}:${(dev & 0xff) | ((dev >> 12) & 0xfff00)}`;
  return readProcess(pid, "mountinfo")
    .split("\n")
    .map((line) => line.split(" "))
    .some((fields) => fields[2] === device && fields[4] === "/run/gangway");
}

/** Every process there is, by number and start (proc(5), stat, field 22). */
function allProcesses(): Map<string, string> {
  const pids = readdirSync("/proc").filter((pid) => /^\d+$/.test(pid));
  return new Map(
    pids.map((pid) => {
      const stat = readProcess(pid, "stat");
      return [pid, `${pid}@${stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]}`];
    }),
  );
}

function namespaceOf(pid: string, kind: "net" | "mnt"): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/${kind}`);
  } catch {
    // It has ended meanwhile.
    return "";
  }
}

/** Of the cluster's hosts, whose tests run beside: each is held by a process with this variable (cluster.sh). */
function namespacesOfHosts(): Set<string> {
  const holders = readdirSync("/proc").filter(
    (pid) => /^\d+$/.test(pid) && readProcess(pid, "environ").includes("GANGWAY_CLUSTER_HOST="),
  );
  return new Set(holders.map((pid) => namespaceOf(pid, "net")));
}

/** Launchers, watchdogs, inits with all they started, ssh clients, and the engines' own helpers of containers. */
function processes(
  containers: ReadonlySet<string>,
  before: ReadonlySet<string>,
  others: ReadonlySet<string>,
  machines: ReadonlySet<string>,
): string[] {
  const hosts = namespacesOfHosts();
  return [...allProcesses()]
    .filter(([, identity]) => !before.has(identity))
    .filter(([pid]) => !hosts.has(namespaceOf(pid, "net")) && !machines.has(namespaceOf(pid, "mnt")))
    .filter(([pid]) => ![...others].some((part) => readProcess(pid, "cgroup").includes(part)))
    .flatMap(([pid]) => {
      const command = readProcess(pid, "cmdline").replaceAll("\0", " ");
      if (/-condor |\/(?:condor|cluster)\.sh /.test(command)) return [];
      const ours =
        command.includes(`${INSTALL}/`) ||
        command.includes(`${RUN_TIME}/${USER.name}/gangway/`) ||
        [...containers].some((id) => command.includes(id)) ||
        hasRunDirectory(pid);
      return ours && command !== "" ? [`process ${pid}: ${command.slice(0, 200)}`] : [];
    });
}

const CGROUPS = "/sys/fs/cgroup";
const DEPTH = 5;

function cgroups(containers: ReadonlySet<string>, path = CGROUPS, depth = 0): string[] {
  if (depth > DEPTH) return [];
  let names: string[];
  try {
    names = readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch {
    return [];
  }
  return names.flatMap((name) => [
    ...([...containers].some((id) => name.includes(id)) ? [`cgroup ${join(path, name)}`] : []),
    ...cgroups(containers, join(path, name), depth + 1),
  ]);
}

/**
 * Everything on this machine that launches leave while they run, seen as root: what is there that was not there before
 * must be gone after.
 */
export class Traces {
  readonly #engine: RigEngine;
  readonly #before: ReadonlySet<string>;
  /** Ids of all containers that were made meanwhile, also for a moment. */
  readonly #made = new Set<string>();
  /** Cgroups of the pool: by their own name, and by the ids of its containers. */
  readonly #ofThePool = new Set(["/htcondor/"]);
  /** Mount namespaces of its machines: a user who has logged in there is in no cgroup of theirs. */
  readonly #machines = new Set<string>();
  readonly #processes = new Set(allProcesses().values());
  #events: ChildProcess | undefined;

  private constructor(engine: RigEngine, before: readonly string[]) {
    this.#engine = engine;
    this.#before = new Set(before);
  }

  static async watch(engine: RigEngine): Promise<Traces> {
    const traces = new Traces(engine, [...(await inEngine(engine)), ...runDirectories()]);
    for (const container of lines(await docker(engine, "ps", "--no-trunc", "--format", "{{.ID}} {{.Names}}"))) {
      const [id = "", name = ""] = container.split(" ");
      if (OF_THE_POOL.test(container)) traces.#ofThePool.add(id);
      if (/-condor\b/.test(name)) {
        traces.#machines.add(namespaceOf(await docker(engine, "inspect", "-f", "{{.State.Pid}}", id), "mnt"));
      }
    }
    traces.listen();
    return traces;
  }

  /** Listens (again, when the engine was restarted) for containers that are made. */
  listen(): void {
    this.#events?.kill("SIGKILL");
    const filters = ["--filter", "type=container", "--filter", "event=create"];
    const format = "{{.ID}} {{.Actor.Attributes.name}}";
    const events = spawn("docker", ["-H", this.#engine.endpoint, "events", ...filters, "--format", format], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    let text = "";
    events.stdout.on("data", (chunk: Buffer) => {
      const made = (text + chunk.toString()).split("\n");
      text = made.pop() ?? "";
      // Podman tells of what was before, too.
      const known = [...this.#before].join("\n");
      for (const container of made) {
        const [id = ""] = container.split(" ");
        if (!/^[0-9a-f]{64}$/.test(id) || known.includes(id)) continue;
        if (OF_THE_POOL.test(container)) this.#ofThePool.add(id);
        else this.#made.add(id);
      }
    });
    this.#events = events;
  }

  /** How many containers were seen. */
  get made(): number {
    return this.#made.size;
  }

  async #left(): Promise<string[]> {
    const now = [
      ...(await inEngine(this.#engine)),
      ...runDirectories(),
      ...processes(this.#made, this.#processes, this.#ofThePool, this.#machines),
      ...cgroups(this.#made),
    ];
    return now.filter((trace) => !this.#before.has(trace));
  }

  /**
   * @param isEngines whether a trace is the engine's own fault
   * @throws Error naming what is still there after so many seconds
   */
  async gone(seconds = 15, isEngines: (trace: string) => Promise<boolean> = async () => false): Promise<void> {
    let left: string[] = [];
    try {
      await eventually("all gone", seconds, async () => {
        // Podman's list fails where a container goes while it is made.
        left = await this.#left().catch((error: unknown) => [String(error)]);
        const engines = await Promise.all(left.map(isEngines));
        left = left.filter((_, index) => engines[index] !== true);
        return left.length === 0;
      });
    } catch {
      throw new Error(`left after ${seconds} s:\n${left.join("\n")}`);
    }
  }

  close(): void {
    this.#events?.kill("SIGKILL");
  }
}
