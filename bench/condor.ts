import { spawn, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { IMAGES, USER } from "../test/job/harness.ts";
import { atMost, handOver, type Place, type Row } from "./rows.ts";
import { interleave, type Samples, Stopwatch } from "./stopwatch.ts";

/* In the pool of test/rig/condor.sh, as a user who is logged in at its one machine: a job that runs in a container of ours. */

const SESSIONS = 21;
const START_S = 60;

/** Where test/rig/condor.sh and the example's wrapper lie; the measurements are bundled, and run elsewhere. */
const CONDOR = process.env.GANGWAY_CONDOR ?? "";
const WRAPPER = process.env.GANGWAY_CONDOR_WRAPPER ?? "";

/** @returns its standard output; undefined where it failed */
function there(words: readonly string[]): string | undefined {
  const { status, stdout } = spawnSync(CONDOR, ["as", USER.name, ...words], { encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

async function submit(directory: string): Promise<string> {
  mkdirSync(directory);
  handOver(directory);
  copyFileSync(WRAPPER, join(directory, "wrapper"));
  const lines = ["executable = wrapper", `arguments = "${IMAGES.bare} sleep 7200"`, "output = out", "error = err"];
  writeFileSync(join(directory, "job"), [...lines, "should_transfer_files = YES", "queue", ""].join("\n"));
  const id = there(["sh", "-c", 'cd "$0" && condor_submit -terse job', directory])?.split(".")[0];
  if (id === undefined) throw new Error("the job cannot be submitted");
  for (let waited = 0; waited < START_S; waited++) {
    const ours = there(["gangway", "ssh", id, "true"]);
    if (ours !== undefined && there(["condor_ssh_to_job", id, "true"]) !== undefined) return id;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  throw new Error(`job ${id} does not run within ${START_S} s`);
}

/** A session into a job's container, on its machine, against HTCondor's own beside the container. */
export async function condorSessions({ directory, rounds }: Place): Promise<Row[]> {
  if (CONDOR === "") throw new Error("GANGWAY_CONDOR is not set: run the measurements by scripts/bench.sh");
  const id = await submit(join(directory, "condor"));
  const watch = new Stopwatch(["as", USER.name, rounds], "/", (words) =>
    spawn(CONDOR, words, { stdio: ["pipe", "pipe", "inherit"] }),
  );
  try {
    const { theirs, ours, carried } = await interleave(SESSIONS, {
      theirs: () => watch.time(["condor_ssh_to_job", id, "true"]),
      ours: () => watch.time(["gangway", "ssh", id, "true"]),
      carried: () => watch.time(["gangway", "ssh", "--connect", "condor", id, "true"]),
    });
    const row = (what: string, samples: Samples) => {
      const value = samples.median / theirs.median;
      const common = { peer: "condor_ssh_to_job 32 true", unit: "ms", theirs, measure: "ratio" } as const;
      return { ...common, what, ours: samples, value };
    };
    return [
      atMost(0.5, row("gangway ssh 32 true, on the node", ours), 1),
      atMost(1.5, row("gangway ssh 32 true, by condor_ssh_to_job", carried), 1),
    ];
  } finally {
    await watch.close();
    there(["condor_rm", id]);
  }
}
