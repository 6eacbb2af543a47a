import type { GangwayError } from "../config/errors.ts";
import { isNodeName } from "../config/host-name.ts";
import { isFingerprint } from "./identity.ts";

/** What a node process says on its standard output (docs/internals.md, section 11). */
export type Frame =
  /** It is there, and will dial. */
  | { readonly kind: "hello"; readonly node: string; readonly version: string; readonly fingerprint: string }
  /** It cannot go on. */
  | {
      readonly kind: "failed";
      readonly node: string;
      /** Exit code. */
      readonly code: number;
      readonly text: string;
      readonly hint?: string;
    }
  /** Said by a Gangway that speaks another protocol. */
  | { readonly kind: "foreign"; readonly protocol: number };

/** What srun keeps whole, with the newline. */
export const LONGEST_FRAME = 1024;
const MARK = "gangway-node";
export const FRAME_PROTOCOL = 1;
const VERSION = /^[0-9A-Za-z.+-]{1,64}$/;
/** A word that stands for no text. */
const NONE = "-";

/**
 * A frame as a line, without the newline. Texts that are too long for it are cut, between two characters, the hint first.
 *
 * @throws RangeError for a name, version or fingerprint that no frame can have
 */
export function formatFrame(frame: Exclude<Frame, { kind: "foreign" }>): string {
  if (!isNodeName(frame.node)) throw new RangeError(`${JSON.stringify(frame.node)} is no node's name`);
  const head = `${MARK} ${FRAME_PROTOCOL} ${frame.kind} ${frame.node}`;
  if (frame.kind === "hello") {
    if (!VERSION.test(frame.version)) throw new RangeError(`${JSON.stringify(frame.version)} is no version`);
    if (!isFingerprint(frame.fingerprint))
      throw new RangeError(`${JSON.stringify(frame.fingerprint)} is no fingerprint`);
    return `${head} ${frame.version} ${frame.fingerprint}`;
  }
  if (!isExitCode(frame.code)) throw new RangeError(`${frame.code} is no exit code`);
  const room = LONGEST_FRAME - 1 - `${head} ${frame.code}  `.length;
  const text = encodeWithin(frame.text, room - NONE.length);
  const hint = encodeWithin(frame.hint ?? "", room - text.length);
  return `${head} ${frame.code} ${text} ${hint}`;
}

/**
 * Parses a line that a node process, or anything on its host, wrote.
 *
 * @param line without the newline
 * @returns undefined for noise: what is no frame, or a damaged one
 */
export function parseFrame(line: string): Frame | undefined {
  if (line.length >= LONGEST_FRAME) return undefined;
  const [mark, protocol, kind, node, ...rest] = line.split(" ");
  if (mark !== MARK || protocol === undefined || !/^[1-9]\d{0,5}$/.test(protocol)) return undefined;
  if (Number(protocol) !== FRAME_PROTOCOL) return { kind: "foreign", protocol: Number(protocol) };
  if (node === undefined || !isNodeName(node)) return undefined;
  if (kind === "hello") return parseHello(node, rest);
  if (kind === "failed") return parseFailed(node, rest);
  return undefined;
}

function parseHello(node: string, words: readonly string[]): Frame | undefined {
  const [version = "", fingerprint = ""] = words;
  if (words.length !== 2 || !VERSION.test(version) || !isFingerprint(fingerprint)) return undefined;
  return { kind: "hello", node, version, fingerprint };
}

function parseFailed(node: string, words: readonly string[]): Frame | undefined {
  const [code = "", text = "", hint = ""] = words;
  if (words.length !== 3 || !/^\d{1,3}$/.test(code) || !isExitCode(Number(code))) return undefined;
  const [said, advised] = [decode(text), decode(hint)];
  if (said === undefined || advised === undefined) return undefined;
  return { kind: "failed", node, code: Number(code), text: said, ...(advised === "" ? {} : { hint: advised }) };
}

function isExitCode(code: number): boolean {
  return Number.isInteger(code) && code >= 0 && code <= 255;
}

/** The longest beginning of `text` whose percent-encoding has at most `room` characters. */
function encodeWithin(text: string, room: number): string {
  let word = "";
  for (const character of text) {
    // Half of a surrogate pair, alone, has no encoding.
    const encoded = encodeURIComponent(/^[\ud800-\udfff]$/.test(character) ? "\ufffd" : character);
    if (word.length + encoded.length > room) break;
    word += encoded;
  }
  if (word === NONE) return room >= 3 ? "%2D" : NONE;
  return word === "" ? NONE : word;
}

/** Undefined for what {@link encodeWithin} does not write. */
function decode(word: string): string | undefined {
  if (word === NONE) return "";
  if (!/^[\x21-\x7e]+$/.test(word)) return undefined;
  try {
    return decodeURIComponent(word);
  } catch {
    return undefined;
  }
}

/** The frame by which a node process says why it ends. */
export function failureFrame(node: string, error: GangwayError): string {
  const { message: text, hint, exitCode: code } = error;
  return formatFrame({ kind: "failed", node, code, text, ...(hint === undefined ? {} : { hint }) });
}
