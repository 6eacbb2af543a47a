import { accessSync, constants, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { JobError, reasonOf, STATUS, UsageError } from "../config/errors.ts";
import { quoted } from "../udi/names.ts";
import { configPath } from "../udi/ssh-config.ts";
import { type Carrier, checkCarrier } from "./carrier-name.ts";
import { Interrupted, runChild } from "./child.ts";
import { FOREIGN_SPAWN, type Foreign, withForeignKit } from "./foreign-kit.ts";
import { withPrivateDirectory } from "./private-directory.ts";
import { type Found, resolveJob, type Seeker } from "./resolve.ts";
import { sshProgram } from "./ssh-client.ts";
import type { SshWords } from "./ssh-words.ts";
import { type Reading, readingsOf } from "./target.ts";
import { findTcp, hasSocket, readBanner, type TcpPlace, tcpSettings, type Way } from "./ways.ts";

/** Seconds that ssh waits for the node's sshd, unless the user says otherwise. */
const CONNECT_TIMEOUT_S = 30;

export interface EnterRequest {
  readonly seeker: Seeker;
  readonly words: SshWords;
  readonly target: string;
  /** Undefined: the best that is possible. */
  readonly way: Way | undefined;
  /** The setting runDirectory. */
  readonly runDirectory: string | undefined;
  /** Where root enters another user's job. */
  readonly foreign?: Foreign;
}

/**
 * Runs ssh into a job's container, with this process's own standard streams.
 *
 * @returns ssh's exit status
 * @throws JobError, UsageError with the exit statuses of docs/internals.md, section 10
 */
export async function enterJob(request: EnterRequest): Promise<number> {
  const { words, target } = request;
  if (words.via !== undefined) return await enterThrough(request, checkCarrier(words.via), readingsOf(target)[0]);
  const found = await resolveJob(request.seeker, target);
  if (found.where === "elsewhere") {
    if (request.way === "socket" || request.way === "tcp") throw notHere(found, request.way);
    return await enterThrough(request, checkCarrier(found.host), found.reading);
  }
  return await enterHere(request, found);
}

function notHere({ host, reading }: Extract<Found, { where: "elsewhere" }>, way: Way): JobError {
  return new JobError(`job ${reading.job} runs on ${host}: ${way} is no way from here`, {
    hint: `leave --connect out, or name a host that reaches it: --via ${host}`,
    exitCode: STATUS.unreachable,
  });
}

/** @throws JobError (exit status 64) for USER@JOB with a name that nobody has in the job */
function checkLogin({ words: { login }, target }: EnterRequest, user: string): void {
  if (login === undefined || login === user) return;
  throw new JobError(`${quoted(login)} cannot enter the job: only its own user, ${user}, may`, {
    hint: `leave the name out: gangway ssh ${target}`,
    exitCode: STATUS.usage,
  });
}

/** By the job's access kit, which is on this host. */
async function enterHere(request: EnterRequest, found: Extract<Found, { where: "here" }>): Promise<number> {
  const { job, node } = found;
  const { words } = request;
  checkLogin(request, (request.foreign ?? { name: job.record.user }).name);
  if (request.way === "ssh") {
    throw new UsageError("--connect ssh needs a host to go through: the job runs on this one", {
      hint: "add --via HOST, or leave --connect out",
      exitCode: STATUS.usage,
    });
  }
  const socket = request.way === "socket" || (request.way === undefined && hasSocket(node.socket));
  const way = socket ? [] : tcpOptions(await findTcp(node));
  const { foreign } = request;
  // What the job's record says of programs is its user's word: root executes its own.
  const program = sshProgram((foreign ?? job.record).udiImage);
  const spawning = foreign === undefined ? {} : FOREIGN_SPAWN;
  const run = async (config: string) => {
    const argv = argumentsOf(words, way, config, node.principal);
    return await runChild(program, argv, { stdio: "inherit", ...spawning });
  };
  const { code, interrupted } =
    foreign === undefined
      ? await withUserConfig(request, join(job.directory, "kit/ssh_config"), run)
      : await withForeignKit(foreign, job, (kit, directory) => run(besideUserConfig(request, kit, directory)));
  if (code === 255 && interrupted === undefined) await explainFailure(request, found);
  return code;
}

function tcpOptions(place: TcpPlace): string[] {
  return tcpSettings(place).flatMap((setting) => ["-o", setting]);
}

function argumentsOf({ options, command }: SshWords, way: readonly string[], config: string, host: string): string[] {
  const timeout = ["-o", `ConnectTimeout=${CONNECT_TIMEOUT_S}`];
  return [...options, ...way, ...timeout, "-F", config, "--", host, ...command];
}

/** `-F FILE` of the user's: read behind ours, so that it can add to it, and not turn it elsewhere. */
async function withUserConfig<T>(
  request: EnterRequest,
  ours: string,
  work: (config: string) => Promise<T>,
): Promise<T> {
  if (!hasUserConfig(request)) return await work(ours);
  const { seeker, runDirectory } = request;
  return await withPrivateDirectory(
    seeker.places,
    runDirectory,
    async (directory) => await work(besideUserConfig(request, ours, directory)),
  );
}

function hasUserConfig({ words: { configFile } }: EnterRequest): boolean {
  return configFile !== undefined && configFile !== "none";
}

/** @returns the file to give to ssh: ours alone, or one in the private directory that includes both */
function besideUserConfig(request: EnterRequest, ours: string, directory: string): string {
  const theirs = request.words.configFile;
  if (theirs === undefined || !hasUserConfig(request)) return ours;
  // An Include passes over what cannot be read; with -F ssh itself complains of it, and ends.
  if (!isReadable(resolve(theirs))) return resolve(theirs);
  const both = join(directory, "with_user_config");
  const lines = [ours, resolve(theirs)].map((file) => `Include ${configPath(file)}\n`);
  writeFileSync(both, lines.join(""), { flag: "wx", mode: 0o600 });
  return both;
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** ssh failed, or what ran by it ended with 255: was it the job, or its node? Returns where it was neither. */
async function explainFailure(
  { seeker, target }: EnterRequest,
  before: Extract<Found, { where: "here" }>,
): Promise<void> {
  const now = await resolveJob(seeker, target);
  if (now.where !== "here") return;
  try {
    await readBanner(now.node.socket);
  } catch (error) {
    throw new JobError(
      `${before.node.name} of job ${before.job.id} cannot be reached: ${reasonOf(error)}, asked once more`,
      {
        hint: `\`gangway doctor ${before.job.id}\` says more; the node may be frozen, overloaded or out of memory`,
        exitCode: STATUS.unreachable,
      },
    );
  }
}

/** Through ssh to the host on which the job's node runs. */
async function enterThrough(request: EnterRequest, host: string, reading: Reading): Promise<number> {
  const { seeker, words, way, runDirectory } = request;
  if (request.foreign !== undefined) {
    throw new UsageError("root enters other users' jobs on their own host only", {
      hint: `log in to ${host} as the job's user`,
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
  const carrier: Carrier = { host, ssh: sshProgram("") };
  return await withPrivateDirectory(seeker.places, runDirectory, async (directory) => {
    const { configFile, name, reply } = await carry(carrier, reading, directory);
    checkLogin(request, reply.user);
    const options = way === "tcp" ? carriedTcpOptions(await findCarriedTcp(name, reply.tcp)) : [];
    const { code, interrupted } = await withUserConfig(request, configFile, (config) =>
      runChild(carrier.ssh, argumentsOf(words, options, config, name)),
    );
    if (interrupted !== undefined && code === 255) throw new Interrupted(interrupted);
    return code;
  });
}

/** The address is the other side's word and becomes HostName: no control master is made, or taken, by that name. */
function carriedTcpOptions(place: TcpPlace): string[] {
  return ["-o", "ControlMaster=no", "-o", "ControlPath=none", ...tcpOptions(place)];
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
