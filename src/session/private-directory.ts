import { lstatSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { GangwayError } from "../config/errors.ts";
import { readOwnFile } from "../config/own-file.ts";
import { openRunBase, type Places } from "../config/paths.ts";
import { formatIdentity, isGone, parseIdentity, thisProcess } from "../job/process.ts";

/** No job's id begins so: what looks for jobs in a run base passes these by. */
const PREFIX = ".session-";
/** As in a job's directory: by it `gangway gc` sees whose maker is dead. */
const OWNER_FILE = "launcher";

/**
 * Runs work with a directory in memory that nobody but the user can enter, in the same bases as the jobs' directories
 * (docs/internals.md, section 3), for the key and the configuration of one session. It is removed whatever happens; what
 * a killed process could not remove, the next call does, and `gangway gc`.
 *
 * @param places whose; this process must be that user's
 */
export async function withPrivateDirectory<T>(
  places: Places,
  configured: string | undefined,
  work: (path: string) => Promise<T>,
): Promise<T> {
  const base = openRunBase({ ...places, configured, job: `${PREFIX}${process.pid}`, nodes: 1 }).path;
  removeAbandoned(base, places.user.uid);
  const me = thisProcess();
  const path = join(base, `${PREFIX}${me.pid}-${me.start.split("@")[0]}`);
  try {
    mkdirSync(path, { mode: 0o700 });
    writeFileSync(join(path, OWNER_FILE), `${formatIdentity(me)}\n`, { flag: "wx", mode: 0o600 });
  } catch (error) {
    throw new GangwayError(`${path} cannot be made`, { hint: "is there room in that file system?", cause: error });
  }
  const remove = () => rmSync(path, { recursive: true, force: true });
  // Also where something calls process.exit.
  process.once("exit", remove);
  try {
    return await work(path);
  } finally {
    process.off("exit", remove);
    remove();
  }
}

function removeAbandoned(base: string, uid: number): void {
  for (const name of readdirSync(base).filter((entry) => entry.startsWith(PREFIX))) {
    const path = join(base, name);
    try {
      if (lstatSync(path).uid !== uid) continue;
      const maker = parseIdentity(readOwnFile(join(path, OWNER_FILE), uid).trim());
      if (maker !== undefined && isGone(maker)) rmSync(path, { recursive: true, force: true });
    } catch {
      // Being made or removed by another call at this moment.
    }
  }
}
