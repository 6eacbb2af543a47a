import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { DOCKER, ENGINES, GANGWAY, IMAGES, run, start } from "../job/harness.ts";
import { HeldJob } from "../job/held.ts";
import { Traces } from "../job/traces.ts";
import { inPart } from "../whole.ts";

// Engines that go down under their jobs: apart, since nobody else may use them meanwhile.

const execute = promisify(execFile);

/** However a job ends, nothing of it stays: for so long at most after its end. */
const SECONDS = 15;

function runWords(words: readonly string[], nodes = 1): string[] {
  return [GANGWAY, "run", "--image", IMAGES.bare, "--pull", "never", "--nodes", String(nodes), ...words];
}

/**
 * What a killed engine was about to start it forgets, and nobody else knows of it: Docker's shim, Podman's monitor, runc's process
 * before it becomes the container's, and their cgroups. What Docker was removing has no name any more when it is back, half of its
 * files are gone, and Docker says that there is none to be removed. (A container that is left by us has a name, and processes.)
 */
const FORGOTTEN = new RegExp(
  [
    /^process \d+: \S*(\/containerd-shim-runc-v2|\/conmon|runc init) /,
    /^cgroup \S*[0-9a-f]{64}$/,
    /^container [0-9a-f]{64} *$/,
  ]
    .map(({ source }) => source)
    .join("|"),
);

const RIG = join(import.meta.dirname, "../rig/engines.sh");

describe.each(ENGINES)("$name restarted under its jobs", (engine) => {
  const ways = [
    { how: "as an administrator does", words: [] as string[] },
    { how: "after SIGKILL", words: ["kill"] },
  ];

  test.each(inPart(ways, ({ words }) => engine === DOCKER || words.length > 0))(
    "$how: each launcher ends, and nothing is left when the engine is back",
    async ({ words }) => {
      const traces = await Traces.watch(engine);
      try {
        const command = ["probe", "say", "ready", "--", "sleep", "60"];
        const jobs = await Promise.all([1, 3].map((nodes) => HeldJob.start({ engine, nodes, command })));
        const orphaned = await HeldJob.start({ engine, nodes: 2 });
        const restarted = execute(RIG, ["restart", engine.name, ...words]);
        orphaned.kill("SIGKILL");
        const launching = start(runWords(["--", "probe", "sleep", "0.3"], 2), { engine });
        launching.stdin.end();
        launching.stdout.resume();
        launching.stderr.resume();
        const launched = new Promise((resolve) => launching.once("close", resolve));
        await restarted;
        traces.listen();
        for (const job of jobs) expect(await job.ended()).toBeGreaterThan(0);
        await launched;
        await traces.gone(SECONDS, words.includes("kill") ? FORGOTTEN : undefined);
      } finally {
        traces.close();
      }
      const after = await run(runWords(["--", "probe", "exit", "4"]), { engine });
      expect({ code: after.code, stderr: after.stderr }).toEqual({ code: 4, stderr: "" });
    },
  );
});
