import { hasControl } from "../udi/names.ts";

/**
 * What the owner of a job and its launcher say to each other over `launcher.sock`: a line of JSON each way
 * (docs/internals.md, section 10). Both sides parse strictly: the launcher may be of another version, and whoever asks
 * may be root, who believes nothing that a user's process says.
 */
export type OwnerRequest =
  | { readonly op: "wait" }
  | { readonly op: "stop"; readonly signal: number; readonly graceMs: number }
  | SignRequest
  | { readonly op: "keys" }
  | { readonly op: "revoke"; readonly serial: string }
  | { readonly op: "sessions" };

export interface SignRequest {
  readonly op: "sign";
  /** A public key line. */
  readonly publicKey: string;
  /** How long the certificate shall be good; absent: as long as the site says. */
  readonly seconds?: number;
  /** Absent: the key's own. */
  readonly comment?: string;
}

/** What comes back; "ended" closes the connection. */
export type OwnerReply =
  | { readonly kind: "ended"; readonly exitCode: number }
  | { readonly kind: "accepted" }
  | { readonly kind: "refused"; readonly reason: string; readonly hint?: string; readonly exitCode?: number }
  | ({ readonly kind: "signed" } & SignedKey)
  | { readonly kind: "keys"; readonly keys: readonly KeyEntry[] }
  | { readonly kind: "revoked"; readonly sessions: number }
  | { readonly kind: "sessions"; readonly sessions: readonly ConnectionEntry[] };

/** A certificate for a key that the owner brought. */
export interface SignedKey {
  /** The certificate's line, without a newline. */
  readonly certificate: string;
  /** Decimal; what the key is revoked by. */
  readonly serial: string;
  /** The public key line of the job's authority. */
  readonly authority: string;
  /** ISO 8601. */
  readonly expires: string;
}

/** A key that the owner brought, as the launcher remembers it. Times are ISO 8601. */
export interface KeyEntry {
  readonly serial: string;
  /** `SHA256:…` of the key. */
  readonly fingerprint: string;
  readonly comment: string;
  readonly signed: string;
  readonly expires: string;
  readonly revoked: boolean;
  /** Connections that logged in by it and are still open. */
  readonly sessions: number;
}

/** An open connection that has logged in. */
export interface ConnectionEntry {
  /** The node's name. */
  readonly node: string;
  /** The number that the node's init gave it. */
  readonly connection: number;
  readonly way: "socket" | "tcp";
  /** `ADDRESS:PORT`; null by the unix socket. */
  readonly from: string | null;
  readonly key: ConnectionKey;
  /** When it logged in. */
  readonly since: string;
  readonly sessions: readonly SessionEntry[];
}

export interface ConnectionKey {
  /** "0": a plain key. */
  readonly serial: string;
  readonly fingerprint: string;
  /** The certificate's key id; null where there is none. */
  readonly id: string | null;
}

/** A session of a connection: a shell, a command or a subsystem that runs. */
export interface SessionEntry {
  /** In the container; null: no terminal. */
  readonly tty: string | null;
  readonly kind: "shell" | "command" | "subsystem";
  /** As the client sent it; null for a shell. */
  readonly command: string | null;
  readonly since: string;
}

export const LONGEST_COMMENT = 256;
const LARGEST_SERIAL = 2n ** 64n - 1n;
/** A hundred years: what is meant to last longer is a mistake, and dates have an end. */
const MOST_SECONDS = 100 * 366 * 86_400;

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(line: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isFields(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether `text` is a certificate's serial number in decimal, as it is written here: 0 to 2^64-1. */
export function isSerial(text: unknown): text is string {
  return typeof text === "string" && /^(?:0|[1-9]\d{0,19})$/.test(text) && BigInt(text) <= LARGEST_SERIAL;
}

function isWhole(value: unknown, least: number, most: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= least && value <= most;
}

/** @returns undefined for what no owner of this version asks */
export function parseOwnerRequest(line: string): OwnerRequest | undefined {
  const fields = fieldsOf(line);
  switch (fields?.op) {
    case "wait":
    case "keys":
    case "sessions":
      return { op: fields.op };
    case "stop": {
      const { signal, graceMs } = fields;
      if (!isWhole(signal, 1, 64) || typeof graceMs !== "number" || !(graceMs >= 0)) return undefined;
      return { op: "stop", signal, graceMs };
    }
    case "sign":
      return parseSign(fields);
    case "revoke":
      return isSerial(fields.serial) ? { op: "revoke", serial: fields.serial } : undefined;
    default:
      return undefined;
  }
}

function parseSign({ publicKey, seconds, comment }: Fields): SignRequest | undefined {
  if (typeof publicKey !== "string") return undefined;
  if (seconds !== undefined && !isWhole(seconds, 1, MOST_SECONDS)) return undefined;
  if (comment !== undefined && !isComment(comment)) return undefined;
  return {
    op: "sign",
    publicKey,
    ...(seconds === undefined ? {} : { seconds }),
    ...(comment === undefined ? {} : { comment }),
  };
}

/** Whether a text can be the comment of a key that is signed: one short line. */
export function isComment(text: unknown): text is string {
  return typeof text === "string" && text.length <= LONGEST_COMMENT && !hasControl(text);
}

/** @returns undefined for what is no reply of this version; what is not known in it is left out */
export function parseOwnerReply(line: string): OwnerReply | undefined {
  const fields = fieldsOf(line);
  switch (fields?.kind) {
    case "ended":
      return isWhole(fields.exitCode, 0, 255) ? { kind: "ended", exitCode: fields.exitCode } : undefined;
    case "accepted":
      return { kind: "accepted" };
    case "refused": {
      const { reason, hint, exitCode } = fields;
      if (typeof reason !== "string") return undefined;
      return {
        kind: "refused",
        reason,
        ...(typeof hint === "string" ? { hint } : {}),
        ...(isWhole(exitCode, 1, 255) ? { exitCode } : {}),
      };
    }
    case "signed":
      return parseSigned(fields);
    case "keys": {
      const keys = everyOne(fields.keys, parseKey);
      return keys === undefined ? undefined : { kind: "keys", keys };
    }
    case "revoked":
      return isWhole(fields.sessions, 0, 1e9) ? { kind: "revoked", sessions: fields.sessions } : undefined;
    case "sessions": {
      const sessions = everyOne(fields.sessions, parseConnection);
      return sessions === undefined ? undefined : { kind: "sessions", sessions };
    }
    default:
      return undefined;
  }
}

function everyOne<T>(list: unknown, parse: (fields: Fields) => T | undefined): readonly T[] | undefined {
  if (!Array.isArray(list)) return undefined;
  const parsed = list.map((entry: unknown) => (isFields(entry) ? parse(entry) : undefined));
  return parsed.every((entry) => entry !== undefined) ? parsed : undefined;
}

/** One line of text: what of a reply may stand in a file or be printed by itself. */
function isLine(value: unknown): value is string {
  return typeof value === "string" && !hasControl(value);
}

function isTime(value: unknown): value is string {
  return isLine(value) && /^\d{4}-\d\d-\d\dT/.test(value) && !Number.isNaN(Date.parse(value));
}

function parseSigned({ certificate, serial, authority, expires }: Fields): OwnerReply | undefined {
  if (!isLine(certificate) || !isSerial(serial) || !isLine(authority) || !isTime(expires)) return undefined;
  return { kind: "signed", certificate, serial, authority, expires };
}

function parseKey({ serial, fingerprint, comment, signed, expires, revoked, sessions }: Fields): KeyEntry | undefined {
  const texts = isSerial(serial) && isLine(fingerprint) && isLine(comment) && isTime(signed) && isTime(expires);
  if (!texts || typeof revoked !== "boolean" || !isWhole(sessions, 0, 1e9)) return undefined;
  return { serial, fingerprint, comment, signed, expires, revoked, sessions };
}

function parseConnection(fields: Fields): ConnectionEntry | undefined {
  const { node, connection, way, from, key, since } = fields;
  if (!isLine(node) || !isWhole(connection, 1, Number.MAX_SAFE_INTEGER) || !isTime(since)) return undefined;
  if ((way !== "socket" && way !== "tcp") || (from !== null && !isLine(from)) || !isFields(key)) return undefined;
  const { serial, fingerprint, id } = key;
  if (!isSerial(serial) || !isLine(fingerprint) || (id !== null && typeof id !== "string")) return undefined;
  const sessions = everyOne(fields.sessions, parseSession);
  if (sessions === undefined) return undefined;
  return { node, connection, way, from, key: { serial, fingerprint, id }, since, sessions };
}

function parseSession({ tty, kind, command, since }: Fields): SessionEntry | undefined {
  if ((tty !== null && !isLine(tty)) || !isTime(since)) return undefined;
  if (kind !== "shell" && kind !== "command" && kind !== "subsystem") return undefined;
  return command === null || typeof command === "string" ? { tty, kind, command, since } : undefined;
}
