import { spawn } from "node:child_process";
import { chmodSync, copyFileSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { homeOf } from "../test/cluster/cluster.ts";
import { IMAGES, INSTALL, USER } from "../test/job/harness.ts";
import { atMost, handOver, type Place, type Row } from "./rows.ts";
import { interleave, Stopwatch } from "./stopwatch.ts";

/* What is done on the three hosts of test/rig/cluster.sh, with Slurm and an engine each, by a user who is logged in at its controller. */

const LAUNCHES = 15;
const HOSTS = 3;
/**
 * Of each host, as many as this machine has. Each host's Slurm gives away its cpus in the same order, and all have those of
 * this machine: of one cpu each, the three steps would share the first one, and what Docker runs outside of them the rest.
 */
const CPUS = availableParallelism();
/** What test/rig/cluster.sh tells Slurm that a host has. */
const MOST_CPUS = 4;

/** Where test/rig/cluster.sh lies; the measurements are bundled, and run elsewhere. */
const CLUSTER = process.env.GANGWAY_CLUSTER ?? "";

function inAllocation(argv: readonly string[]): readonly string[] {
  const cpus = `--cpus-per-task=${Math.min(CPUS, MOST_CPUS)}`;
  const allocate = ["salloc", "--quiet", `--nodes=${HOSTS}`, "--ntasks-per-node=1", cpus, "--mem=600"];
  return ["as", USER.name, "ctl", ...allocate, ...argv];
}

/** A launch on three hosts, from an allocation that is there, to its end; and what Slurm and Docker take for the same by themselves. */
export async function srunLaunches({ rounds }: Place): Promise<Row[]> {
  if (CLUSTER === "") throw new Error("GANGWAY_CLUSTER is not set: run the measurements by scripts/bench.sh");
  const image = IMAGES.bare;
  // The hosts' home is another directory than this machine's.
  const outside = join(homeOf(USER.name), `bench-rounds-${process.pid}`);
  copyFileSync(rounds, outside);
  chmodSync(outside, 0o755);
  handOver(outside);
  const watch = new Stopwatch(inAllocation([join(USER.home, basename(outside))]), "/", (words) =>
    spawn(CLUSTER, words, { stdio: ["pipe", "pipe", "inherit"] }),
  );
  const srun = ["srun", "--ntasks-per-node=1", `--ntasks=${HOSTS}`];
  const docker = ["docker", "run", "--rm", "--user", `${USER.uid}:${USER.gid}`, "--network", "host", image, "true"];
  try {
    const { srunDocker, gangway } = await interleave(LAUNCHES, {
      srunDocker: () => watch.time([...srun, ...docker]),
      gangway: () => watch.time([join(INSTALL, "bin/gangway"), "run", "--image", image, "true"]),
    });
    const what = `gangway run … true, on ${HOSTS} engines by srun`;
    const value = gangway.median / srunDocker.median;
    const row = { what, peer: "srun docker run --rm … true", unit: "ms", ours: gangway, theirs: srunDocker } as const;
    return [atMost(1.75, { ...row, measure: "ratio", value }, 2)];
  } finally {
    await watch.close();
    rmSync(outside, { force: true });
  }
}
