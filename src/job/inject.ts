import { setTimeout as sleep } from "node:timers/promises";
import { EngineError, JobError, STATUS } from "../config/errors.ts";
import { printable } from "../config/printable.ts";
import type { ExecStream } from "../engine/exec.ts";
import type { ForeignContainer, ForeignContainers } from "../engine/foreign.ts";
import { carryTree, fetchTree } from "./inject-carry.ts";
import type { Looked } from "./inject-looked.ts";
import { checkBegun, checkMounts, checkTree, findPlace, NoPlace } from "./inject-place.ts";
import { archiveInject, archiveRest, archiveTree, BEGUN, injectOf, RECORD, readInject, TREE } from "./inject-tree.ts";
import { LABEL } from "./labels.ts";

/** How long another call's archive may take to be unpacked. */
const UNPACKING_MS = 2000;
const POLL_MS = 100;
/** Exit status of `inject withdraw` where sessions are open (udiImage/src/inject.c). */
const BUSY = 75;

/**
 * Finds a running container that is nobody's job.
 *
 * @param name or id
 * @throws JobError (exit status 68, 69, 75 or 64)
 */
export async function findContainer(engine: ForeignContainers, name: string): Promise<ForeignContainer> {
  const container = await engine.find(name);
  const where = engine.endpoint.socketPath;
  if (container === undefined) {
    throw new JobError(`the engine at ${where} has no container "${printable(name)}"`, {
      hint: "another user's rootless engine shows its containers to that user alone; --engine names another engine",
      exitCode: STATUS.noSuchJob,
    });
  }
  const job = container.labels[LABEL.job];
  if (job !== undefined) {
    throw new JobError(`container ${container.name} is of job ${printable(job)}, which has an sshd already`, {
      hint: `gangway ssh ${printable(job)}`,
      exitCode: STATUS.usage,
    });
  }
  if (container.paused) {
    throw new JobError(`container ${container.name} is paused: nothing can be started in it`, {
      hint: `let it go on: docker unpause ${container.name}`,
      exitCode: STATUS.notYet,
    });
  }
  if (!container.running) {
    throw new JobError(`container ${container.name} does not run (${printable(container.status)})`, {
      hint: `only a running container can be entered, and have the programs taken out: docker start ${container.name}`,
      exitCode: container.status === "created" ? STATUS.notYet : STATUS.ended,
    });
  }
  return container;
}

/** Where the tree is in a container. */
export interface Injected {
  readonly tree: string;
  /** Whether it was put there now. */
  readonly fresh: boolean;
}

/**
 * Puts the tree into a container, unless it is there: into its files, or, where these cannot have it, into its memory.
 *
 * @param udiImage the installed tree
 * @param looked which containers' trees need not be looked at once more
 * @throws JobError where that is not possible; then the container is as before
 */
export async function putTree(
  engine: ForeignContainers,
  container: ForeignContainer,
  udiImage: string,
  looked: Looked,
): Promise<Injected> {
  try {
    const fresh = await putIntoFiles(engine, container, udiImage, looked);
    return { tree: TREE, fresh };
  } catch (error) {
    if (!(error instanceof NoPlace)) throw error;
    const tree = await carryTree(engine, container, udiImage, error.message);
    return { tree, fresh: false };
  }
}

/**
 * @returns whether it was put there now
 * @throws NoPlace, JobError
 */
async function putIntoFiles(
  engine: ForeignContainers,
  container: ForeignContainer,
  udiImage: string,
  looked: Looked,
): Promise<boolean> {
  const { id, name } = container;
  checkMounts(container);
  const [record, tree] = await Promise.all([engine.stat(id, RECORD), engine.stat(id, TREE)]);
  if (record === undefined && tree !== undefined && !(await isWhole(engine, container, udiImage))) {
    throw new NoPlace(`it has a ${TREE} that is not Gangway's`);
  }
  if (tree !== undefined) {
    if (!looked.has(container)) {
      await checkTree(engine, container, udiImage);
      looked.add(container);
    }
    return false;
  }
  const place = await findPlace(engine, container, udiImage);
  try {
    await engine.put(id, place.directory, archiveTree(udiImage, place));
  } catch (error) {
    if (!(error instanceof EngineError) || error.status === undefined) throw error;
    // Some of it may be there by now (a full disk).
    const left = (await engine.stat(id, TREE).catch(() => undefined)) !== undefined;
    const rest = left ? `; ${TREE} is there in part: remove it with docker exec -u 0 ${name} rm -r ${TREE}` : "";
    throw new JobError(`the programs could not be put into container ${name}: ${error.message}${rest}`, {
      exitCode: STATUS.unreachable,
      cause: error,
    });
  }
  looked.add(container);
  return true;
}

/**
 * Whether a tree without a record, which comes last, has one after a while, since another call is at it, or gets one now,
 * since a call that was killed had begun with it.
 *
 * @throws NoPlace where another user of the container may have made it
 */
async function isWhole(engine: ForeignContainers, container: ForeignContainer, udiImage: string): Promise<boolean> {
  const { id } = container;
  for (let waited = 0; waited < UNPACKING_MS; waited += POLL_MS) {
    await sleep(POLL_MS);
    if ((await engine.stat(id, RECORD)) !== undefined) return true;
  }
  const begun = await engine.file(id, BEGUN);
  if (begun === undefined) return false;
  await checkBegun(engine, container, udiImage);
  await engine.put(id, "/opt", archiveRest(udiImage, begun.content.toString("utf8")));
  return true;
}

/** A program of the tree could not be started in a container, or said something else than it should. */
export function startFailure(name: string, tree: string, stream: ExecStream, said: string): JobError {
  const words = `${said}\n${stream.complaints}`.split("\n").map((line) => printable(line).trim());
  const last = words.filter((line) => line !== "").at(-1) ?? "without a word";
  const hint = /exec format error/i.test(last)
    ? "the container is of another architecture than the installed programs"
    : /no such file/i.test(last)
      ? `something hides ${tree} there; does a program in the container mount over it?`
      : /unable to find user|no matching entries in passwd/i.test(last)
        ? "--user takes a number, or a name of the container's own /etc/passwd"
        : `${injectOf(tree)} must be able to run there`;
  return new JobError(`our program cannot serve in container ${name}: ${last}`, {
    hint,
    exitCode: STATUS.unreachable,
  });
}

/** How a removal went. */
export type Withdrawal = "withdrawn" | "nothing" | "busy";

/**
 * Takes the tree out of a container again.
 *
 * @param udiImage the installed tree: the program that removes is sent anew unless what is there is the same
 * @param force ends the sessions that are open
 * @throws JobError where it cannot be removed, or is not ours
 */
export async function withdrawTree(
  engine: ForeignContainers,
  container: ForeignContainer,
  udiImage: string,
  force: boolean,
): Promise<Withdrawal> {
  const { id } = container;
  const inFiles = canBeInFiles(container) && (await engine.stat(id, TREE)) !== undefined;
  try {
    if (inFiles && ((await engine.stat(id, RECORD)) !== undefined || (await isWhole(engine, container, udiImage)))) {
      await checkTree(engine, container, udiImage);
      return await removeTree(engine, container, udiImage, force);
    }
  } catch (error) {
    if (!(error instanceof NoPlace)) throw error;
    throw new JobError(`container ${container.name} keeps its ${TREE}: ${error.message}`, {
      hint: `root of the container can remove it: docker exec -u 0 ${container.name} rm -r ${TREE}`,
      exitCode: STATUS.unreachable,
    });
  }
  const outcome = await fetchTree(engine, container, udiImage, force);
  if (outcome !== "nothing" || !inFiles) return outcome;
  throw new JobError(`container ${container.name} has a ${TREE} that Gangway did not put there: it is left alone`, {
    exitCode: STATUS.usage,
  });
}

/** What speaks against it stays as long as the container does. */
function canBeInFiles(container: ForeignContainer): boolean {
  try {
    checkMounts(container);
    return true;
  } catch {
    return false;
  }
}

/** By its own program in the container, as root: who can change what is there has been looked at. */
async function removeTree(
  engine: ForeignContainers,
  { id, name }: ForeignContainer,
  udiImage: string,
  force: boolean,
): Promise<Withdrawal> {
  const ours = readInject(udiImage);
  const there = await engine.file(id, injectOf(TREE));
  if (there?.content.equals(ours) !== true) await engine.put(id, `${TREE}/libexec`, archiveInject(ours));
  const argv = [injectOf(TREE), "withdraw", ...(force ? ["--force"] : [])];
  const stream = await engine.execute(id, { argv, user: "0:0" });
  const said = await readAll(stream);
  const code = await stream.exitCode();
  if (code === BUSY) return "busy";
  if (code !== 0) throw startFailure(name, TREE, stream, said);
  return "withdrawn";
}

/** A program's whole output, of which little is expected. */
async function readAll(stream: ExecStream): Promise<string> {
  let text = "";
  for await (const chunk of stream) text = (text + String(chunk)).slice(-4096);
  return text;
}
