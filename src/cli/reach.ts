import type { Config } from "../config/load.ts";
import { runBaseCandidates } from "../config/paths.ts";
import { readEnd } from "../job/ended.ts";
import { connectorOf } from "../job/kit.ts";
import type { Seeker } from "../session/resolve.ts";
import { type Owner, runBasesOf, stateOf, udiImageOf, withEngine } from "./context.ts";

/** Whose jobs are looked for, and where. The engine is asked when it comes to that. */
export function seekerOf(config: Config, owner: Owner): Seeker {
  return {
    places: owner.places,
    bases: runBasesOf(config, owner),
    engineJobs: async () => {
      const { listJobs } = await import("../job/jobs.ts");
      return await withEngine(config, String(owner.account.uid), async (engine) => await listJobs(engine, undefined));
    },
    carriers: () => {
      const { nodeProgram, nodeSilence } = config.values;
      const udiImage = udiImageOf(config);
      const program = nodeProgram ?? process.argv[1] ?? "gangway";
      const bases = runBaseCandidates(owner.places, config.values.runDirectory);
      const same = nodeProgram === undefined;
      return { program, same, bases, silenceMs: nodeSilence, udiImage, connector: connectorOf(udiImage) };
    },
    endedJob: (job) => readEnd(stateOf(config, owner), job, owner.identity),
  };
}
