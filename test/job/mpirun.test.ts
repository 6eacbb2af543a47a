import { describe, expect, test } from "vitest";
import { inPart } from "../whole.ts";
import { DOCKER, gangway, IMAGES, PODMAN } from "./harness.ts";
import { complaintsOfMpirun } from "./mpirun.ts";

/*
 * MPI without a word from the user: no flag, no environment, no host file. `ring` (images/mpi/ring.c) says how large its
 * world is and on which host each rank runs, after a token has gone around all ranks: six worlds of size one, which is
 * what ranks that did not find each other would be, say so.
 */

const ALL_SIX = "world 6 token 15 sum 15 hosts node1 node1 node2 node2 node3 node3\n";

/** Each with what it prints. Slots are two a node, unless said otherwise. */
const WAYS: readonly (readonly [string, string])[] = [
  ["mpirun -np 6 ring", ALL_SIX],
  ["mpirun ring", ALL_SIX],
  ["mpirun -np 3 --map-by node ring", "world 3 token 3 sum 3 hosts node1 node2 node3\n"],
  ["bash -lc 'mpirun -np 6 ring'", ALL_SIX],
  // Open MPI begins with the node on which it was started.
  ["ssh node3 mpirun -np 6 ring", "world 6 token 15 sum 15 hosts node3 node3 node1 node1 node2 node2\n"],
];

describe.concurrent("one world over three nodes", () => {
  test.each(inPart([DOCKER, PODMAN], (engine) => engine === DOCKER))("$name", async (engine) => {
    const script = WAYS.map(([command]) => command).join("\n");
    const words = ["--image", IMAGES.debian, "--nodes", "3", "--", "bash", "-c", script];
    const result = await gangway(["run", ...words], { engine });
    const { stdout, stderr, code } = result;
    expect({ stdout, stderr: complaintsOfMpirun(stderr), code }).toEqual({
      stdout: WAYS.map(([, says]) => says).join(""),
      stderr: "",
      code: 0,
    });
  });

  test("as the very command, with as many slots a node as asked for", async () => {
    const words = ["--image", IMAGES.debian, "--nodes", "2", "--slots", "3", "--", "mpirun", "-np", "6", "ring"];
    const { stdout, stderr, code } = await gangway(["run", ...words]);
    const says = "world 6 token 15 sum 15 hosts node1 node1 node1 node2 node2 node2\n";
    expect({ stdout, stderr: complaintsOfMpirun(stderr), code }).toEqual({ stdout: says, stderr: "", code: 0 });
  });
});

/** What sbatch tells a script that has two tasks on each of three nodes, and what srun adds for a step. */
const SLURM = {
  SLURM_CLUSTER_NAME: "rig",
  SLURM_JOB_CPUS_PER_NODE: "2(x3)",
  SLURM_JOB_ID: "4711",
  SLURM_JOB_NODELIST: "n[1-3]",
  SLURM_JOB_NUM_NODES: "3",
  SLURM_JOBID: "4711",
  SLURM_LOCALID: "0",
  SLURM_NNODES: "3",
  SLURM_NODEID: "0",
  SLURM_NODELIST: "n[1-3]",
  SLURM_NPROCS: "3",
  SLURM_NTASKS: "3",
  SLURM_PROCID: "0",
  SLURM_TASKS_PER_NODE: "1(x3)",
  SLURMD_NODENAME: "n1",
};
const STEP = {
  PMI_FD: "4",
  PMI_RANK: "0",
  PMI_SIZE: "3",
  PMIX_NAMESPACE: "slurm.pmix.4711.0",
  PMIX_RANK: "0",
  PMIX_SERVER_URI2: "pmix-server;tcp4://127.0.0.1:1",
  SLURM_LAUNCH_NODE_IPADDR: "127.0.0.1",
  SLURM_MPI_TYPE: "pmix",
  SLURM_SRUN_COMM_HOST: "127.0.0.1",
  SLURM_SRUN_COMM_PORT: "1",
  SLURM_STEP_ID: "0",
  SLURM_STEP_NODELIST: "n[1-3]",
  SLURM_STEPID: "0",
};

describe("inside a Slurm job, whose variables the command has", () => {
  test.each([IMAGES.debian, IMAGES.openmpi5, IMAGES.mpich])(
    "%s starts its ranks by ssh over our nodes",
    async (image) => {
      // With a number of ranks, without one, and a program that is no rank of any mpirun.
      const script = "mpirun -np 6 ring; mpirun ring; ring; env | grep -E '^(SLURM|PMI)' | sort";
      const words = ["--image", image, "--nodes", "3", "--slots", "2", "--", "bash", "-c", script];
      const { stdout, stderr, code } = await gangway(["run", ...words], { env: { ...SLURM, ...STEP } });
      const alone = "world 1 token 0 sum 0 hosts node1\n";
      const variables = Object.entries(SLURM).map(([name, value]) => `${name}=${value}\n`);
      const told = variables.sort().join("");
      expect({ stdout, stderr: complaintsOfMpirun(stderr), code }).toEqual({
        stdout: ALL_SIX + ALL_SIX + alone + told,
        stderr: "",
        code: 0,
      });
    },
  );

  test("sessions have them as well, with every line break and blank", async () => {
    const comment = " first line\nsecond  line=\t\n";
    const script = `for c in 'ssh node2' eval; do $c 'printf "%s|" "$SLURM_JOB_COMMENT" "$SLURM_JOB_ID"'; done`;
    const words = ["--image", IMAGES.debian, "--nodes", "2", "--", "bash", "-c", script];
    const { stdout, stderr, code } = await gangway(["run", ...words], {
      env: { ...SLURM, SLURM_JOB_COMMENT: comment },
    });
    expect({ stdout, stderr: complaintsOfMpirun(stderr), code }).toEqual({
      stdout: `${comment}|4711|`.repeat(2),
      stderr: "",
      code: 0,
    });
  });
});

describe("MPICH and Open MPI 5, with no manager about", () => {
  test.each([IMAGES.openmpi5, IMAGES.mpich])("%s: one world over three nodes", async (image) => {
    const script = "mpirun -np 6 ring; mpirun ring; mpirun -np 2 ring";
    const words = ["--image", image, "--nodes", "3", "--slots", "2", "--", "bash", "-c", script];
    const { stdout, stderr, code } = await gangway(["run", ...words]);
    const two = "world 2 token 1 sum 1 hosts node1 node1\n";
    expect({ stdout, stderr: complaintsOfMpirun(stderr), code }).toEqual({
      stdout: ALL_SIX + ALL_SIX + two,
      stderr: "",
      code: 0,
    });
  });
});
