import { describe, expect, test } from "vitest";
import { DOCKER, gangway, IMAGES, PODMAN } from "./harness.ts";

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
  test.each([DOCKER, PODMAN])("$name", async (engine) => {
    const script = WAYS.map(([command]) => command).join("\n");
    const words = ["--image", IMAGES.debian, "--nodes", "3", "--", "bash", "-c", script];
    const result = await gangway(["run", ...words], { engine });
    const { stdout, stderr, code } = result;
    expect({ stdout, stderr, code }).toEqual({ stdout: WAYS.map(([, says]) => says).join(""), stderr: "", code: 0 });
  });

  test("as the very command, with as many slots a node as asked for", async () => {
    const words = ["--image", IMAGES.debian, "--nodes", "2", "--slots", "3", "--", "mpirun", "-np", "6", "ring"];
    const { stdout, stderr, code } = await gangway(["run", ...words]);
    const says = "world 6 token 15 sum 15 hosts node1 node1 node1 node2 node2 node2\n";
    expect({ stdout, stderr, code }).toEqual({ stdout: says, stderr: "", code: 0 });
  });
});
