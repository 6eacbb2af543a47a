import { createWriteStream, lstatSync } from "node:fs";
import { createConnection, Socket } from "node:net";
import { hostname } from "node:os";
import type { Writable } from "node:stream";
import { isatty } from "node:tty";
import { GangwayError, JobError, reasonOf, STATUS, UsageError } from "../../config/errors.ts";
import type { Identity } from "../../config/identity.ts";
import { launcherSocketOf } from "../../job/directory.ts";
import { type LocalNode, localJobs, type RunningLocalJob, runningLocalJob } from "../../job/local-jobs.ts";
import { jobsLaunchedIn } from "../../job/manager-jobs.ts";
import { signKey } from "../../job/owner-client.ts";
import { kitOf } from "../kit-of.ts";
import { renderKitReply } from "../kit-reply.ts";
import { nodeOf } from "../target.ts";
import { Pump } from "./frames.ts";
import { launchHere } from "./launch-here.ts";
import { type CarriedReply, type CarriedRequest, parseRequest, readMarkedLine, renderLine } from "./words.ts";

/** A client asks at once. */
const REQUEST_MS = 30_000;
const CONNECT_MS = 20_000;
/** For what is still to be written at the end. */
const LAST_WORDS_MS = 5000;

export interface FarSide {
  readonly identity: Identity;
  /** The user's run bases on this host. */
  readonly bases: readonly string[];
}

/**
 * The carrier's end on the job's host: reads the request from standard input, answers on standard output, and copies then
 * between these and the node's sshd. It has no files, and is gone when either side is.
 *
 * @returns the exit status: 0 where something was carried, or refused in words
 */
export async function serveCarried(side: FarSide): Promise<number> {
  const incoming = standardInput();
  const outgoing = standardOutput();
  incoming.on("error", () => undefined);
  outgoing.on("error", () => undefined);
  const answer = (reply: CarriedReply) => outgoing.write(`\n${renderLine(reply)}`);
  let request: CarriedRequest;
  let local: Socket;
  try {
    request = parseRequest(await readMarkedLine(incoming, REQUEST_MS));
    const { job, node } = findNode(side, request);
    const [kit, socket] = await Promise.all([authorize(job, node, request.publicKey), connectTo(node)]);
    local = socket;
    answer({ kind: "ready", kit });
  } catch (error) {
    if (!(error instanceof GangwayError)) return 1;
    const { message, hint, exitCode } = error;
    answer({ kind: "refused", exitCode, message, ...(hint === undefined ? {} : { hint }) });
    await new Promise<void>((resolve) => outgoing.end(() => resolve()));
    return 0;
  }
  const { silenceMs, padding } = request;
  await new Pump(local, { incoming, outgoing, silenceMs, padding }).ended;
  // A carrier whose other end is dead takes nothing any more, and a write that waits for it would hold up even the exit.
  setTimeout(() => process.kill(process.pid, "SIGKILL"), LAST_WORDS_MS).unref();
  await new Promise<void>((resolve) => outgoing.end(() => resolve()));
  return 0;
}

/** @throws UsageError for a file, or nothing: no manager has started this */
function standardInput(): Socket {
  try {
    return new Socket({ fd: 0, readable: true, writable: false });
  } catch {
    throw new UsageError("gangway carried is started by a workload manager, which talks to it on its standard input", {
      hint: "use gangway ssh",
      exitCode: STATUS.usage,
    });
  }
}

/**
 * Not process.stdout: a write to it would hold up everything while nobody reads. To a terminal (`srun --pty`, by hand) only the pool of
 * threads writes without holding up.
 */
function standardOutput(): Writable {
  return isatty(1) ? createWriteStream("", { fd: 1 }) : new Socket({ fd: 1, readable: false, writable: true });
}

function findNode(side: FarSide, request: CarriedRequest): { job: RunningLocalJob; node: LocalNode } {
  const { identity, bases } = side;
  const launch = launchHere(side, request.job);
  if (launch === undefined) {
    throw new JobError(`${request.job} on ${hostname()} is what another queue's job of that number launched`, {
      hint: "of this one nothing runs in a container of Gangway's there, or not yet",
      exitCode: STATUS.noSuchJob,
    });
  }
  const job = runningLocalJob(identity, bases, launch) ?? onlyLaunch(side, request.job);
  if (job === undefined) throw missing(side, request.job);
  if (!job.record.sshd) {
    throw new JobError(`job ${job.id} takes no sessions: it was started without an sshd`, {
      exitCode: STATUS.unreachable,
    });
  }
  const node = nodeOf(job, request.node);
  if (node !== undefined) return { job, node };
  throw new JobError(`job ${job.id} has no node "${request.node ?? ""}"`, {
    hint: `it has ${job.nodes.map(({ name }) => name).join(", ")}`,
    exitCode: STATUS.noSuchJob,
  });
}

/** As a launch in a job of Slurm's is called that was given no name: 1234-r1 (begun anew), 12_3 (by its array's number). */
const UNNAMED = /^\d{1,10}(?:[_+]\d{1,10})?(?:-r\d{1,10})?(?:-\d{1,9})?$/;

/** The one launch that lives in the manager's job, where it goes by another of that job's own names. */
function onlyLaunch({ identity, bases }: FarSide, job: string): RunningLocalJob | undefined {
  const [only, another] = jobsLaunchedIn(identity, bases, job).filter(({ id }) => UNNAMED.test(id));
  return only === undefined || another !== undefined ? undefined : runningLocalJob(identity, bases, only.id);
}

/** The manager's job runs here, and nothing of Gangway's by its id: perhaps by another name, perhaps not yet. */
function missing({ identity, bases }: FarSide, job: string): JobError {
  const named = jobsLaunchedIn(identity, bases, job).map(({ id }) => id);
  const here = `on ${hostname()}`;
  if (named.length > 0) {
    return new JobError(`what was launched in job ${job} ${here} has another name: ${named.join(", ")}`, {
      hint: `a workload manager leads to launches without --name only; ${named.map((id) => `gangway ssh ${id}`).join(", or ")} works where the host is reached by ssh`,
      exitCode: STATUS.noSuchJob,
    });
  }
  const others = localJobs(identity, bases).map(({ id }) => id);
  return new JobError(`nothing that gangway launched as ${job} runs ${here}`, {
    hint:
      others.length === 0
        ? "it may not run yet, or on another of the job's hosts: name it, JOB.HOST"
        : `yours there: ${others.join(", ")}`,
    exitCode: STATUS.noSuchJob,
  });
}

/** @returns the lines of a kit; none where there is no key to be signed */
async function authorize(job: RunningLocalJob, node: LocalNode, publicKey: string | undefined): Promise<string> {
  if (publicKey === undefined) return "";
  return renderKitReply(kitOf({ job, node }, await signKey({ path: launcherSocketOf(job) }, { publicKey })));
}

/** The node's sshd: by its socket, or from another host of the job by TCP. ssh asks for its host key as ever. */
async function connectTo({ name, socket, addresses, port }: LocalNode): Promise<Socket> {
  const [host] = addresses;
  if (socket === undefined && (host === undefined || port === 0)) {
    throw new JobError(`${name} is on another host than ${hostname()}, and does not listen on TCP`, {
      hint: "name that host, where the workload manager knows it: JOB.HOST",
      exitCode: STATUS.unreachable,
    });
  }
  // It lies in a directory that the user alone can enter: nobody else can have made it.
  if (socket !== undefined && lstatSync(socket, { throwIfNoEntry: false })?.isSocket() !== true) {
    throw new JobError(`${name} does not take connections: ${socket} is no socket`, { exitCode: STATUS.unreachable });
  }
  const common = { allowHalfOpen: true } as const;
  const connection =
    socket === undefined
      ? createConnection({ ...common, host: host ?? "", port, noDelay: true })
      : createConnection({ ...common, path: socket });
  return await new Promise((resolve, reject) => {
    const fail = (error: Error) =>
      reject(new JobError(`${name} cannot be reached: ${reasonOf(error)}`, { exitCode: STATUS.unreachable }));
    const timer = setTimeout(
      () => connection.destroy(new Error(`no connection within ${CONNECT_MS / 1000} s`)),
      CONNECT_MS,
    );
    connection.once("error", fail);
    connection.once("connect", () => {
      clearTimeout(timer);
      connection.off("error", fail);
      // What it says first is the pump's.
      connection.pause();
      resolve(connection);
    });
  });
}
