import { randomBytes } from "node:crypto";
import { EngineError, JobError, STATUS } from "../config/errors.ts";
import { printable } from "../config/printable.ts";
import type { BesideResult } from "../engine/beside.ts";
import type { ForeignContainer, ForeignContainers } from "../engine/foreign.ts";
import { archiveCarrier, archiveFetcher, injectOf } from "./inject-tree.ts";
import { LABEL } from "./labels.ts";

/*
 * The tree in a container's memory: where its files cannot have it, a program of ours that runs for a moment in a
 * container beside it brings it there, and takes it out again (udiImage/src/inject_carry.h).
 */

/** To reach another container's files by its process 1, to make its root one's own, and to end what holds the tree. */
const CAPABILITIES = ["SYS_PTRACE", "SYS_CHROOT", "KILL"];
/** Where `inject carry` looks for a place. */
const CARRIED = /^gangway-inject 1 at (\/(?:dev|run|tmp)\/gangway-inject)$/m;

/**
 * Brings the tree into a container's memory, unless it is there and nobody but root can have changed it.
 *
 * @param udiImage the installed tree
 * @param reason why it cannot be in the container's files
 * @returns where it is
 * @throws JobError saying why that cannot be either; then nothing has been written
 */
export async function carryTree(
  engine: ForeignContainers,
  container: ForeignContainer,
  udiImage: string,
  reason: string,
): Promise<string> {
  const refuse = (why: string, cause?: unknown) =>
    new JobError(`nothing was put into container ${container.name}: ${reason}; and ${why}`, {
      hint: "start it with a place in memory for the programs (docker run --tmpfs /run:exec), or as a job, by gangway run",
      exitCode: STATUS.unreachable,
      cause,
    });
  if (!container.ownProcesses)
    throw refuse("it shares its processes with others, so its memory cannot be told from theirs");
  let result: BesideResult;
  try {
    const archive = (top: string) => archiveCarrier(udiImage, top);
    result = await runBesideContainer(engine, container, archive, ["carry", ...container.sharedMounts]);
  } catch (error) {
    if (!(error instanceof EngineError) || error.status === undefined) throw error;
    throw refuse(`no program could be started beside it: ${error.message}`, error);
  }
  const tree = CARRIED.exec(result.output)?.[1];
  if (tree === undefined) throw refuse(lastWords(result));
  return tree;
}

/**
 * Takes the tree out of a container's memory again.
 *
 * @param force ends the sessions that are open
 * @throws JobError where it cannot be removed
 */
export async function fetchTree(
  engine: ForeignContainers,
  container: ForeignContainer,
  udiImage: string,
  force: boolean,
): Promise<"withdrawn" | "nothing" | "busy"> {
  // Then it has never been brought there.
  if (!container.ownProcesses) return "nothing";
  const words = ["fetch", ...(force ? ["--force"] : []), ...container.sharedMounts];
  const result = await runBesideContainer(engine, container, (top) => archiveFetcher(udiImage, top), words);
  const outcome = (["withdrawn", "nothing", "busy"] as const).find((word) => result.output === `${word}\n`);
  if (outcome !== undefined) return outcome;
  throw new JobError(`the programs stay in the memory of container ${container.name}: ${lastWords(result)}`, {
    hint: "they are gone when the container ends",
    exitCode: STATUS.unreachable,
  });
}

/**
 * Runs `inject WORD…` in a container of its own, with another one's processes.
 *
 * @param archive makes what is unpacked there, below a directory of `/` that no image has
 * @throws EngineError
 */
export async function runBesideContainer(
  engine: ForeignContainers,
  container: ForeignContainer,
  archive: (top: string) => Buffer,
  words: readonly string[],
): Promise<BesideResult> {
  const top = `gangway-inject-${randomBytes(8).toString("hex")}`;
  return await engine.runBeside({
    target: container.id,
    image: container.image,
    usernsMode: container.usernsMode,
    confinement: container.confinement,
    archive: archive(top),
    argv: [injectOf(`/${top}`), ...words],
    capabilities: CAPABILITIES,
    label: LABEL.beside,
  });
}

/** Why it did not do what it was to do. */
export function lastWords({ complaints }: BesideResult): string {
  const lines = complaints.split("\n").map((line) => printable(line).trim());
  return (
    lines
      .filter((line) => line !== "")
      .at(-1)
      ?.replace(/^gangway-inject: /, "") ?? "a program beside it said nothing"
  );
}
