import type { Config } from "../config/load.ts";
import { readEnd } from "../job/ended.ts";
import type { Seeker } from "../session/resolve.ts";
import { type Owner, runBasesOf, stateOf, withEngine } from "./context.ts";

/** Whose jobs are looked for, and where. The engine is asked when it comes to that. */
export function seekerOf(config: Config, owner: Owner): Seeker {
  return {
    places: owner.places,
    bases: runBasesOf(config, owner),
    engineJobs: async () => {
      const { listJobs } = await import("../job/jobs.ts");
      return await withEngine(config, async (engine) => await listJobs(engine, undefined));
    },
    endedJob: (job) => readEnd(stateOf(config, owner), job, owner.account.uid),
  };
}
