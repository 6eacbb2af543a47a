import { lstatSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { GangwayError, JobError, reasonOf, STATUS } from "../config/errors.ts";
import { readOwnFile } from "../config/own-file.ts";
import { launcherSocketOf } from "../job/directory.ts";
import type { Finding } from "../job/doctor.ts";
import { readIndex } from "../job/index-entry.ts";
import type { LocalNode, RunningLocalJob } from "../job/local-jobs.ts";
import { listKeys } from "../job/owner-client.ts";
import type { KeyEntry } from "../job/owner-protocol.ts";
import { fingerprintOf } from "../udi/keys.ts";
import { parsePublicKey } from "../udi/public-keys.ts";
import { carry, UnreachedError } from "./carrier.ts";
import { type Carrier, checkCarrier } from "./carrier-name.ts";
import type { ManagedJob } from "./carriers/client.ts";
import { askManagers } from "./carriers/managed.ts";
import { runChild } from "./child.ts";
import { entryManaged } from "./entry-managed.ts";
import { withPrivateDirectory } from "./private-directory.ts";
import { refusalsIn } from "./refusals.ts";
import { type Found, resolveJob, type Seeker } from "./resolve.ts";
import { sshProgram } from "./ssh-client.ts";
import { includeLines } from "./user-ssh.ts";
import { readBanner, tcpSettings, whyNoTcp } from "./ways.ts";

const REFUSALS = 5;
/** Of a session that does nothing. */
const PATIENCE_S = 10;
/** Between the end of a job's container and that of its directory there is a moment. */
const LOOKS = 10;
const LOOK_MS = 200;

/** What was found, and whether one way works. */
export interface Examination {
  readonly findings: readonly Finding[];
  readonly reachable: boolean;
}

/**
 * Looks at a job as somebody does who wants to enter it: each way, really gone; the kit; the index; the refusals.
 *
 * @throws JobError with the status of what is the matter, where there is no job to be examined
 */
export async function examineJob(seeker: Seeker, text: string, runDirectory: string | undefined): Promise<Examination> {
  const found = await resolveJob(seeker, text, async (readings) => await askManagers(readings, text));
  if (found.where === "managed") return await examineManaged(seeker, text, found, runDirectory);
  if (found.where === "elsewhere") return await examineElsewhere(seeker, text, found, runDirectory);
  const { job, node } = found;
  const [socket, launcher] = await Promise.all([examineSocket(job, node), examineLauncher(job, seeker)]);
  const ways = [
    socket,
    ...(await examineTcp(node, (settings) => enter(job, node, settings), socket.state !== "fault")),
  ];
  const reachable = ways.some(({ state }) => state === "ok");
  if (!reachable) await stillRuns(seeker, text, launcher.ended);
  const refused = examineRefusals(job, node, seeker, launcher.keys);
  return {
    findings: [...ways, ...launcher.findings, examineKit(job, seeker), examineIndex(job, seeker), ...refused],
    reachable,
  };
}

/**
 * That no way leads to a job may be because it has just ended.
 *
 * @throws JobError that says so
 */
async function stillRuns(seeker: Seeker, text: string, ended: JobError | undefined): Promise<void> {
  for (let look = 0; look < LOOKS; look++) {
    await resolveJob(seeker, text);
    await pause(LOOK_MS);
  }
  if (ended !== undefined) throw ended;
}

interface Launcher {
  readonly keys: readonly KeyEntry[];
  readonly findings: readonly Finding[];
  /** It says that the job is ending, or is gone itself. */
  readonly ended?: JobError;
}

/** Only a launcher that does not answer is worth a word: without it no key is signed, and nothing is cleared up. */
async function examineLauncher(job: RunningLocalJob, { places }: Seeker): Promise<Launcher> {
  try {
    return { keys: await listKeys({ path: launcherSocketOf(job), identity: places.user }), findings: [] };
  } catch (error) {
    const ended = error instanceof JobError && error.exitCode === STATUS.ended ? { ended: error } : {};
    return { keys: [], findings: [fault("launcher", error)], ...ended };
  }
}

function fault(what: string, error: unknown, hint?: string): Finding {
  const said = hint ?? hintOf(error);
  return { what, state: "fault", detail: reasonOf(error), ...(said === undefined ? {} : { hint: said }) };
}

function hintOf(error: unknown): string | undefined {
  return error instanceof GangwayError ? error.hint : undefined;
}

const SILENT = "the node may be frozen, overloaded or out of memory";

async function examineSocket(job: RunningLocalJob, node: LocalNode): Promise<Finding> {
  const what = "way socket";
  const { socket } = node;
  if (socket === undefined) return { what, state: "limit", detail: `${node.name} is on another host` };
  const state = lstatSync(socket, { throwIfNoEntry: false });
  if (state === undefined) return fault(what, `${socket} is not there`, "did something clear that directory?");
  if (!state.isSocket()) return fault(what, `${socket} is no socket`, "something has put a file in its place");
  try {
    const banner = await readBanner(socket);
    await enter(job, node, []);
    return { what, state: "ok", detail: `${node.name} answers (${banner}), and a session works` };
  } catch (error) {
    return fault(what, `${node.name}: ${reasonOf(error)}`, hintOf(error) ?? SILENT);
  }
}

/**
 * @param enterBy a session with these settings of ssh's before the kit's
 * @param alive whether nothing speaks against the node: one that is silent on its socket, too, is not behind a firewall
 */
async function examineTcp(
  node: LocalNode,
  enterBy: (settings: readonly string[]) => Promise<void>,
  alive: boolean,
): Promise<Finding[]> {
  const what = "way tcp";
  if (node.port === 0) return [{ what, state: "limit", detail: `${node.name} ${whyNoTcp(node)}` }];
  const findings: Finding[] = [];
  for (const address of node.addresses) {
    const where = `${address} port ${node.port}`;
    try {
      const place = { address, port: node.port };
      const banner = await readBanner(place);
      await enterBy(tcpSettings(place));
      findings.push({ what, state: "ok", detail: `${where} answers (${banner}), and a session works` });
    } catch (error) {
      const silent = alive ? "a firewall, or a network that this host is not part of" : SILENT;
      const hint = hintOf(error) ?? silent;
      findings.push(fault(what, `${where}: ${reasonOf(error)}`, hint));
    }
  }
  return findings;
}

/** A session that does nothing, by the kit. @throws Error with ssh's last line */
async function enter(job: RunningLocalJob, node: LocalNode, settings: readonly string[]): Promise<void> {
  const config = join(job.directory, "kit/ssh_config");
  await runQuietly(sshProgram(job.record.udiImage), settings, config, node.principal);
}

async function runQuietly(ssh: string, settings: readonly string[], config: string, host: string): Promise<void> {
  const all = [...settings, "BatchMode=yes", `ConnectTimeout=${PATIENCE_S}`];
  const options = all.flatMap((setting) => ["-o", setting]);
  // ssh says on standard error what is the matter; the session's own output is none.
  const words = ["-c", 'exec "$@" 2>&1', "sh", ssh, ...options, "-F", config, "-T", "--", host, "true"];
  const { code, output } = await runChild("/bin/sh", words, { stdio: ["ignore", "pipe", "inherit"] });
  if (code === 0) return;
  const said = output.toString("utf8").trim().split("\n").at(-1) ?? `ssh ended with ${code}`;
  if (!said.includes("Permission denied")) throw new Error(said);
  throw new JobError(said, { hint: "its sshd answers, and refuses the job's own key: why is in the node's sshd.log" });
}

const KIT = ["ssh_config", "known_hosts", "id_ed25519", "id_ed25519-cert.pub"] as const;

function examineKit(job: RunningLocalJob, { places }: Seeker): Finding {
  const faults = KIT.flatMap((name) => {
    const path = join(job.directory, "kit", name);
    const state = lstatSync(path, { throwIfNoEntry: false });
    if (state === undefined) return [`${name} is missing`];
    if (!state.isFile() || state.uid !== places.user.uid) return [`${name} is not yours`];
    return (state.mode & 0o022) === 0 ? [] : [`others can write ${name}`];
  });
  const where = join(job.directory, "kit");
  if (faults.length === 0) return { what: "access kit", state: "ok", detail: where };
  return fault("access kit", `${where}: ${faults.join(", ")}`, "start the job again");
}

function examineIndex(job: RunningLocalJob, { places }: Seeker): Finding {
  const what = "plain ssh";
  const install = "gangway ssh-config --install";
  let config = "";
  try {
    config = readFileSync(join(places.home, ".ssh/config"), "utf8");
  } catch {
    // There is none, or it cannot be read: then it includes nothing.
  }
  if (!includeLines().every((line) => config.includes(line))) {
    return { what, state: "limit", detail: `ssh ${job.id}.job does not find it yet`, hint: `let it: ${install}` };
  }
  const entry = readIndex(places.user, places.home).find((known) => known.job === job.id);
  if (entry?.directory === job.directory) return { what, state: "ok", detail: `ssh ${job.id}.job finds it` };
  return { what, state: "limit", detail: `job ${job.id} is not in ~/.gangway/ssh`, hint: `call it again: ${install}` };
}

function examineRefusals(
  job: RunningLocalJob,
  node: LocalNode,
  { places }: Seeker,
  keys: readonly KeyEntry[],
): Finding[] {
  const what = "refused";
  try {
    const log = readOwnFile(join(job.directory, String(node.index), "sshd.log"), places.user.uid);
    const { authority } = job.record;
    const fingerprint = authority === undefined ? undefined : fingerprintOf(parsePublicKey(authority).blob);
    const surroundings = { job: job.id, authority: fingerprint, keys, now: new Date() };
    return refusalsIn(log, surroundings, REFUSALS).map(({ reason, hint }) => ({
      what,
      state: "limit",
      // sshd writes no times into its log.
      detail: `${node.name}, at some time: ${reason}`,
      hint,
    }));
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT" ? [] : [fault("sshd.log", error)];
  }
}

/** By ssh to the job's host; where that does not get there, its manager may lead there, as for `gangway ssh`. */
async function examineElsewhere(
  seeker: Seeker,
  target: string,
  { host, reading }: Extract<Found, { where: "elsewhere" }>,
  runDirectory: string | undefined,
): Promise<Examination> {
  const other = (what: string): Finding => ({ what, state: "limit", detail: `the job runs on ${host}` });
  const near = [other("way socket"), other("way tcp")];
  try {
    await withPrivateDirectory(seeker.places, runDirectory, async (directory) => {
      const carrier: Carrier = { host: checkCarrier(host), ssh: sshProgram(undefined), held: true };
      const { configFile, name } = await carry(carrier, reading, directory);
      await runQuietly(carrier.ssh, [], configFile, name);
    });
    const way: Finding = { what: "way ssh", state: "ok", detail: `through ${host}, and a session works` };
    return { findings: [...near, way], reachable: true };
  } catch (error) {
    const byManager = await askManagers([reading], target).catch(() => undefined);
    const instead = byManager && (await examineManaged(seeker, target, byManager, runDirectory).catch(() => undefined));
    const ways = instead?.findings.filter(({ what }) => near.every((known) => known.what !== what)) ?? [];
    return { findings: [...near, sshFault(error), ...ways], reachable: instead?.reachable ?? false };
  }
}

/** With what ssh said last. */
function sshFault(error: unknown): Finding {
  const finding = fault("way ssh", error);
  const said = error instanceof UnreachedError ? error.said.trim().split("\n").at(-1) : undefined;
  return said === undefined || said === "" ? finding : { ...finding, detail: `${finding.detail} (${said})` };
}

async function examineManaged(
  seeker: Seeker,
  target: string,
  managed: ManagedJob,
  runDirectory: string | undefined,
): Promise<Examination> {
  const { way, title, host } = managed;
  const what = `way ${way}`;
  const request = { seeker, target, way, runDirectory };
  const other = (name: string): Finding => ({ what: `way ${name}`, state: "limit", detail: `the job runs on ${host}` });
  try {
    await entryManaged(request, managed, async ({ configFile, host: name }) => {
      await runQuietly(sshProgram(undefined), [], configFile, name);
    });
    const detail = `${title} carries to ${host}, and a session works`;
    return { findings: [other("socket"), other("tcp"), { what, state: "ok", detail }], reachable: true };
  } catch (error) {
    // There is nothing to be examined: none of Gangway's, somebody else's, or it has ended.
    if (error instanceof JobError && error.exitCode !== STATUS.unreachable) throw error;
    return { findings: [other("socket"), other("tcp"), fault(what, error)], reachable: false };
  }
}
