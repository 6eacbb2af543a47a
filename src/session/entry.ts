import { lstatSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { monotonicMs } from "../config/clock.ts";
import { JobError, reasonOf, STATUS, UsageError } from "../config/errors.ts";
import { connectorOf, sshSocketOf } from "../job/kit.ts";
import { renderKitConfig } from "../udi/ssh-config.ts";
import { type Carrier, checkCarrier } from "./carrier-name.ts";
import type { Guess, ManagedJob } from "./carriers/client.ts";
import { Interrupted } from "./child.ts";
import { assembleConfig, type ConfigParts, hasUserConfig, needsFile, tcpDirectives } from "./entry-config.ts";
import { checkLogin, type Entry, type EntryRequest } from "./entry-request.ts";
import { FOREIGN_SPAWN, withForeignKit } from "./foreign-kit.ts";
import { goneSince } from "./gone.ts";
import type { ManagedStart } from "./managed-start.ts";
import { withPrivateDirectory } from "./private-directory.ts";
import { type Found, resolveJob } from "./resolve.ts";
import { sshProgram } from "./ssh-client.ts";
import { type Reading, readingsOf } from "./target.ts";
import { findTcp, hasSocket, isManagerWay, readBanner, socketOf, type TcpPlace, type Way } from "./ways.ts";

/** How long a job may take to have ended when its node is there no more. */
const ENDING_MS = 5000;
const ENDING_STEP_MS = 100;

/** What is done with an entry, while it is there. */
type Work<T> = (entry: Entry) => Promise<T>;
type FoundHere = Extract<Found, { where: "here" }>;

/**
 * Finds a job and prepares what a client program needs to enter it; what was made for that is gone when the work is done.
 *
 * Each kind of way has a function of its own that makes an {@link Entry}, and the client programs know none of them.
 *
 * @throws JobError, UsageError with the exit statuses of docs/internals.md, section 10
 */
export async function withEntry<T>(request: EntryRequest, work: Work<T>): Promise<T> {
  const { target, via } = request;
  if (via !== undefined && request.way !== undefined && request.way !== "ssh") {
    throw new UsageError(`--connect ${request.way} is no way beside --via: from there on the host ${via} chooses`, {
      hint: `leave one of the two out; or: ssh ${via} gangway ssh --connect ${request.way} ${target}`,
      exitCode: STATUS.usage,
    });
  }
  if (via !== undefined) {
    const carrier: Carrier = { host: checkCarrier(via), ssh: sshProgram(undefined) };
    return await entryThrough(request, carrier, readingsOf(target)[0], work);
  }
  if (isManagerWay(request.way)) {
    const { askManager } = await import("./carriers/managed.ts");
    return await byManager(request, await askManager(request.way, readingsOf(target), target, request.queue), work);
  }
  let start: ManagedStart | undefined;
  try {
    const found = await resolveJob(request.seeker, target, async (readings) => {
      if (request.way !== undefined) return undefined;
      const { questionFor } = await import("./carriers/managed.ts");
      const question = questionFor(readings, target);
      if (question === undefined) return undefined;
      if (request.foreign !== undefined) return await question.ask();
      start = await startManaged(request, request.retried === true ? undefined : question.guess);
      const asked = question.ask();
      start?.prepare();
      return await asked;
    });
    return await enterFound(request, found, work, start);
  } finally {
    await start?.close();
  }
}

async function enterFound<T>(
  request: EntryRequest,
  found: Found | ManagedJob,
  work: Work<T>,
  start: ManagedStart | undefined,
): Promise<T> {
  switch (found.where) {
    case "managed":
      return await byManager(request, found, work, start);
    case "here":
      // A manager was asked in vain: what was begun for its way does not wait for the session's end.
      await start?.close();
      return await entryHere(request, found, work);
    case "elsewhere":
      if (request.way === "socket" || request.way === "tcp") throw notHere(found, request.way);
      return await entryElsewhere(request, found, work);
  }
}

/** Where ssh does not get to the job's host, on many clusters for nobody, its manager may. */
async function entryElsewhere<T>(
  request: EntryRequest,
  { host, reading }: Extract<Found, { where: "elsewhere" }>,
  work: Work<T>,
): Promise<T> {
  let entered = false;
  try {
    const carrier: Carrier = { host: checkCarrier(host), ssh: sshProgram(undefined), held: request.way === undefined };
    return await entryThrough(request, carrier, reading, async (entry) => {
      entered = true;
      return await work(entry);
    });
  } catch (error) {
    if (entered || request.way !== undefined) throw error;
    const { askInstead } = await import("./carriers/managed.ts");
    return await byManager(request, await askInstead(error, reading, request.target), work);
  }
}

/** What carries by a manager is loaded only here: a job of this host needs none of it. */
async function byManager<T>(
  request: EntryRequest,
  managed: ManagedJob,
  work: Work<T>,
  start?: ManagedStart,
): Promise<T> {
  const { entryManaged } = await import("./entry-managed.ts");
  return await entryManaged(request, managed, work, start);
}

/** What a manager's answer is not needed for. Where it fails, whoever enters the job without it is told why. */
async function startManaged(request: EntryRequest, guess: Guess | undefined): Promise<ManagedStart | undefined> {
  const { ManagedStart } = await import("./managed-start.ts");
  try {
    return ManagedStart.open(request, guess);
  } catch {
    return undefined;
  }
}

function notHere({ host, reading }: Extract<Found, { where: "elsewhere" }>, way: Way): JobError {
  return new JobError(`job ${reading.job} runs on ${host}: ${way} is no way from here`, {
    hint: `leave --connect out, or name a host that reaches it: --via ${host}`,
    exitCode: STATUS.unreachable,
  });
}

/** By the job's access kit, which is on this host. */
async function entryHere<T>(request: EntryRequest, found: FoundHere, work: Work<T>): Promise<T> {
  const { job, node } = found;
  const { foreign, placeholders = [], userConfig } = request;
  const user = (foreign ?? { name: job.record.user }).name;
  checkLogin(request, user);
  if (request.way === "ssh") {
    throw new UsageError("--connect ssh needs a host to go through: the job runs on this one", {
      hint: "add --via HOST, or leave --connect out",
      exitCode: STATUS.usage,
    });
  }
  const place = await tcpPlaceOf(request, found);
  const parts = {
    host: node.principal,
    placeholders,
    settings: place === undefined ? [] : tcpDirectives(place),
    userConfig,
  };
  const explain = async (interrupted: NodeJS.Signals | undefined) => {
    if (interrupted === undefined) await explainFailure(request, found);
  };
  const ours = !hasUserConfig(userConfig) && foreign === undefined;
  if (foreign !== undefined) {
    // What the job's record says of programs is its user's word: root executes its own.
    const entry = { host: node.principal, user, udiImage: foreign.udiImage, ours, spawning: FOREIGN_SPAWN, explain };
    return await withForeignKit(foreign, found, placeholders, async (base, directory) => {
      return await work({ ...entry, configFile: assembleConfig({ ...parts, base }, directory) });
    });
  }
  const extra = placeholders.length === 0 ? {} : { extra: placeholderBlock(request, found) };
  const all: ConfigParts = { ...parts, ...extra, base: join(job.directory, "kit/ssh_config") };
  const entry = { host: node.principal, user, udiImage: job.record.udiImage, ours, spawning: {}, explain };
  if (!needsFile(all)) return await work({ ...entry, configFile: all.base });
  return await withPrivateDirectory(request.seeker.places, request.runDirectory, async (directory) => {
    return await work({ ...entry, configFile: assembleConfig(all, directory) });
  });
}

/** Undefined: by the socket. */
async function tcpPlaceOf({ way }: EntryRequest, { node }: FoundHere): Promise<TcpPlace | undefined> {
  if (way === "socket") socketOf(node);
  if (way === "socket" || (way === undefined && hasSocket(node))) return undefined;
  return await findTcp(node, { elsewhere: node.socket === undefined });
}

/** The node's block again, for what stands for it: the kit's own file has its names alone. */
function placeholderBlock({ placeholders = [] }: EntryRequest, { job, node }: FoundHere): string {
  const kit = join(job.directory, "kit");
  return renderKitConfig({
    user: job.record.user,
    connector: connectorOf(job.record.udiImage),
    identity: join(kit, "id_ed25519"),
    certificate: join(kit, "id_ed25519-cert.pub"),
    knownHosts: join(kit, "known_hosts"),
    nodes: [
      {
        names: [],
        placeholders,
        principal: node.principal,
        socket: sshSocketOf(job.directory, node.index),
        port: node.port,
      },
    ],
  });
}

/**
 * The client failed, or what ran by it ended with 255: was it the job, or its node? Returns where it was neither.
 *
 * @throws JobError that says what it was
 */
async function explainFailure({ seeker, target }: EntryRequest, before: FoundHere): Promise<void> {
  const until = monotonicMs() + ENDING_MS;
  for (;;) {
    const now = await resolveJob(seeker, target).catch((error: unknown) => {
      throw goneSince(before.job.id, error);
    });
    if (now.where !== "here") return;
    try {
      if (now.node.socket === undefined) await findTcp(now.node, { elsewhere: true });
      else await readBanner(ownSocket(now.node.socket));
      return;
    } catch (error) {
      const reason = reasonOf(error);
      // At a job's end init goes first, and only then its launcher, who says so.
      if (!/ECONNREFUSED|ENOENT/.test(reason) || monotonicMs() >= until) throw unreachable(before, reason);
    }
    await sleep(ENDING_STEP_MS);
  }
}

/** @throws Error for another file there: what answered by way of that would not be the node */
function ownSocket(path: string): string {
  const state = lstatSync(path, { throwIfNoEntry: false });
  if (state === undefined || state.isSocket()) return path;
  throw new Error(`${path} is no socket: something in the container has put another file in its place`);
}

function unreachable({ node, job }: FoundHere, reason: string): JobError {
  return new JobError(`${node.name} of job ${job.id} cannot be reached: ${reason}, asked once more`, {
    hint: `\`gangway doctor ${job.id}\` says more; the node may be frozen, overloaded or out of memory`,
    exitCode: STATUS.unreachable,
  });
}

/** Through ssh to the host on which the job's node runs. */
async function entryThrough<T>(request: EntryRequest, carrier: Carrier, reading: Reading, work: Work<T>): Promise<T> {
  const { seeker, way, runDirectory, placeholders = [], userConfig } = request;
  if (request.foreign !== undefined) {
    throw new UsageError("root enters other users' jobs on their own host only", {
      hint: `log in to ${carrier.host} as the job's user`,
      exitCode: STATUS.usage,
    });
  }
  if (way === "socket") {
    throw new UsageError("--connect socket is a way on the job's own host, not through another", {
      hint: "use --connect ssh with --via",
      exitCode: STATUS.usage,
    });
  }
  // What makes keys is loaded only here: a job of this host needs none.
  const { carry } = await import("./carrier.ts");
  const enter = async (directory: string) => {
    const { configFile: base, name, reply } = await carry(carrier, reading, directory, placeholders);
    checkLogin(request, reply.user);
    const settings = way === "tcp" ? carriedTcpDirectives(await findCarriedTcp(name, reply.tcp)) : [];
    return await work({
      configFile: assembleConfig({ host: name, placeholders, settings, base, userConfig }, directory),
      host: name,
      user: reply.user,
      udiImage: undefined,
      ours: false,
      spawning: {},
      explain: async (interrupted) => {
        if (interrupted !== undefined) throw new Interrupted(interrupted);
      },
    });
  };
  return await withPrivateDirectory(seeker.places, runDirectory, enter, { guarded: true });
}

/** The address is the other side's word and becomes HostName: no control master is made, or taken, by that name. */
function carriedTcpDirectives(place: TcpPlace): (readonly [string, string])[] {
  return [["ControlMaster", "no"], ["ControlPath", "none"], ...tcpDirectives(place)];
}

/** Each address may have a port of its own. */
async function findCarriedTcp(name: string, places: readonly TcpPlace[]) {
  const port = places[0]?.port;
  if (port === undefined) {
    throw new JobError(`${name} does not listen on TCP, or has no network`, {
      hint: "--connect ssh is the way, by its host",
      exitCode: STATUS.unreachable,
    });
  }
  const addresses = places.filter((place) => place.port === port).map(({ address }) => address);
  return await findTcp({ name, port, addresses });
}
