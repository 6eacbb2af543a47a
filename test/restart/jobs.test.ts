import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { DOCKER, ENGINES, GANGWAY, IMAGES, type RigEngine, run, start } from "../job/harness.ts";
import { HeldJob } from "../job/held.ts";
import { docker, Traces } from "../job/traces.ts";
import { inPart } from "../whole.ts";

// Engines that go down under their jobs: apart, since nobody else may use them meanwhile.

const execute = promisify(execFile);

/** However a job ends, nothing of it stays: for so long at most after its end. */
const SECONDS = 15;

function runWords(words: readonly string[], nodes = 1): string[] {
  return [GANGWAY, "run", "--image", IMAGES.bare, "--pull", "never", "--nodes", String(nodes), ...words];
}

/** Docker's shim, Podman's monitor, and runc's process before it becomes the container's. */
const BEGINNING = /^process \d+: \S*(\/containerd-shim-runc-v2|\/conmon|runc init) /;

/**
 * What a killed engine was about to start it forgets, and nobody else knows of it: such a process, and a cgroup in which there is
 * nothing else. What Docker was removing has no name any more when it is back, and Docker denies that there is such a container.
 */
function forgottenBy(engine: RigEngine): (trace: string) => Promise<boolean> {
  const denies = async (id: string) =>
    await docker(engine, "container", "inspect", id).then(
      () => false,
      (error: unknown) => /no such container/i.test(String(error)),
    );
  return async (trace) => {
    const [, group, held = ""] = /^cgroup (\S*([0-9a-f]{64}))$/.exec(trace) ?? [];
    const [, nameless] = /^container ([0-9a-f]{64}) *$/.exec(trace) ?? [];
    if (group !== undefined) return (await denies(held)) && processesIn(group).every((one) => BEGINNING.test(one));
    return nameless === undefined ? BEGINNING.test(trace) : await denies(nameless);
  };
}

function processesIn(group: string): string[] {
  const read = (path: string) => {
    try {
      return readFileSync(path, "utf8");
    } catch {
      // It has gone meanwhile.
      return "";
    }
  };
  const pids = read(join(group, "cgroup.procs")).split("\n").filter(Boolean);
  return pids.map((pid) => `process ${pid}: ${read(`/proc/${pid}/cmdline`).replaceAll("\0", " ")}`);
}

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
        await traces.gone(SECONDS, words.includes("kill") ? forgottenBy(engine) : undefined);
      } finally {
        traces.close();
      }
      const after = await run(runWords(["--", "probe", "exit", "4"]), { engine });
      expect({ code: after.code, stderr: after.stderr }).toEqual({ code: 4, stderr: "" });
    },
  );
});
