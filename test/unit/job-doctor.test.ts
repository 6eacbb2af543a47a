import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { connect } from "../../src/engine/engine.ts";
import { examineEngine, managerHere } from "../../src/job/doctor.ts";
import { readAccount } from "../../src/udi/accounts.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "job-doctor-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

describe("a host without an engine", () => {
  const examined = async (origin: string, manager?: string) => {
    const engine = () => Promise.resolve(connect({ socketPath: join(directory, "docker.sock"), origin }));
    const [finding] = await examineEngine(engine, readAccount("nobody"), manager);
    return finding;
  };

  it("is at fault by itself", async () => {
    expect(await examined("default")).toMatchObject({ what: "engine", state: "fault" });
  });

  it("is none where a workload manager has others: that is said, and where to look", async () => {
    const { state, detail, hint } = (await examined("default", "Slurm")) ?? {};
    expect(state).toBe("limit");
    expect(detail).toBe("none on this host: jobs are launched on the nodes that Slurm gives");
    expect(hint).toContain("srun gangway doctor");
  });

  it("is at fault where somebody named the engine", async () => {
    expect(await examined("DOCKER_HOST", "Slurm")).toMatchObject({ what: "engine", state: "fault" });
  });
});

describe("the workload manager of a host", () => {
  it("is known by the command that takes jobs", () => {
    mkdirSync(join(directory, "bin"));
    const path = `/nonexistent:relative:${directory}/bin`;
    expect(managerHere(path)).toBeUndefined();
    writeFileSync(join(directory, "bin/condor_submit"), "");
    expect(managerHere(path)).toBe("HTCondor");
    writeFileSync(join(directory, "bin/sbatch"), "");
    expect(managerHere(path)).toBe("Slurm");
  });
});
