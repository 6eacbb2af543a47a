import {
  closeSync,
  fchmodSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { GangwayError, systemReasonOf } from "../config/errors.ts";

/**
 * Our lines in a user's ~/.ssh/config: an Include at its very top, where it belongs to no Host or Match block and is
 * read first. Between the marks everything is ours, outside of them nothing.
 */
const BEGIN = "# >>> gangway >>>";
const END = "# <<< gangway <<<";
/** In our block, where there was no file before: taking the block away then takes the file away. */
const MADE = "# (gangway made this file)";

/** What a configuration text has of ours. */
interface Block {
  /** Offsets of its first character and of the first one behind it. */
  readonly start: number;
  readonly end: number;
  readonly madeFile: boolean;
}

/**
 * Finds our block.
 *
 * @throws GangwayError when the marks do not match: somebody edited them, and what is ours cannot be told any more
 */
function findBlock(text: string, path: string): Block | undefined {
  const marks: { line: number; start: number; end: number; begin: boolean }[] = [];
  let offset = 0;
  for (const [index, line] of text.split(/(?<=\n)/).entries()) {
    const bare = line.trim();
    if (bare === BEGIN || bare === END) {
      marks.push({ line: index + 1, start: offset, end: offset + line.length, begin: bare === BEGIN });
    }
    offset += line.length;
  }
  if (marks.length === 0) return undefined;
  const [first, second] = marks;
  if (marks.length !== 2 || first?.begin !== true || second?.begin !== false) {
    const there = marks.map(({ line, begin }) => `line ${line} "${begin ? BEGIN : END}"`).join(", ");
    throw new GangwayError(`${path}: the marks of gangway's block do not match (${there})`, {
      hint: `${damageHint(marks)}, and call this again; nothing was changed`,
    });
  }
  return { start: first.start, end: second.end, madeFile: text.slice(first.start, second.end).includes(MADE) };
}

/** @param marks that do not belong together */
function damageHint(marks: readonly { line: number; begin: boolean }[]): string {
  const [only, ...others] = marks;
  if (only === undefined || others.length > 0) return "remove these lines, and what is gangway's between them, by hand";
  return only.begin
    ? `its end "${END}" is gone: remove line ${only.line} and gangway's Include lines below it by hand`
    : `its begin "${BEGIN}" is gone: remove line ${only.line} and gangway's Include lines above it by hand`;
}

/**
 * The text with our block at its top, written anew where it is there already.
 *
 * @param text of the file; undefined: there is none
 * @param directives ssh_config lines for the block
 */
export function withBlock(text: string | undefined, directives: readonly string[], path: string): string {
  const rest = text === undefined ? undefined : withoutBlock(text, path);
  // A file that is only our block was made by us, and stays so.
  const made = rest === undefined;
  const newline = /\r\n/.test(rest ?? "") ? "\r\n" : "\n";
  const lines = [
    BEGIN,
    ...(made ? [MADE] : []),
    "# `gangway ssh-config --uninstall` takes this away.",
    ...directives,
    END,
  ];
  return `${lines.join(newline)}${newline}${rest ?? ""}`;
}

/** The text without our block; undefined: the file was ours alone, and goes with it. */
export function withoutBlock(text: string, path: string): string | undefined {
  const block = findBlock(text, path);
  if (block === undefined) return text;
  const rest = text.slice(0, block.start) + text.slice(block.end);
  return rest === "" && block.madeFile ? undefined : rest;
}

/** As many as the kernel follows. */
const MOST_LINKS = 40;

/** Follows links, also to a file that is not there yet: the link stays, and what it points to is made. */
function realFile(path: string): string {
  let file = path;
  for (let links = 0; links < MOST_LINKS; links++) {
    const place = join(realpathSync(dirname(file)), basename(file));
    if (lstatSync(place, { throwIfNoEntry: false })?.isSymbolicLink() !== true) return place;
    file = resolve(dirname(place), readlinkSync(place));
  }
  throw new GangwayError(`${path}: the links go round in a circle`, { hint: "nothing was changed" });
}

function read(path: string): string | undefined {
  try {
    // latin1 keeps every byte as it is, whatever the encoding.
    return readFileSync(path, "latin1");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Puts new content in a file's place at once: there is never half of it, and its mode stays. */
function replace(path: string, content: string): void {
  const mode = statSync(path, { throwIfNoEntry: false })?.mode ?? 0o600;
  const temporary = join(dirname(path), `.${basename(path)}.gangway-${process.pid}`);
  try {
    const file = openSync(temporary, "wx", 0o600);
    try {
      writeSync(file, content, null, "latin1");
      fchmodSync(file, mode & 0o777);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/**
 * Puts the block into a user's ssh configuration, or brings it up to date.
 *
 * @param path usually ~/.ssh/config; its directory is made where it is missing
 * @returns whether anything had to be changed
 * @throws GangwayError when the file cannot be read or written, or our block in it was damaged
 */
export function installBlock(path: string, directives: readonly string[]): boolean {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const file = realFile(path);
    const before = read(file);
    const after = withBlock(before, directives, path);
    if (after === before) return false;
    replace(file, after);
    return true;
  } catch (error) {
    throw explained(path, error);
  }
}

/**
 * Takes the block away; every other byte stays. A file that was made for it alone goes.
 *
 * @returns whether there was one
 */
export function removeBlock(path: string): boolean {
  try {
    const before = read(path);
    if (before === undefined) return false;
    const after = withoutBlock(before, path);
    if (after === before) return false;
    if (after === undefined) rmSync(realFile(path));
    else replace(realFile(path), after);
    return true;
  } catch (error) {
    throw explained(path, error);
  }
}

function explained(path: string, error: unknown): GangwayError {
  if (error instanceof GangwayError) return error;
  return new GangwayError(`${path} cannot be changed: ${systemReasonOf(error)}`, {
    hint: "nothing was changed; add the lines that `gangway ssh-config` prints by hand",
    cause: error,
  });
}
