import { closeSync, openSync, readSync } from "node:fs";
import { Command } from "commander";
import { GangwayError, JobError, reasonOf, STATUS, UsageError } from "../config/errors.ts";
import { parseDuration } from "../config/parse.ts";
import { printable } from "../config/printable.ts";
import { launcherSocketOf } from "../job/directory.ts";
import { type LauncherAddress, listKeys, revokeKey, signKey } from "../job/owner-client.ts";
import { isComment, type KeyEntry, LONGEST_COMMENT } from "../job/owner-protocol.ts";
import { relayKit } from "../session/carrier.ts";
import type { ManagedJob } from "../session/carriers/client.ts";
import { kitOf } from "../session/kit-of.ts";
import { type KitReply, renderKitReply } from "../session/kit-reply.ts";
import { type Found, resolveJob, type Seeker } from "../session/resolve.ts";
import { quoted } from "../udi/names.ts";
import { parsePublicKey, withoutComment } from "../udi/public-keys.ts";
import { configure, type Owner, ownerOf } from "./context.ts";
import { print } from "./output.ts";
import { notHere, type OwnJob, ownJob } from "./own-job.ts";
import { seekerOf } from "./reach.ts";
import { renderTable } from "./table.ts";

const LARGEST_INPUT = 64 * 1024;

export function command(): Command {
  const key = new Command("gangway key").description(
    "Keys of your own for a running job: signed for a time, and ended.",
  );
  const user = ["-u, --user <USER>", "whose job it is (root only)"] as const;
  key
    .command("authorize")
    .description("Has a public key signed for a job: prints a certificate, by which that key enters the job's nodes.")
    .argument("<job>", "[NODE.]JOB")
    .argument("[file]", "the public key; else it is read from standard input")
    .option("--for <TIME>", "how long it shall be good, such as 8h or 7d; else as the setting keyLifetime says")
    .option("--comment <TEXT>", "what `gangway key list` calls it; else the key's own comment")
    .option("--kit", "for a program: everything that a client elsewhere needs, a line each")
    .option("--here", "with --kit: not for a job that runs on another host")
    .option(...user)
    .action(authorize);
  key
    .command("list")
    .description("The keys that were signed for a job.")
    .argument("<job>", "the job")
    .option("--json", "for programs")
    .option(...user)
    .action(list);
  key
    .command("revoke")
    .description("Ends a key for a job, and the sessions that came in by it.")
    .argument("<job>", "the job")
    .argument("<key>", "its serial number, its fingerprint, or all")
    .option(...user)
    .action(revoke);
  return key;
}

interface Reached extends OwnJob {
  readonly launcher: LauncherAddress;
}

async function reach(text: string, user: string | undefined): Promise<Reached> {
  const owner: Owner = ownerOf(user);
  const found = await ownJob(await configure({}), owner, text);
  return { ...found, launcher: { path: launcherSocketOf(found.job), identity: owner.identity } };
}

interface AuthorizeOptions {
  readonly for?: string;
  readonly comment?: string;
  readonly kit?: boolean;
  readonly here?: boolean;
  readonly user?: string;
}

async function authorize(text: string, file: string | undefined, options: AuthorizeOptions): Promise<void> {
  const seconds = options.for === undefined ? undefined : lifetime(options.for);
  if (options.comment !== undefined && !isComment(options.comment)) {
    throw wrong(
      `--comment ${quoted(options.comment)}: not a line of at most ${LONGEST_COMMENT} characters`,
      "shorten it",
    );
  }
  const owner = ownerOf(options.user);
  const config = await configure({});
  const seeker = seekerOf(config, owner);
  const mayRelay = options.kit === true && options.here !== true && options.user === undefined;
  const found = await resolveJob(seeker, text, async (readings) => {
    if (!mayRelay) return undefined;
    const { askManagers } = await import("../session/carriers/managed.ts");
    return await askManagers(readings, text);
  });
  if (found.where === "elsewhere" && !mayRelay) throw notHere(found);
  const publicKey = onlyKey(readInput(file), file ?? "standard input");
  if (found.where !== "here") {
    // What it is called goes with the key, and through no shell.
    const key = options.comment === undefined ? publicKey : `${withoutComment(publicKey)} ${options.comment}`;
    const way = { seeker, runDirectory: config.values.runDirectory, text, publicKey: key, seconds };
    print(renderKitReply(await relay(found, way)));
    return;
  }
  const reached = { ...found, launcher: { path: launcherSocketOf(found.job), identity: owner.identity } };
  const signed = await signKey(reached.launcher, {
    publicKey,
    ...(seconds === undefined ? {} : { seconds }),
    ...(options.comment === undefined ? {} : { comment: options.comment }),
  });
  print(options.kit === true ? renderKitReply(kitOf(reached, signed)) : `${signed.certificate}\n`);
  if (options.kit !== true && process.stderr.isTTY === true) {
    process.stderr.write(
      `gangway: signed for job ${reached.job.id} until ${signed.expires}, serial ${signed.serial}\n`,
    );
  }
}

interface RelayWay {
  readonly seeker: Seeker;
  readonly runDirectory: string | undefined;
  readonly text: string;
  readonly publicKey: string;
  readonly seconds: number | undefined;
}

/** By ssh to the job's host; where that does not get there, by its workload manager. */
async function relay(found: Exclude<Found, { where: "here" }> | ManagedJob, way: RelayWay): Promise<KitReply> {
  if (found.where === "managed") return await relayManaged(found, way);
  const { host, reading } = found;
  try {
    return await relayKit({ host, reading, publicKey: way.publicKey, seconds: way.seconds });
  } catch (error) {
    const { askInstead } = await import("../session/carriers/managed.ts");
    return await relayManaged(await askInstead(error, reading, way.text), way);
  }
}

async function relayManaged(managed: ManagedJob, { seconds, ...way }: RelayWay): Promise<KitReply> {
  if (seconds !== undefined) {
    throw wrong(
      `--for: a key is signed through ${managed.title} for as long as the setting keyLifetime says`,
      "leave it out",
    );
  }
  const { relayManagedKit } = await import("../session/relay-managed.ts");
  return await relayManagedKit({ ...way, managed });
}

/** Whole seconds; a part of one is one more. */
function lifetime(text: string): number {
  try {
    const milliseconds = parseDuration(text, { kind: "flag", name: "--for" });
    if (milliseconds > 0) return Math.ceil(milliseconds / 1000);
  } catch (error) {
    if (!(error instanceof GangwayError)) throw error;
    throw wrong(error.message, error.hint ?? "");
  }
  throw wrong(`--for ${text}: no time at all`, 'write a duration such as "30m", "8h" or "7d"');
}

function wrong(message: string, hint: string): UsageError {
  return new UsageError(message, { ...(hint === "" ? {} : { hint }), exitCode: STATUS.usage });
}

function readInput(file: string | undefined): string {
  if (file === undefined && process.stdin.isTTY === true) {
    throw wrong("no public key was given", "name its file, or: gangway key authorize JOB < ~/.ssh/id_ed25519.pub");
  }
  const buffer = Buffer.alloc(LARGEST_INPUT + 1);
  let length = 0;
  try {
    const descriptor = file === undefined ? 0 : openSync(file, "r");
    try {
      for (let read = -1; read !== 0 && length < buffer.length; length += read) {
        read = readSync(descriptor, buffer, length, buffer.length - length, null);
      }
    } finally {
      if (file !== undefined) closeSync(descriptor);
    }
  } catch (error) {
    const what = file === undefined ? "standard input" : quoted(file);
    throw wrong(
      `the public key cannot be read from ${what}: ${whyUnreadable(error)}`,
      "name a .pub file that you can read",
    );
  }
  if (length > LARGEST_INPUT) throw wrong(`${file ?? "standard input"} is no public key: it is too long`, GIVE_PUB);
  return buffer.toString("utf8", 0, length);
}

function whyUnreadable(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "ENOENT" || code === "ENOTDIR") return "there is no such file";
  if (code === "EISDIR") return "it is a directory";
  if (code === "EACCES") return "you may not read it";
  return reasonOf(error);
}

const GIVE_PUB = "give the contents of one .pub file, a line TYPE BASE64 COMMENT";

/** The one key of a text; blank lines and comments do not count. */
function onlyKey(text: string, from: string): string {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== "" && !line.trimStart().startsWith("#"));
  const [line, second] = lines;
  if (line === undefined) throw wrong(`no public key was given: ${from} is empty`, GIVE_PUB);
  if (/^-----BEGIN .*PRIVATE KEY/.test(line)) {
    throw wrong(`${from} is a private key, which must stay where it is`, "give the contents of its .pub file");
  }
  if (line.startsWith("---- BEGIN SSH2 PUBLIC KEY")) {
    throw wrong(`${from} is a public key in another form (RFC 4716)`, "convert it: ssh-keygen -i -f FILE");
  }
  if (second !== undefined) throw wrong(`${from} has ${lines.length} lines, and one key is signed at a time`, GIVE_PUB);
  try {
    parsePublicKey(line);
  } catch (error) {
    if (!(error instanceof GangwayError)) throw error;
    throw wrong(`${from}: ${error.message}`, error.hint ?? GIVE_PUB);
  }
  return line;
}

async function list(text: string, options: { json?: boolean; user?: string }): Promise<void> {
  const { launcher } = await reach(text, options.user);
  const keys = await listKeys(launcher);
  if (options.json === true) {
    print(`${JSON.stringify(keys)}\n`);
    return;
  }
  const now = new Date();
  const rows = keys.map((key) => [
    key.serial,
    stateOf(key, now),
    key.signed,
    key.expires,
    String(key.sessions),
    key.fingerprint,
    key.comment,
  ]);
  print(renderTable([["SERIAL", "STATE", "SIGNED", "EXPIRES", "SESSIONS", "FINGERPRINT", "COMMENT"], ...rows]));
}

function stateOf({ revoked, expires }: KeyEntry, now: Date): string {
  if (revoked) return "revoked";
  return new Date(expires) <= now ? "expired" : "good";
}

async function revoke(text: string, which: string, options: { user?: string }): Promise<void> {
  const { launcher, job } = await reach(text, options.user);
  const keys = await listKeys(launcher);
  const meant = keys.filter((key) =>
    which === "all" ? !key.revoked : which === key.serial || which === key.fingerprint,
  );
  if (meant.length === 0 && which !== "all") {
    const known = keys.map(({ serial, comment }) => `${serial} (${printable(comment)})`).join(", ");
    throw new JobError(`no key ${quoted(which)} was signed for job ${job.id}`, {
      hint: known === "" ? "none was signed for it" : `signed were ${known}`,
      exitCode: STATUS.usage,
    });
  }
  for (const { serial, comment } of meant) {
    const sessions = await revokeKey(launcher, serial);
    const ended = sessions === 1 ? "1 connection was" : `${sessions} connections were`;
    print(`revoked key ${serial}${comment === "" ? "" : ` (${printable(comment)})`}; ${ended} open by it and ended\n`);
  }
  if (meant.length === 0) print("there was no key to revoke\n");
}
