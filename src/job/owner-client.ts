import { lstatSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { basename, dirname } from "node:path";
import { JobError, STATUS } from "../config/errors.ts";
import { asUser, callerIdentity, type Identity } from "../config/identity.ts";
import {
  type ConnectionEntry,
  type KeyEntry,
  type OwnerReply,
  type OwnerRequest,
  parseOwnerReply,
  type SignedKey,
  type SignRequest,
} from "./owner-protocol.ts";

/** Characters, of all replies to a request: whoever asks may be root, and who answers is the user. */
const LONGEST_REPLY = 64 * 1024;
/** More than the table of any job's keys or sessions takes: 20,000 of them. */
const LONGEST_TABLE = 4 * 1024 * 1024;
/** A launcher answers at once; one that was stopped (SIGSTOP) never does. */
const PATIENCE_MS = 5000;
/** Beyond the grace time: for the job's end. */
const STOP_PATIENCE_MS = 10_000;

/** A launcher has not answered in time. */
export class SilentLauncherError extends JobError {}

/** Where a job's launcher is asked. */
export interface LauncherAddress {
  /** Of `launcher.sock`. */
  readonly path: string;
  /** Whose job it is; undefined: the caller's. Root connects in that user's name. */
  readonly identity?: Identity;
}

/** @throws JobError for what is no socket of the job's user, such as a link that root would follow */
function connect({ path, identity = callerIdentity() }: LauncherAddress): Socket {
  return asUser(identity, () => {
    const state = lstatSync(path, { throwIfNoEntry: false });
    if (state !== undefined && (!state.isSocket() || state.uid !== identity.uid)) {
      throw new JobError(`${path} is not the socket of the job's launcher`, {
        hint: "something else was put in its place; `gangway gc` clears what a dead launcher left",
      });
    }
    // connect(2) itself is done before this returns.
    return createConnection({ path });
  });
}

/**
 * The replies to one request; none where no launcher is behind the socket (any more).
 *
 * @param patienceMs how long all of it may take; undefined: as long as it takes
 */
async function* converse(
  address: LauncherAddress,
  request: OwnerRequest,
  patienceMs?: number,
): AsyncGenerator<OwnerReply> {
  const socket = connect(address);
  const timer =
    patienceMs === undefined ? undefined : setTimeout(() => socket.destroy(tooLate(address, patienceMs)), patienceMs);
  const longest = request.op === "keys" || request.op === "sessions" ? LONGEST_TABLE : LONGEST_REPLY;
  let received = 0;
  let text = "";
  let connected = false;
  socket.once("connect", () => {
    connected = true;
    socket.write(`${JSON.stringify(request)}\n`);
  });
  try {
    for await (const chunk of socket.setEncoding("utf8")) {
      const piece = String(chunk);
      received += piece.length;
      if (received > longest) throw new JobError("the job's launcher sent a reply that is too long");
      const searched = text.length;
      text += piece;
      for (let end = text.indexOf("\n", searched); end !== -1; end = text.indexOf("\n")) {
        const reply = parseOwnerReply(text.slice(0, end));
        text = text.slice(end + 1);
        if (reply === undefined) throw new JobError("the job's launcher sent a reply that is not understood", ANOTHER);
        if (reply.kind === "refused") {
          throw new JobError(`the launcher refused: ${reply.reason}`, {
            ...(reply.hint === undefined ? {} : { hint: reply.hint }),
            ...(reply.exitCode === undefined ? {} : { exitCode: reply.exitCode }),
          });
        }
        yield reply;
      }
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (!connected && (code === "ENOENT" || code === "ECONNREFUSED")) return;
    if (error instanceof JobError) throw error;
    if (code !== "ECONNRESET" && code !== "EPIPE")
      throw new JobError(`the launcher's socket ${address.path} cannot be used`, { cause: error });
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
  throw new JobError("the job's launcher was killed", {
    hint: "what it left is being cleared; see `gangway ps`",
    exitCode: STATUS.ended,
  });
}

const ANOTHER = { hint: "is it of another version than this program?" };

/**
 * Asks a job's launcher, and waits for the job's end; for `stop` no longer than the grace time and 10 s.
 *
 * @param path of its `launcher.sock`
 * @returns its exit code; undefined when there is no launcher (any more) behind the socket
 * @throws JobError when the launcher refuses, or goes away without a word; SilentLauncherError when it does not answer
 */
export async function askLauncher(
  path: string,
  request: Extract<OwnerRequest, { op: "wait" | "stop" }>,
  identity?: Identity,
): Promise<number | undefined> {
  const address = identity === undefined ? { path } : { path, identity };
  const patience = request.op === "stop" ? request.graceMs + STOP_PATIENCE_MS : undefined;
  for await (const reply of converse(address, request, patience)) {
    if (reply.kind === "ended") return reply.exitCode;
  }
  return undefined;
}

/** One question, one answer of the kind that belongs to it. */
async function ask<K extends OwnerReply["kind"]>(
  address: LauncherAddress,
  request: OwnerRequest,
  kind: K,
): Promise<Extract<OwnerReply, { kind: K }>> {
  for await (const reply of converse(address, request, PATIENCE_MS)) {
    if (reply.kind === "ended") throw new JobError("the job has just ended", { exitCode: STATUS.ended });
    if (!isKind(reply, kind)) throw new JobError("the job's launcher answered something else than was asked", ANOTHER);
    return reply;
  }
  throw new JobError("no launcher answers for this job", {
    hint: "it has just ended, or its launcher was killed; see `gangway ps`",
    exitCode: STATUS.ended,
  });
}

function tooLate({ path }: LauncherAddress, patienceMs: number): SilentLauncherError {
  const job = basename(dirname(path));
  return new SilentLauncherError(`the launcher of job ${job} does not answer (within ${patienceMs / 1000} s)`, {
    hint: "was it stopped (SIGSTOP, or ^Z)? `kill -CONT` to its process lets it go on; `gangway stop` ends the job",
    exitCode: STATUS.unreachable,
  });
}

function isKind<K extends OwnerReply["kind"]>(reply: OwnerReply, kind: K): reply is Extract<OwnerReply, { kind: K }> {
  return reply.kind === kind;
}

/**
 * Has a public key of the owner's signed by the job's authority.
 *
 * @throws JobError when the launcher refuses (and why), and when none answers (exit status 69)
 */
export async function signKey(address: LauncherAddress, request: Omit<SignRequest, "op">): Promise<SignedKey> {
  return await ask(address, { op: "sign", ...request }, "signed");
}

/** The keys that the owner had signed for this job, oldest first. @throws JobError as {@link signKey} */
export async function listKeys(address: LauncherAddress): Promise<readonly KeyEntry[]> {
  return (await ask(address, { op: "keys" }, "keys")).keys;
}

/**
 * Ends a key that the owner had signed, and the connections that logged in by it.
 *
 * @param serial decimal
 * @returns how many connections that were
 * @throws JobError as {@link signKey}
 */
export async function revokeKey(address: LauncherAddress, serial: string): Promise<number> {
  return (await ask(address, { op: "revoke", serial }, "revoked")).sessions;
}

/** The job's open connections with their sessions. @throws JobError as {@link signKey} */
export async function listSessions(address: LauncherAddress): Promise<readonly ConnectionEntry[]> {
  return (await ask(address, { op: "sessions" }, "sessions")).sessions;
}
