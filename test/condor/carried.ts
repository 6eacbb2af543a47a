import { join } from "node:path";
import { eventually, type RunResult, USER } from "../job/harness.ts";
import { asRoot, type Machine, place, runBase, runThere } from "./condor.ts";

/* Sessions that condor_ssh_to_job carries, from the host that only submits, which has neither an engine nor a way to a container. */

/** So long without a word is death, in the sessions that are killed: more than a busy machine is silent while one begins. */
export const SILENCE = "6s";

/** The far end, among the processes of the user that are in a job of this pool: other tests have such, too. */
export const FAR_END = "^\\S*(node .*gangway |connector --)carried";

/** Who of a session's processes is killed, and where. */
export const VICTIMS = {
  "gangway here": ["submit", "^\\S*node .*gangway ssh"],
  "its ssh": ["submit", "^\\S*/ssh .*via[.]condor"],
  "the pump": ["submit", "^\\S*/connector --near"],
  "the guard": ["submit", "^/bin/sh -c dir="],
  "the tool": ["submit", "condor_ssh_to_job .*-ssh"],
  "the tool's own ssh": ["submit", "^ssh -F none"],
  "the tool's sshd": ["first", "^sshd(-session)?: "],
  "the far end": ["first", FAR_END],
} as const satisfies Readonly<Record<string, readonly [Machine, string]>>;
export type Victim = keyof typeof VICTIMS;

/** Lines `PID COMMAND` of the user's processes; on the machine that runs jobs, of those in jobs of this pool, unless it is said. */
export function processesOn(machine: Machine, pattern: string, { inJobs = machine === "first" } = {}): string[] {
  // sshd writes its state over its environment: it is known by its file, which is this machine's alone.
  const inJob = `grep -qzs '^_CONDOR_SCRATCH_DIR=${join(place(), "execute")}/' /proc/$pid/environ ||
    [ /proc/$pid/exe -ef /usr/lib/openssh/sshd-session ] || continue`;
  const script = `pgrep -u ${USER.name} -a -f "$0" | while read -r pid command; do ${inJobs ? inJob : ":"}
    echo "$pid $command"; done`;
  return asRoot(["bash", "-c", script, pattern], machine)
    .split("\n")
    .filter((line) => line !== "" && !line.includes("pgrep"));
}

/** Kills one of a session's processes, by SIGKILL. @throws Error where there is none */
export function kill(victim: Victim): void {
  const [machine, pattern] = VICTIMS[victim];
  killAll(machine, pattern);
}

/** The same for all of the user's that a pattern fits, as {@link processesOn} finds them. */
export function killAll(machine: Machine, pattern: string, options: { inJobs?: boolean } = {}): void {
  const pids = processesOn(machine, pattern, options).map((line) => line.split(" ")[0] ?? "");
  if (pids.length === 0) throw new Error(`there is no process ${pattern}`);
  // Of several one may end by the other's death.
  asRoot(
    ["sh", "-c", 'for pid; do kill -KILL "$pid" && killed=1; done 2>/dev/null; [ -n "$killed" ]', "sh", ...pids],
    machine,
  );
}

/** Processes and files of carriers on both machines; those of condor_ssh_to_job and of its sshd among them. */
function left(scratch: boolean): string {
  const here = processesOn(
    "submit",
    "^\\S*node |connector --near|gangway-guard|condor_ssh_to_job|^ssh |via[.]condor|dir=",
  );
  const there = processesOn("first", `${FAR_END}|^sshd|^sleep 4321`);
  const names = "-name '.session*' -o -name '*condor_ssh_to_job*' -o -name 'carrier-*'";
  const find = (...places: string[]) => ["sh", "-c", `find ${places.join(" ")} ${names} 2>/dev/null || :`];
  const files = [
    asRoot(find("/tmp", "/var/tmp", "/dev/shm", "/run", "/home"), "submit"),
    asRoot(find("/tmp", "/var/tmp", runBase(), ...(scratch ? [join(place(), "execute")] : []))),
  ];
  return [...here, ...there, ...files].join("\n").trim();
}

/**
 * Waits until nothing of any carrier is left, on either machine.
 *
 * @param scratch whether in the job's scratch directory neither: where the client is killed while HTCondor's starter makes the
 *   files of its sshd, it leaves them there until the job ends, of its own client, too
 */
export async function nothingLeft({ scratch = true } = {}): Promise<void> {
  let found = "";
  await eventually("nothing of a carrier is left", 40, () => {
    found = left(scratch);
    return found === "";
  }).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${found}`);
  });
}

let count = 0;

/** Starts a session of the submit host's whose command waits, and waits until it does. @returns its end: the exit status */
export async function waitingSession(job: string): Promise<{ readonly ended: Promise<number> }> {
  count += 1;
  const command = `sleep 4321${String(count).padStart(4, "0")}`;
  const words = ["env", `GANGWAY_NODE_SILENCE=${SILENCE}`, "gangway", "ssh", job, `exec ${command}`];
  const running = runThere(words, { machine: "submit" });
  await commandRuns(command, running);
  return { ended: running.then(({ code }) => code) };
}

/** Waits for a session's command. @throws Error that tells how the session has ended, where it has before */
export async function commandRuns(command: string, session: Promise<RunResult>): Promise<void> {
  let end: RunResult | undefined;
  void session.then((result) => {
    end = result;
  });
  await eventually(`the command runs: ${command}`, 40, () => {
    if (end !== undefined) throw new Error(`the session has ended before its command ran: ${JSON.stringify(end)}`);
    return processesOn("first", `^${command}`).length > 0;
  });
}

/** Starts such a session and kills gangway so many milliseconds later. @returns the exit status */
export async function killedAfter(job: string, ms: number): Promise<number> {
  const script = `GANGWAY_NODE_SILENCE=${SILENCE} gangway ssh ${job} 'exec sleep 4321' & sleep ${ms / 1000}; kill -KILL $!; wait $!`;
  return (await runThere(["sh", "-c", script], { machine: "submit" })).code;
}
