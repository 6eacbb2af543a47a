import { JobTakenError } from "../config/errors.ts";
import type { Identity } from "../config/identity.ts";
import { JobDirectory } from "./directory.ts";

/**
 * Does a launch's work under the first of the ids that no running job of the user has; also when launches of one
 * allocation begin at the same instant, and this one finds its id taken only when it makes its directory.
 *
 * @param bases where the user's run directories can be
 * @param work is begun anew with the next id when it throws JobTakenError: nothing may be left of it then
 * @throws JobTakenError when all are taken
 */
export async function underFreeId<T>(
  ids: Iterable<string>,
  bases: readonly string[],
  identity: Identity,
  work: (id: string) => Promise<T>,
): Promise<T> {
  let taken: JobTakenError | undefined;
  for (const id of ids) {
    try {
      for (const base of bases) new JobDirectory(base, id, identity).claim();
      return await work(id);
    } catch (error) {
      if (!(error instanceof JobTakenError)) throw error;
      taken = error;
    }
  }
  throw taken ?? new TypeError("no id was given");
}
