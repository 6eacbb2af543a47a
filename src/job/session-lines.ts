import { isSerial } from "./owner-protocol.ts";

/**
 * What init tells of the connections into its container (docs/internals.md, section 9). All of it was said by processes of
 * the container: each field is checked, and texts are text, whatever is in them.
 */
export type SessionMessage =
  | {
      readonly kind: "login";
      /** Init's number of the connection, from 1. */
      readonly connection: number;
      readonly way: "socket" | "tcp";
      /** `ADDRESS:PORT`; null by the socket. */
      readonly from: string | null;
      /** Decimal; "0": a plain key. */
      readonly serial: string;
      readonly fingerprint: string;
      readonly keyId: string | null;
    }
  | {
      readonly kind: "open";
      readonly connection: number;
      /** sshd's number of the session. */
      readonly session: number;
      readonly tty: string | null;
      readonly what: "shell" | "command" | "subsystem";
      /** Decoded: any text, control characters among it. */
      readonly command: string | null;
    }
  | {
      readonly kind: "close";
      readonly connection: number;
      readonly session: number;
      /** Null: the program still runs. */
      readonly exit: number | null;
    }
  | {
      readonly kind: "logout";
      readonly connection: number;
      /** Null: unknown. */
      readonly received: number | null;
      readonly sent: number | null;
    };

const FROM = /^(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9A-Fa-f:.]{2,45}(?:%[\w.-]{1,16})?\]):\d{1,5}$/;
const FINGERPRINT = /^SHA256:[A-Za-z0-9+/]{43}$/;
const TTY = /^\/dev\/pts\/\d{1,7}$/;

function number(word: string | undefined, most = Number.MAX_SAFE_INTEGER): number | undefined {
  if (word === undefined || !/^(?:0|[1-9]\d{0,15})$/.test(word)) return undefined;
  const value = Number(word);
  return value <= most ? value : undefined;
}

/** A word, or null for `-`; undefined for what has not the form. */
function orNone<T>(word: string | undefined, parse: (word: string) => T | undefined): T | null | undefined {
  if (word === undefined) return undefined;
  return word === "-" ? null : parse(word);
}

function matching(pattern: RegExp): (word: string) => string | undefined {
  return (word) => (pattern.test(word) ? word : undefined);
}

/**
 * Text as the senders encode it: printable ASCII without blanks, `%XX` for every other byte. Bytes that are no UTF-8 become
 * U+FFFD.
 *
 * @returns undefined for what they do not send
 */
export function decodeText(word: string): string | undefined {
  if (!/^(?:[\x21-\x24\x26-\x7e]|%[0-9A-Fa-f]{2})+$/.test(word)) return undefined;
  const bytes = word.replace(/%([0-9A-Fa-f]{2})/g, (_all, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, "latin1").toString("utf8");
}

/** @returns undefined for words that are not known, and for damaged lines */
export function parseSessionLine(word: string, rest: readonly string[]): SessionMessage | undefined {
  const connection = number(rest[0]);
  if (connection === undefined || connection === 0) return undefined;
  switch (word) {
    case "login":
      return parseLogin(connection, rest);
    case "open":
      return parseOpen(connection, rest);
    case "close": {
      const session = number(rest[1], 2 ** 31);
      const exit = orNone(rest[2], (code) => number(code, 255));
      return session === undefined || exit === undefined ? undefined : { kind: "close", connection, session, exit };
    }
    case "logout": {
      const received = orNone(rest[1], (count) => number(count));
      const sent = orNone(rest[2], (count) => number(count));
      if (received === undefined || sent === undefined) return undefined;
      return { kind: "logout", connection, received, sent };
    }
    default:
      return undefined;
  }
}

function parseLogin(
  connection: number,
  [, way, origin, serial, print, id]: readonly string[],
): SessionMessage | undefined {
  if (way !== "socket" && way !== "tcp") return undefined;
  const from = orNone(origin, matching(FROM));
  const keyId = orNone(id, decodeText);
  if (from === undefined || keyId === undefined || !isSerial(serial)) return undefined;
  if (print === undefined || !FINGERPRINT.test(print)) return undefined;
  return { kind: "login", connection, way, from, serial, fingerprint: print, keyId };
}

function parseOpen(connection: number, [, id, terminal, what, text]: readonly string[]): SessionMessage | undefined {
  const session = number(id, 2 ** 31);
  const tty = orNone(terminal, matching(TTY));
  const command = orNone(text, decodeText);
  if (session === undefined || tty === undefined || command === undefined) return undefined;
  if (what !== "shell" && what !== "command" && what !== "subsystem") return undefined;
  return { kind: "open", connection, session, tty, what, command };
}
