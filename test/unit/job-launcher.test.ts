import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { JobFacts } from "../../src/job/job-hosts.ts";
import { Launcher } from "../../src/job/launcher.ts";
import { onEnoughNodes } from "../../src/job/min-nodes.ts";
import { NodesLostError } from "../../src/job/nodes-lost.ts";
import type { JobSpec } from "../../src/job/spec.ts";
import { IdleHosts } from "./job-hosts.ts";
import { specificationOf } from "./job-spec.ts";

const runBase = mkdtempSync(join(tmpdir(), "gangway-launcher-"));
afterAll(() => rmSync(runBase, { recursive: true, force: true }));

/** One of two nodes is lost while the launch is prepared; the other could go on alone. */
class OneLost extends IdleHosts {
  readonly #directory: string;
  readonly #whileClearing: () => void;

  constructor(nodes: IdleHosts["nodes"], directory: string, whileClearing: () => void) {
    super(nodes);
    this.#directory = directory;
    this.#whileClearing = whileClearing;
  }

  override async begin(): Promise<void> {
    mkdirSync(this.#directory);
  }

  override async plan(): Promise<JobFacts> {
    throw new NodesLostError(["n2"], "no engine answers");
  }

  override async end(): Promise<void> {
    this.#whileClearing();
  }

  override async clear(): Promise<void> {
    rmSync(this.#directory, { recursive: true });
  }
}

async function launchOnEnough(
  whileClearing: () => void,
): Promise<{ result: unknown; launches: number; notes: string[] }> {
  const notes: string[] = [];
  const reporter = {
    note: (text: string) => notes.push(text),
    phase: () => undefined,
    pull: () => undefined,
    quiet: () => undefined,
  };
  let launches = 0;
  const launch = (spec: JobSpec) => {
    launches++;
    const identity = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, groups: [] };
    const common = { udiImage: "/nonexistent", cacheDirectory: undefined, stateDirectory: runBase, identity };
    return new Launcher(spec, {
      ...common,
      runBase,
      reporter,
      hosts: ({ directory }, nodes) => new OneLost(nodes, directory.path, whileClearing),
    }).run();
  };
  const result = await onEnoughNodes(specificationOf(), 1, reporter, launch).catch((error: unknown) => error);
  return { result, launches, notes };
}

describe("a launch that lost a node before its command was started", () => {
  it("is begun anew without it", async () => {
    const { launches, result } = await launchOnEnough(() => undefined);
    expect(launches).toBe(2);
    expect(result).toBeInstanceOf(NodesLostError);
  });

  it("is not begun anew when a signal came while it was cleared", async () => {
    const { launches, result, notes } = await launchOnEnough(() => process.emit("SIGHUP", "SIGHUP"));
    expect(launches).toBe(1);
    expect(result).toBe(129);
    expect(notes).toEqual(["n2: no engine answers"]);
  });
});
