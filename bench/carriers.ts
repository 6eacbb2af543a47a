import { execFileSync, spawn, spawnSync } from "node:child_process";
import { copyFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { homeOf } from "../test/cluster/cluster.ts";
import { IMAGES, INSTALL, USER } from "../test/job/harness.ts";
import { atLeast, atMost, handOver, type Place, type Row } from "./rows.ts";
import { interleave, Stopwatch } from "./stopwatch.ts";

/* From the controller of test/rig/cluster.sh, without engine or route: srun carries a session into a job's container, beside srun by itself. */

const SESSIONS = 21;
const TRANSFERS = 5;
const TRANSFERRED_BYTES = 128 * 2 ** 20;
const START_S = 60;

/** Where test/rig/cluster.sh lies; the measurements are bundled, and run elsewhere. */
const CLUSTER = process.env.GANGWAY_CLUSTER ?? "";
const GANGWAY = join(INSTALL, "bin/gangway");

/** @returns its standard output; undefined where it failed */
function onController(words: readonly string[], input = ""): string | undefined {
  const { status, stdout } = spawnSync(CLUSTER, ["as", USER.name, "ctl", ...words], { encoding: "utf8", input });
  return status === 0 ? stdout.trim() : undefined;
}

async function submit(): Promise<string> {
  const script = `#!/bin/sh\nexec ${GANGWAY} run -i ${IMAGES.bare} -- sleep 7200\n`;
  const cpus = `--cpus-per-task=${availableParallelism()}`;
  const words = ["env", "-C", "/tmp", "sbatch", "--parsable", "-N1", cpus, "--output=/dev/null", "--mem=500"];
  const id = onController(words, script);
  if (id === undefined) throw new Error("the job cannot be submitted");
  for (let waited = 0; waited < START_S; waited++) {
    if (onController([GANGWAY, "ssh", id, "true"]) !== undefined) return id;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  throw new Error(`job ${id} does not run within ${START_S} s`);
}

/** A session, and bulk each way, against a step of srun's own and the bytes through it. */
export async function srunCarrier({ rounds }: Place): Promise<Row[]> {
  if (CLUSTER === "") throw new Error("GANGWAY_CLUSTER is not set: run the measurements by scripts/bench.sh");
  // The controller's home is another directory than this machine's.
  const files = { rounds: `bench-rounds-${process.pid}`, zeros: `bench-zeros-${process.pid}` };
  const outside = (name: string) => join(homeOf(USER.name), name);
  const there = (name: string) => join(USER.home, basename(name));
  copyFileSync(rounds, outside(files.rounds));
  execFileSync("chmod", ["0755", outside(files.rounds)]);
  writeFileSync(outside(files.zeros), "");
  truncateSync(outside(files.zeros), TRANSFERRED_BYTES);
  for (const name of Object.values(files)) handOver(outside(name));
  const id = await submit();
  const watch = new Stopwatch(["as", USER.name, "ctl", there(files.rounds)], "/", (words) =>
    spawn(CLUSTER, words, { stdio: ["pipe", "pipe", "inherit"] }),
  );
  const srun = ["srun", "--unbuffered", "--overlap", "--quiet", `--jobid=${id}`, "--nodes=1", "--ntasks=1"];
  const ssh = [GANGWAY, "ssh", id];
  const rate = async (time: Promise<number>) => TRANSFERRED_BYTES / 1e6 / ((await time) / 1000);
  const up = ["dd", "of=/dev/null", "bs=64k", "status=none"];
  const down = ["dd", "if=/dev/zero", "bs=64k", `count=${TRANSFERRED_BYTES / 65536}`, "status=none"];
  try {
    const session = await interleave(SESSIONS, {
      theirs: () => watch.time([...srun, "true"]),
      ours: () => watch.time([...ssh, "true"]),
    });
    const bulk = await interleave(TRANSFERS, {
      rawUp: () => rate(watch.time([...srun, ...up], there(files.zeros))),
      up: () => rate(watch.time([...ssh, ...up], there(files.zeros))),
      rawDown: () => rate(watch.time([...srun, ...down])),
      down: () => rate(watch.time([...ssh, ...down])),
    });
    const row = { what: "gangway ssh 1234 true, by srun", peer: "srun -u --overlap true", unit: "ms" } as const;
    const value = session.ours.median / session.theirs.median;
    const raw = { peer: "raw bytes through srun -u", unit: "MB/s", measure: "ratio" } as const;
    return [
      atMost(5, { ...row, ...session, measure: "ratio", value }, 0),
      atLeast(
        0.7,
        {
          ...raw,
          what: "gangway ssh 1234, by srun, bulk to the job",
          ours: bulk.up,
          theirs: bulk.rawUp,
          value: bulk.up.median / bulk.rawUp.median,
        },
        1,
      ),
      atLeast(
        0.7,
        {
          ...raw,
          what: "gangway ssh 1234, by srun, bulk from the job",
          ours: bulk.down,
          theirs: bulk.rawDown,
          value: bulk.down.median / bulk.rawDown.median,
        },
        1,
      ),
    ];
  } finally {
    await watch.close();
    onController(["scancel", id]);
    for (const name of Object.values(files)) rmSync(outside(name), { force: true });
  }
}
