import {
  closeSync,
  constants,
  fchmodSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { GangwayError, JobTakenError, reasonOf } from "../config/errors.ts";
import { asUser, type Identity } from "../config/identity.ts";
import { readOwnFile, withOwnFile } from "../config/own-file.ts";
import { formatIdentity, thisProcess } from "./process.ts";
import { removeTree } from "./remove-tree.ts";

/** What a running job is like (record.ts). */
export const RECORD_FILE = "job.json";
/** What becomes of it at the job's end: a directory with it is being removed, and the job is none any more. */
export const ENDED_FILE = "ended.json";
const LAUNCHER_FILE = "launcher";

/** Where the launcher of a job listens for its owner. @param job by its private directory */
export function launcherSocketOf({ directory }: { readonly directory: string }): string {
  return join(directory, "launcher.sock");
}

/**
 * A job's private directory in memory (docs/internals.md, section 3). Everything in it is done in the name of the
 * job's user: a launcher that runs as root follows no link that this user could have laid.
 */
export class JobDirectory {
  readonly path: string;
  readonly #identity: Identity;

  /** @param base BASE of docs/internals.md, checked */
  constructor(base: string, jobId: string, identity: Identity) {
    this.path = join(base, jobId);
    this.#identity = identity;
  }

  /**
   * Sees to it that nothing of another job is taken for ours.
   *
   * @throws JobTakenError when there is a job of that name
   */
  claim(): void {
    if (asUser(this.#identity, () => lstatSync(this.path, { throwIfNoEntry: false })) !== undefined)
      throw this.#taken();
  }

  /**
   * @throws JobTakenError when the job has one already
   * @throws GangwayError when it cannot be made; then nothing of it is left
   */
  create(nodes: readonly number[]): void {
    this.#filing(() => {
      try {
        mkdirSync(this.path, { mode: 0o700 });
      } catch (error) {
        throw (error as NodeJS.ErrnoException).code === "EEXIST" ? this.#taken(error) : error;
      }
      try {
        writeFileSync(join(this.path, LAUNCHER_FILE), `${formatIdentity(thisProcess())}\n`, {
          flag: "wx",
          mode: 0o600,
        });
        mkdirSync(join(this.path, "kit"), { mode: 0o700 });
        for (const node of nodes) mkdirSync(this.node(node), { mode: 0o700 });
      } catch (error) {
        removeTree(this.path);
        throw error;
      }
    });
  }

  /** Whether another process, of that description (process.ts), made this directory here. */
  isOf(launcher: string): boolean {
    return asUser(this.#identity, () => {
      try {
        return readOwnFile(join(this.path, LAUNCHER_FILE), this.#identity.uid).trim() === launcher;
      } catch {
        return false;
      }
    });
  }

  /** Makes directories for nodes in a job's directory that is there. @throws JobTakenError when one has its own */
  addNodes(nodes: readonly number[]): void {
    this.#filing(() => {
      for (const node of nodes) mkdirSync(this.node(node), { mode: 0o700 });
    });
  }

  removeNode(index: number): void {
    asUser(this.#identity, () => removeTree(this.node(index)));
  }

  node(index: number): string {
    return join(this.path, String(index));
  }

  get launcherSocket(): string {
    return launcherSocketOf({ directory: this.path });
  }

  get kit(): string {
    return join(this.path, "kit");
  }

  /** Makes files that must not exist yet, each of a text or the pieces of one. The mode counts, whatever the umask. */
  write(directory: string, files: Readonly<Record<string, string | Iterable<string>>>, mode = 0o644): void {
    this.#filing(() => {
      for (const [name, content] of Object.entries(files)) {
        const path = join(directory, name);
        writeNew(path, typeof content === "string" ? [content] : content, mode);
      }
    });
  }

  /** Gives a file of the job's own directory another name, at once. */
  rename(from: string, to: string): void {
    this.#filing(() => renameSync(join(this.path, from), join(this.path, to)));
  }

  /** Writes over a file in place: the inode stays, so that a container that has it mounted sees the new content. */
  rewrite(directory: string, name: string, content: string | Uint8Array): void {
    const bytes = Buffer.from(content);
    this.#filing(() =>
      withOwnFile(join(directory, name), this.#identity.uid, constants.O_WRONLY, (descriptor) => {
        writeFileSync(descriptor, bytes);
        // Afterwards: whoever reads meanwhile finds too much rather than nothing.
        ftruncateSync(descriptor, bytes.length);
      }),
    );
  }

  /** Adds to a file, which need not be what was put there: the directory is the job user's. */
  append(directory: string, name: string, content: string): void {
    this.#filing(() =>
      withOwnFile(join(directory, name), this.#identity.uid, constants.O_WRONLY | constants.O_APPEND, (descriptor) =>
        writeFileSync(descriptor, content),
      ),
    );
  }

  /** Runs something that makes files here, such as a socket. */
  as<T>(action: () => T): T {
    const work: () => unknown = action;
    return asUser(this.#identity, work) as T;
  }

  /** @throws GangwayError for what the file system refuses: it is full before all */
  #filing(work: () => void): void {
    try {
      asUser(this.#identity, work);
    } catch (error) {
      if (error instanceof GangwayError || (error as NodeJS.ErrnoException).code === undefined) throw error;
      throw new GangwayError(`the job's private files cannot be written: ${reasonOf(error)} (in ${this.path})`, {
        hint: "make room there, or set runDirectory to another directory in memory",
        cause: error,
      });
    }
  }

  #taken(cause?: unknown): JobTakenError {
    return new JobTakenError(`there is a job "${basename(this.path)}" already`, {
      hint: "choose another --name, or see `gangway ps`; what a killed launcher left, `gangway gc` removes",
      cause,
    });
  }

  /** Whose it was can be told until the end: who removes it may be killed, and others go on. */
  remove(): void {
    asUser(this.#identity, () => {
      try {
        renameSync(join(this.path, RECORD_FILE), join(this.path, ENDED_FILE));
      } catch {
        // It never ran, or its owner has put something else there.
      }
      removeTree(this.path, [LAUNCHER_FILE, ENDED_FILE]);
    });
  }
}

/** Characters of a text that is written piece by piece. */
const WRITTEN_AT_ONCE = 64 * 1024;

/** So that a long text never stands in memory as a whole, and as bytes beside it. */
function writeNew(path: string, pieces: Iterable<string>, mode: number): void {
  const file = openSync(path, "wx", mode);
  try {
    let text = "";
    for (const piece of pieces) {
      text += piece;
      if (text.length < WRITTEN_AT_ONCE) continue;
      writeFileSync(file, text);
      text = "";
    }
    writeFileSync(file, text);
    fchmodSync(file, mode);
  } finally {
    closeSync(file);
  }
}
