import { EngineError } from "../config/errors.ts";
import type { Config } from "../config/load.ts";
import { NoEngineError } from "../engine/failures.ts";
import { managerHere } from "../job/doctor.ts";
import { type JobSummary, listJobs, withLaunchers } from "../job/jobs.ts";
import { localJobs } from "../job/local-jobs.ts";
import { ownerOf, runBasesOf, visibleUid, withEngine } from "./context.ts";

/** A host from which jobs are only submitted has no engine, and needs none. */
function atLoginNode(error: unknown): EngineError | undefined {
  const manager = managerHere(process.env.PATH ?? "");
  if (!(error instanceof NoEngineError) || manager === undefined) return undefined;
  return new NoEngineError("no job of yours was launched on this host, which has no container engine", {
    hint: `those on ${manager}'s hosts are entered from here by its id (gangway ssh 1234), and listed and ended by ${manager}'s own commands; this command is for their hosts`,
    cause: error,
  });
}

/**
 * The jobs of this host, as its engine tells, and the private directories of a user's launchers. For these no engine is
 * needed: on a login node there may be none.
 *
 * @param user whose, as `--user` has it
 * @throws EngineError when there is neither an engine nor a launcher of the user's
 */
export async function jobsHere(config: Config, user: string | undefined): Promise<JobSummary[]> {
  const uid = visibleUid(user);
  const list = async () => await withEngine(config, user, (engine) => listJobs(engine, uid));
  if (uid === undefined) return await list();
  const owner = ownerOf(user);
  const local = localJobs(owner.identity, runBasesOf(config, owner));
  const known = await list().catch((error: unknown) => {
    if (error instanceof EngineError && local.some(({ state }) => state === "running")) return [];
    throw atLoginNode(error) ?? error;
  });
  return withLaunchers(known, local, owner.identity.uid);
}
