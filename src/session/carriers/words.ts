import type { Readable } from "node:stream";
import { GangwayError, JobError, STATUS } from "../../config/errors.ts";
import { printable } from "../../config/printable.ts";
import { connectorOf } from "../../job/kit.ts";
import { parseOwnerReply } from "../../job/owner-protocol.ts";
import { isJobId, isNodeName, jobHost } from "../../udi/names.ts";
import { renderKitReply } from "../kit-reply.ts";

/** What the first line of each direction begins with: whatever else stands before it is the carrier's, or a start-up file's. */
const MARK = "gangway-carried 1 ";
/** Bytes of such a line; a certificate is 630. */
const LONGEST_LINE = 64 * 1024;
/** Bytes that may come before it. */
const MOST_NOISE = 256 * 1024;
/** What of that is kept for a message. */
const KEPT_NOISE = 4096;
/** Milliseconds without a word that may be asked for. */
const SILENCE_MS = { least: 500, most: 3_600_000 } as const;

const MOST_PADDING = 64 * 1024;

/** Born for the session; the launcher takes the key itself apart. */
const PUBLIC_KEY = /^ssh-ed25519 [A-Za-z0-9+/]{40,200}={0,2}(?: [\w .@:-]{1,100})?$/;

/** Whether a key's line goes through a carrier as it is; without its comment any ed25519 key does. */
export function isCarriedKey(line: string): boolean {
  return PUBLIC_KEY.test(line);
}

/** What a client asks of the host to which it was carried. */
export interface CarriedRequest {
  readonly job: string;
  /** By name or number; undefined: the head. */
  readonly node?: string;
  /** TYPE BASE64 COMMENT, to be signed; undefined: the client has a key already. */
  readonly publicKey?: string;
  /** So long without a word, the other side is dead. */
  readonly silenceMs: number;
  /** Bytes that mean nothing, behind each small piece; undefined: none. */
  readonly padding?: number;
}

/** What it is told: the stream is the node's sshd's from now on, or why it is not. */
export type CarriedReply =
  /** `kit`: what `gangway key authorize --kit` prints; empty where no key was to be signed. */
  | { readonly kind: "ready"; readonly kit: string }
  | { readonly kind: "refused"; readonly exitCode: number; readonly message: string; readonly hint?: string };

/**
 * What is asked, as `connector --carried` passes it on: it is a request to the job's launcher, too (docs/internals.md, section 10),
 * which reads the key alone.
 */
type CarriedLine = CarriedRequest & { readonly op?: "sign" };

/** A line for the other side, in which nothing but printable ASCII stands. */
export function renderLine(message: CarriedLine | CarriedReply): string {
  const json = JSON.stringify(message);
  const plain = json.replaceAll(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return `${MARK}${plain}\n`;
}

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(line: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(line.slice(MARK.length));
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
  } catch {
    return undefined;
  }
}

/** @throws GangwayError for what is no request */
export function parseRequest(line: string): CarriedRequest {
  const fields = fieldsOf(line) ?? {};
  const { job, node, publicKey, silenceMs, padding } = fields;
  const isNode = node === undefined || (typeof node === "string" && isNodeName(node));
  const isKey = publicKey === undefined || (typeof publicKey === "string" && PUBLIC_KEY.test(publicKey));
  const isSilence =
    Number.isInteger(silenceMs) && Number(silenceMs) >= SILENCE_MS.least && Number(silenceMs) <= SILENCE_MS.most;
  const isPadding =
    padding === undefined || (Number.isInteger(padding) && Number(padding) >= 0 && Number(padding) <= MOST_PADDING);
  if (typeof job !== "string" || !isJobId(job) || !isNode || !isKey || !isSilence || !isPadding) {
    throw new GangwayError("what was asked is not understood", { hint: "is gangway there of another version?" });
  }
  return {
    job,
    ...(node === undefined ? {} : { node }),
    ...(publicKey === undefined ? {} : { publicKey }),
    silenceMs: Number(silenceMs),
    ...(padding === undefined ? {} : { padding: Number(padding) }),
  };
}

/** @throws JobError (exit status 76) for what is no reply */
export function parseReply(line: string): CarriedReply {
  const { kind, kit, exitCode, message, hint, record, answer } = fieldsOf(line) ?? {};
  if (kind === "ready" && typeof kit === "string") return { kind, kit };
  const head = kind === "head" ? parseHead(record, answer) : undefined;
  if (head !== undefined) return head;
  const isCode = typeof exitCode === "number" && Object.values(STATUS).some((status) => status === exitCode);
  if (kind === "refused" && typeof message === "string") {
    return {
      kind,
      exitCode: isCode ? exitCode : STATUS.unreachable,
      message: printable(message.slice(0, KEPT_NOISE)),
      ...(typeof hint === "string" ? { hint: printable(hint.slice(0, KEPT_NOISE)) } : {}),
    };
  }
  throw new JobError("the answer of the job's host is not understood", {
    hint: "is gangway there of another version?",
    exitCode: STATUS.unreachable,
  });
}

/** The record of a job, and its launcher's answer: what `connector --carried` understands nothing of. */
function parseHead(record: unknown, answer: unknown): CarriedReply | undefined {
  const reply = parseOwnerReply(JSON.stringify(answer ?? null));
  if (reply?.kind === "refused") {
    const { reason, hint, exitCode = STATUS.unreachable } = reply;
    return { kind: "refused", exitCode, message: reason, ...(hint === undefined ? {} : { hint }) };
  }
  const { job, user, udiImage, nodes } = asFields(record);
  const { name } = asFields(Array.isArray(nodes) ? nodes[0] : undefined);
  if (reply?.kind !== "signed" || ![job, user, udiImage, name].every(isPlain)) return undefined;
  const { certificate, authority } = reply;
  const principal = jobHost({ job: String(job), node: String(name) });
  const connector = connectorOf(String(udiImage));
  // By the carrier no client needs to know where the socket is: that it may not be said is no fault.
  const kit = { certificate, authority, principal, user: String(user), socket: connector, connector, tcp: [] };
  return { kind: "ready", kit: renderKitReply(kit) };
}

function asFields(value: unknown): Fields {
  return typeof value === "object" && value !== null ? (value as Fields) : {};
}

/** A word in a line of a kit, which is checked where that is read. */
function isPlain(value: unknown): value is string {
  return typeof value === "string" && /^[\x21-\x7e]{1,4096}$/.test(value);
}

/** The stream ended, or said too much, before the marked line came. */
export class NoLineError extends Error {
  /** The end of what came instead. */
  readonly noise: string;

  constructor(what: string, noise: string) {
    super(what);
    this.noise = noise;
  }
}

/**
 * Waits for the marked line, the first that begins with it, and leaves what comes behind it in the stream, which is paused.
 *
 * @param patienceMs how long at most
 * @returns the line
 * @throws NoLineError
 */
export async function readMarkedLine(stream: Readable, patienceMs: number): Promise<string> {
  let kept: Buffer = Buffer.alloc(0);
  let passed = 0;
  return await new Promise<string>((resolve, reject) => {
    const leave = () => {
      clearTimeout(timer);
      stream.off("data", take).off("end", end).off("error", end).off("close", end);
      stream.pause();
    };
    const fail = (what: string) => {
      leave();
      reject(new NoLineError(what, kept.subarray(-KEPT_NOISE).toString("utf8")));
    };
    const end = () => fail("it ended");
    const timer = setTimeout(() => fail(`nothing came within ${patienceMs / 1000} s`), patienceMs);
    const take = (chunk: Buffer) => {
      kept = Buffer.concat([kept, chunk]);
      const start = markIn(kept);
      const newline = start === -1 ? -1 : kept.indexOf(0x0a, start);
      if (newline !== -1) {
        leave();
        const rest = kept.subarray(newline + 1);
        if (rest.length > 0) stream.unshift(rest);
        resolve(kept.toString("utf8", start, newline));
        return;
      }
      if (start !== -1) {
        if (kept.length - start > LONGEST_LINE) fail("its first line is too long");
        return;
      }
      // A mark may have begun at the end of what is here.
      const cut = Math.max(0, kept.length - KEPT_NOISE);
      passed += cut;
      kept = kept.subarray(cut);
      if (passed > MOST_NOISE) fail("it says something else");
    };
    stream.on("data", take).on("end", end).on("error", end).on("close", end);
  });
}

/** Where the marked line begins; -1: nowhere yet. */
function markIn(bytes: Buffer): number {
  for (let at = bytes.indexOf(MARK); at !== -1; at = bytes.indexOf(MARK, at + 1)) {
    if (at === 0 || bytes[at - 1] === 0x0a) return at;
  }
  return -1;
}
