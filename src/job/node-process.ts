import { writeSync } from "node:fs";
import { constants, hostname } from "node:os";
import { GangwayError, LAUNCHER_FAILED, reasonOf } from "../config/errors.ts";
import { isNodeName } from "../config/host-name.ts";
import { dial } from "../rendezvous/dial.ts";
import { failureFrame, formatFrame } from "../rendezvous/frames.ts";
import { generateChannelIdentity } from "../rendezvous/identity.ts";
import { heartbeat, Pulse } from "../rendezvous/pulse.ts";
import { NodeAgent, type Surroundings } from "./node-agent.ts";
import { NODE_PROTOCOL } from "./node-protocol.ts";

/** What a node process is told by its command line: all of it public. */
export interface NodeCall {
  readonly protocol: number;
  /** Version of the launcher's Gangway, and of ours. */
  readonly launcherVersion: string;
  readonly version: string;
  /** Whose job it is. */
  readonly uid: number;
  /** The launcher's addresses and port, and the fingerprint of its key. */
  readonly addresses: readonly string[];
  readonly port: number;
  readonly key: string;
  /** After so long without a word the launcher is dead, milliseconds. */
  readonly silenceMs: number;
}

/** How long the launcher is looked for. */
const DIAL_LIMIT_MS = 60_000;
/** How often it is looked whether who started this process is still there. */
const PARENT_CHECK_MS = 500;
/** The launcher decides what they mean: most are the job's command's. */
const HANDED_ON = ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM"] as const;

/**
 * The process on a host of a job: meets the launcher, does there what it says, and ends when nothing of the job is left.
 *
 * @returns the exit code
 */
export async function runNodeProcess(call: NodeCall, surroundings: Surroundings): Promise<number> {
  const name = ownName();
  const say = (frame: string) => writeAll(`${frame}\n`);
  try {
    check(call);
    const identity = generateChannelIdentity();
    // By this the launcher knows whose connection it is; it may well come after that.
    say(formatFrame({ kind: "hello", node: name, version: call.version, fingerprint: identity.fingerprint }));
    const { addresses, port, key, silenceMs } = call;
    const pulse = new Pulse(heartbeat(silenceMs));
    const launcher = await dial({ addresses, port, key, identity, pulse, timeoutMs: DIAL_LIMIT_MS });
    await serve(new NodeAgent(launcher, surroundings));
    return 0;
  } catch (error) {
    const known = error instanceof GangwayError ? error : new GangwayError(reasonOf(error), { cause: error });
    say(failureFrame(name, known));
    return LAUNCHER_FAILED;
  }
}

/**
 * As the manager calls this host, where it says so.
 *
 * @param host its own name, which need not be one that a node can have: then ssh tells the launcher whose the frame is
 */
export function ownName(environment: NodeJS.ProcessEnv = process.env, host: string = hostname()): string {
  const name = environment.SLURMD_NODENAME ?? host;
  return isNodeName(name) ? name : "unnamed";
}

function check({ protocol, uid, version, launcherVersion }: NodeCall): void {
  if (protocol !== NODE_PROTOCOL || version !== launcherVersion) {
    throw new GangwayError(`it has Gangway ${version}, and the launcher has ${launcherVersion}`, {
      hint: "install the same version of Gangway on every host",
    });
  }
  if (uid !== process.getuid?.()) {
    throw new GangwayError(`the job is user ${uid}'s, and this process runs as ${process.getuid?.()}`, {
      hint: "users must have the same numbers on every host",
    });
  }
}

async function serve(agent: NodeAgent): Promise<void> {
  const handlers = HANDED_ON.map((name) => {
    const handler = () => agent.signalled(constants.signals[name]);
    process.on(name, handler);
    return () => process.off(name, handler);
  });
  const parent = process.ppid;
  // srun does not tell when the process above us is killed, and nobody would end us at the job's end.
  const look = setInterval(() => {
    if (process.ppid !== parent) agent.fail(new GangwayError("the process that started it there is gone", ORPHANED));
  }, PARENT_CHECK_MS);
  try {
    await agent.run();
  } finally {
    clearInterval(look);
    for (const remove of handlers) remove();
  }
}

const ORPHANED = { hint: "the manager's own process was killed (slurmstepd), or the connection by ssh was cut" };

/** Whoever started us may be gone. */
function writeAll(text: string): void {
  try {
    writeSync(1, text);
  } catch {
    // Nobody hears us; then nobody connects us with a launch either.
  }
}
