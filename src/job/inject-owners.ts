import { EngineError, JobError, STATUS } from "../config/errors.ts";
import type { ForeignContainer, ForeignContainers } from "../engine/foreign.ts";
import { lastWords, runBesideContainer } from "./inject-carry.ts";
import { archiveFetcher } from "./inject-tree.ts";

/** What a path in a container is, and whose. */
export interface Owned {
  readonly type: "directory" | "file" | "other";
  /** As the container counts them. */
  readonly uid: number;
  readonly mode: number;
}

const LINE = /^(directory|other) (\d{1,10}) ([0-7]{1,4})$/;

/**
 * Whose some paths of a container are. Docker tells that in its archives. Podman says there of everything that the container's
 * own user has it: a program beside the container looks for itself (udiImage/src/inject_owners.h).
 *
 * @param udiImage the installed tree
 * @param paths absolute; a link is not followed
 * @returns for each, in order; undefined where there is nothing
 * @throws EngineError, JobError where it cannot be found out
 */
export async function ownersOf(
  engine: ForeignContainers,
  container: ForeignContainer,
  udiImage: string,
  paths: readonly string[],
): Promise<readonly (Owned | undefined)[]> {
  if (!(await engine.isPodman()))
    return await Promise.all(paths.map(async (path) => await headerOf(engine, container, path)));
  const refuse = (why: string) =>
    new JobError(`whose the directories of container ${container.name} are cannot be found out: ${why}`, {
      exitCode: STATUS.unreachable,
    });
  // What it would see as process 1 is then another's.
  if (!container.ownProcesses) throw refuse("Podman does not tell, and it shares its processes with others");
  const archive = (top: string) => archiveFetcher(udiImage, top);
  const result = await runBesideContainer(engine, container, archive, ["owners", ...paths]);
  const lines = result.output.split("\n");
  if (lines.length !== paths.length + 1) throw refuse(lastWords(result));
  return paths.map((_, index) => parseLine(lines[index] ?? ""));
}

async function headerOf(engine: ForeignContainers, { id }: ForeignContainer, path: string): Promise<Owned | undefined> {
  try {
    return await engine.header(id, path);
  } catch (error) {
    if (error instanceof EngineError && error.status === 404) return undefined;
    throw error;
  }
}

function parseLine(line: string): Owned | undefined {
  const [, type, uid, mode = ""] = LINE.exec(line) ?? [];
  if (type === undefined) return undefined;
  return { type: type === "directory" ? type : "other", uid: Number(uid), mode: Number.parseInt(mode, 8) };
}
