import { execFileSync, spawn } from "node:child_process";
import { chownSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { eventually, outcomeOf, type RunResult, type TestUser, USER } from "../job/harness.ts";

/**
 * The rig's HTCondor (test/rig/condor.sh): a pool in which jobs run on one machine, which is this one, and to which a second host
 * submits, that has no engine.
 */
const CONDOR = join(import.meta.dirname, "../rig/condor.sh");
const EXAMPLES = join(import.meta.dirname, "../../examples/htcondor");

/** Starts HTCondor, unless it runs: a test before this one may have restarted the engine under it. */
export function condorUp(): void {
  execFileSync(CONDOR, ["up"], { stdio: "pipe" });
  for (const [, name = "", value = ""] of asText(["env"]).matchAll(/^export (\w+)='(.*)'$/gm))
    process.env[name] = value;
}

function asText(words: readonly string[]): string {
  return execFileSync(CONDOR, words, { encoding: "utf8" });
}

/** Where HTCondor's own files are. */
export function place(): string {
  return process.env.GANGWAY_CONDOR_PLACE ?? "";
}

/** Where the private directories of a user's jobs lie. */
export function runBase(user: TestUser = USER): string {
  return join(process.env.GANGWAY_CONDOR_RUN_BASE ?? "", String(user.uid));
}

/** The one that runs jobs, and has queues of its own; the other one submits, and no more. */
export type Machine = "first" | "submit";

/** Of test/rig/condor.sh. */
const COMMANDS = { first: { user: "as", root: "on" }, submit: { user: "from", root: "at" } } as const;

interface LoggedIn {
  readonly input?: string | Buffer;
  readonly user?: TestUser;
  readonly machine?: Machine;
}

/** Runs a command on a machine of the pool, as a user who has logged in there, to its end. */
export async function runThere(
  argv: readonly string[],
  { input = "", user = USER, machine = "first" }: LoggedIn = {},
): Promise<RunResult> {
  return await outcomeOf(spawn(CONDOR, [COMMANDS[machine].user, user.name, ...argv]), input);
}

/** The output of a command that has to go well. */
export async function there(argv: readonly string[], options: LoggedIn = {}) {
  const { code, stdout, stderr } = await runThere(argv, options);
  if (code !== 0) throw new Error(`${argv.join(" ")} ended with ${code}: ${stderr}`);
  return stdout.trim();
}

/** A command of root's on a machine of the pool: its output. */
export function asRoot(argv: readonly string[], machine: Machine = "first"): string {
  return asText([COMMANDS[machine].root, ...argv]);
}

/** Submits what runs nowhere, until the next numbers of two queues, each on a machine and named by words, are the same. */
export async function alignQueues(
  one: readonly string[],
  other: readonly string[],
  machine: Machine = "first",
): Promise<void> {
  const next = async (words: readonly string[], at: Machine, count: number) => {
    // Each with another program has a number of its own.
    const jobs = Array.from({ length: count }, (_, n) => `executable=/bin/${n % 2 === 0 ? "true" : "false"}\nqueue\n`);
    const said = await there(["condor_submit", "-terse", ...words], {
      input: `hold=true\n${jobs.join("")}`,
      machine: at,
    });
    return Number(/(\d+)\.0\s*$/.exec(said)?.[1]);
  };
  const [first, second] = [await next(one, "first", 1), await next(other, machine, 1)];
  if (first < second) await next(one, "first", second - first);
  if (second < first) await next(other, machine, first - second);
}

/** A user's home on a machine of the pool, as it is seen from here: the submit host has homes of its own. */
function homeOn(machine: Machine, user: TestUser): string {
  return machine === "first" ? user.home : join(place(), "submit/home", basename(user.home));
}

export interface Submission {
  /** What lies beside the submit file. */
  readonly files?: Readonly<Record<string, string>>;
  readonly user?: TestUser;
  /** Options of HTCondor's commands: another queue than the machine's own. */
  readonly queue?: readonly string[];
  readonly machine?: Machine;
}

/** A submitted job, in a directory of its own in the user's home. */
export class CondorJob {
  /** As the machine has it on which it was submitted. */
  readonly directory: string;
  /** Its cluster: the job is its process 0. */
  readonly cluster: string;

  readonly #user: TestUser;
  /** Options of HTCondor's commands: which queue it is in. */
  readonly #queue: readonly string[];
  readonly #machine: Machine;

  private constructor(
    directory: string,
    cluster: string,
    { user = USER, queue = [], machine = "first" }: Omit<Submission, "files">,
  ) {
    this.directory = directory;
    this.cluster = cluster;
    this.#user = user;
    this.#queue = queue;
    this.#machine = machine;
  }

  /**
   * Submits a job whose `wrapper` is the example's; files are transferred, as between machines that share nothing.
   *
   * @param lines of the submit file
   */
  static async submit(lines: readonly string[], submission: Submission = {}): Promise<CondorJob> {
    const { files = {}, user = USER, queue = [], machine = "first" } = submission;
    const outside = mkdtempSync(join(homeOn(machine, user), "gangway-condor-"));
    const directory = join(user.home, basename(outside));
    chownSync(outside, user.uid, user.gid);
    copyFileSync(join(EXAMPLES, "wrapper"), join(outside, "wrapper"));
    for (const [name, content] of Object.entries(files)) writeFileSync(join(outside, name), content, { mode: 0o755 });
    const common = ["output = out", "error = err", "log = log", "should_transfer_files = YES", "queue", ""];
    const said = await there(["sh", "-c", 'cd "$0" && condor_submit -terse "$@"', directory, ...queue], {
      input: [...lines, ...common].join("\n"),
      user,
      machine,
    });
    return new CondorJob(directory, said.split(".")[0] ?? "", submission);
  }

  /** Waits until its launch runs, and is told by `gangway ps`. */
  async running(launch = `${this.cluster}.0`): Promise<void> {
    await eventually(`job ${launch} runs`, 60, async () => {
      const jobs = (await runThere(["gangway", "ps"])).stdout;
      return jobs.split("\n").some((line) => line.startsWith(`${launch} `) && line.includes("running"));
    });
  }

  /**
   * Puts the file `go` into the job's directory, for which it waits: not by a session, as the job's end cuts one that tells of it,
   * sometimes before its exit status is back.
   */
  release(): void {
    const here = `^ClusterId = ${this.cluster}$`;
    const touch = '! grep -q "$1" "$ad" || { touch "$(dirname "$ad")/go"; exit; }';
    const script = `for ad in "$0"/dir_*/.job.ad; do ${touch}; done; exit 1`;
    asRoot(["sh", "-c", script, join(place(), "execute"), here]);
  }

  /** Waits for its end, and gives its exit code as HTCondor has it. */
  async exitCode(): Promise<number> {
    await there(["sh", "-c", 'cd "$0" && condor_wait -wait 120 log', this.directory], { user: this.#user });
    const said = /\(return value (\d+)\)/.exec(this.read("log"))?.[1];
    return said === undefined ? Number.NaN : Number(said);
  }

  /** Runs `condor_ssh_to_job`. */
  async ssh(words: readonly string[], options: { input?: string; user?: TestUser } = {}): Promise<RunResult> {
    return await runThere(["condor_ssh_to_job", "-auto-retry", this.cluster, ...words], options);
  }

  /** What HTCondor says of it: an attribute of its ad, in the queue. */
  async attribute(name: string): Promise<string> {
    return await there(["condor_q", ...this.#queue, this.cluster, "-af", name], { machine: this.#machine });
  }

  read(name: string): string {
    return readFileSync(join(this.directory, name), "utf8");
  }

  async remove(): Promise<void> {
    await runThere(["condor_rm", ...this.#queue, this.cluster], { user: this.#user, machine: this.#machine });
    const directory = join(homeOn(this.#machine, this.#user), basename(this.directory));
    // HTCondor's last line of the job's log may come just then.
    await eventually("its directory can be removed", 20, () => {
      try {
        rmSync(directory, { recursive: true, force: true });
        return true;
      } catch (error) {
        if (error instanceof Error && "code" in error && error.code === "ENOTEMPTY") return false;
        throw error;
      }
    });
  }
}

/** Puts the example's wrapper for all jobs into the pool's configuration; undone by what is returned. */
export function withSiteWrapper(): () => void {
  const scripts = join(place(), "etc/htcondor");
  mkdirSync(scripts, { recursive: true });
  for (const name of ["wrapper", "site-wrapper", "enter"]) copyFileSync(join(EXAMPLES, name), join(scripts, name));
  // Each starter reads the configuration anew.
  const file = "/etc/condor/config.d/99-site-wrapper";
  asRoot(["sh", "-c", `echo 'USER_JOB_WRAPPER = ${scripts}/site-wrapper' >${file}`]);
  return () => {
    asRoot(["rm", "-f", file]);
  };
}

/** Puts the example's Apptainer in the place of the pool's; undone by what is returned. */
export function withAttachedApptainer(): () => void {
  const scripts = join(place(), "etc/htcondor");
  mkdirSync(scripts, { recursive: true });
  copyFileSync(join(EXAMPLES, "apptainer"), join(scripts, "apptainer"));
  const file = "/etc/condor/config.d/99-apptainer";
  asRoot(["sh", "-c", `echo 'SINGULARITY = ${scripts}/apptainer' >${file}`]);
  return () => {
    asRoot(["rm", "-f", file]);
  };
}

/** Waits until no container of the user's jobs in the pool is left, and no process: other tests use the same engine. */
export async function nothingRuns(): Promise<void> {
  await untilEmpty("what still runs", async () => {
    const jobs = (await there(["gangway", "ps", "--quiet"])).split("\n");
    const containers = jobs.filter((job) => /^\d+\.\d+/.test(job)).join("\n");
    const processes = asRoot(["sh", "-c", `pgrep -u ${USER.uid} -a -f '${runBase()}/[0-9]' || :`]);
    return `${containers}\n${processes}`;
  });
}

/** The same, and no private directory of a job. */
export async function nothingLeft(): Promise<void> {
  await nothingRuns();
  await untilEmpty("what is left", () => asRoot(["find", runBase(), "-mindepth", "1", "-maxdepth", "1"]));
}

async function untilEmpty(what: string, ask: () => Promise<string> | string): Promise<void> {
  let found = "";
  const gone = eventually(what, 60, async () => {
    found = (await ask()).trim();
    return found === "";
  });
  await gone.catch((error: unknown) => {
    throw new Error(`${what}:\n${found}`, { cause: error });
  });
}
