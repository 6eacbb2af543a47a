import { readFileSync } from "node:fs";
import { eventually, IMAGES, USER } from "../job/harness.ts";
import { asRoot, type Host, runOn, startOn } from "./cluster.ts";
import { processesOn } from "./launched.ts";
import { ended, sbatch } from "./slurm.ts";

/* Sessions that Slurm carries, from the controller, which has neither an engine nor a run directory of any job. */

const BASE = `/run/user/${USER.uid}/gangway`;
/** So long without a word is death, in the sessions that are killed. */
export const SILENCE_MS = 2000;

/** Submits a job whose container waits. @param run further words of `gangway run` */
export async function launch(words: readonly string[] = ["-N2"], run = ""): Promise<string> {
  const script = `exec gangway run --pull never ${run} -i ${IMAGES.debian} -- sleep 900`;
  return await sbatch(script, { words: ["-n2", "--mem-per-cpu=200", ...words] });
}

/** Waits until it runs. @param name as gangway has it */
export async function runs(id: string, host: Host = "n1", name = id): Promise<void> {
  let jobs = "";
  await eventually(`job ${id} runs`, 60, async () => {
    jobs = (await runOn(host, ["gangway", "ps"])).stdout;
    return jobs.split("\n").some((line) => line.startsWith(`${name} `) && line.includes("running"));
  }).catch(async (error: unknown) => {
    const known = await runOn("ctl", ["sh", "-c", `squeue; sinfo -N; scontrol show job ${id}`]);
    throw new Error(`${String(error)}\n${jobs}${known.stdout}${known.stderr}`);
  });
}

export async function cancel(id: string): Promise<void> {
  await runOn("ctl", ["scancel", id]);
  await ended(id);
}

/** What carriers have on the hosts: processes there and here, private directories, and whatever lies in /tmp of theirs. */
function left(): string {
  const processes = (["ctl", "n1", "n2"] as const).flatMap((host) =>
    processesOn(
      host,
      /gangway carried|connector --(?:carried|near)|gangway ssh|gangway proxy|gangway-guard|\.via\.srun|sleep 4321/,
    ).map((pid) => `${host}: ${pid} ${commandOf(pid)}`),
  );
  const script = `find ${BASE} /tmp /dev/shm -mindepth 1 -name '.session*' 2>/dev/null || :`;
  return [...processes, asRoot("ctl", ["sh", "-c", script])].join("\n").trim();
}

/** Waits until nothing of any carrier is left, on either side. */
export async function nothingLeft(): Promise<void> {
  let found = "";
  await eventually("nothing of a carrier is left", 30, () => {
    found = left();
    return found === "";
  }).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${found}`);
  });
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return "";
  }
}

function parentOf(pid: number): number {
  try {
    return Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
  } catch {
    return 0;
  }
}

/** Who of a session's processes is killed. */
export type Victim = "gangway" | "ssh" | "pump" | "srun" | "guard" | "far end" | "slurmstepd" | "command";

/** Of what `gangway` here has started: its child, or that one's. */
const BELOW: Readonly<Partial<Record<Victim, RegExp>>> = {
  ssh: /^\S*\/ssh .*-F/,
  pump: /^\S*\/connector --near/,
  guard: /^\/bin\/sh -c dir=/,
  srun: /^\S*\/srun .*carried/,
};

let count = 0;

/** A session that Slurm carries, whose command waits, and whose processes are told from all others'. */
export class CarriedSession {
  readonly #mark: string;
  readonly #child: ReturnType<typeof startOn>;
  /** Its exit status. */
  readonly ended: Promise<number>;
  /** Where its node is, if nobody else has a session there. */
  readonly #host: Host;
  stdout = "";

  /** @param script runs before the command waits */
  constructor(target: string, { host = "n1", script = "echo up" }: { host?: Host; script?: string } = {}) {
    count += 1;
    this.#mark = `4321${String(count).padStart(4, "0")}`;
    this.#host = host;
    const words = [
      "env",
      `GANGWAY_NODE_SILENCE=${SILENCE_MS}ms`,
      "gangway",
      "ssh",
      target,
      `${script}; exec sleep ${this.#mark}`,
    ];
    this.#child = startOn("ctl", words);
    this.#child.stdout.on("data", (chunk: Buffer) => {
      this.stdout += chunk.toString();
    });
    this.#child.stderr.resume();
    this.ended = new Promise((resolve) => this.#child.once("close", (code) => resolve(code ?? 255)));
  }

  async up(): Promise<void> {
    await eventually(`session ${this.#mark}`, 60, () => this.stdout.startsWith("up\n"));
  }

  /** Ends its standard input with these bytes. */
  say(text: string): void {
    this.#child.stdin.end(text);
  }

  pids(victim: Victim): number[] {
    const gangway = processesOn("ctl", new RegExp(`^\\S*node .*gangway ssh .*${this.#mark}`));
    const below = BELOW[victim];
    if (victim === "gangway") return gangway;
    if (below !== undefined) {
      const mine = (pid: number) => gangway.includes(parentOf(pid)) || gangway.includes(parentOf(parentOf(pid)));
      return processesOn("ctl", below).filter(mine);
    }
    if (victim === "command") return processesOn(this.#host, new RegExp(`^sleep ${this.#mark}`));
    const far = processesOn(this.#host, /^\S*(?:node .*gangway |connector --)carried/);
    return victim === "far end" ? far : far.map(parentOf);
  }

  /** @throws Error where there is no such process */
  kill(victim: Victim, signal: NodeJS.Signals = "SIGKILL"): void {
    const pids = this.pids(victim);
    if (pids.length === 0) throw new Error(`session ${this.#mark} has no ${victim}`);
    for (const pid of pids) process.kill(pid, signal);
  }

  /** Kills `gangway` as soon as there is one, so many milliseconds after the start. */
  async killAfter(ms: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, ms));
    // It may not have got so far as to be called so.
    await eventually(`session ${this.#mark} to be killed`, 30, () => {
      const pids = this.pids("gangway");
      for (const pid of pids) process.kill(pid, "SIGKILL");
      return pids.length > 0;
    });
  }
}
