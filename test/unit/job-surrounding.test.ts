import { describe, expect, it } from "vitest";
import { JobError } from "../../src/config/errors.ts";
import { surroundingLaunch } from "../../src/job/surrounding.ts";
import { surroundings } from "./allocation-surroundings.ts";

const ad = (starts: number) => ({ "/scratch/.job.ad": `ClusterId = 32\nProcId = 0\nNumJobStarts = ${starts}\n` });
const condor = surroundings({ _CONDOR_JOB_AD: "/scratch/.job.ad" }, ad(0));

/** What is said where no launch is meant. */
function refusal(jobs: readonly string[]): string {
  try {
    surroundingLaunch("auto", condor, jobs);
  } catch (error) {
    if (error instanceof JobError) return `${error.message} (${error.hint})`;
    throw error;
  }
  throw new Error("a launch was found");
}

describe("where no job is named within a workload manager's job", () => {
  it("its own launch is meant, however many others run", () => {
    expect(surroundingLaunch("auto", condor, ["31.0", "32.0", "32.1", "32.01", "320.0", "k3x9"])).toBe("32.0");
    expect(surroundingLaunch("auto", condor, ["31.0", "32.0-2"])).toBe("32.0-2");
    const slurm = surroundings({ SLURM_JOB_ID: "7", SLURM_RESTART_COUNT: "1" });
    expect(surroundingLaunch("auto", slurm, ["7", "7-r1", "77"])).toBe("7-r1");
  });

  it("a run before it is another job", () => {
    const again = surroundings({ _CONDOR_JOB_AD: "/scratch/.job.ad" }, ad(1));
    expect(surroundingLaunch("auto", again, ["32.0", "32.0-r1", "32.0-r11"])).toBe("32.0-r1");
    expect(refusal(["32.0-r1"])).toContain("no launch");
  });

  it("another job's is never meant, also where it is the only one", () => {
    expect(refusal(["33.0"])).toBe(
      "HTCondor's job 32.0, in which this is called, has no launch that runs on this engine (it may not run yet; others are entered by name: 33.0)",
    );
    expect(refusal([])).toContain("(it may not run yet)");
  });

  it("several launches of its own are listed", () => {
    expect(refusal(["32.0", "32.0-2", "33.0"])).toBe(
      "HTCondor's job 32.0, in which this is called, has several launches: 32.0, 32.0-2 (say which)",
    );
  });

  it("nothing is said where no manager is around, or none is to be asked", () => {
    expect(surroundingLaunch("auto", surroundings({}), ["32.0"])).toBeUndefined();
    expect(surroundingLaunch("none", condor, ["32.0"])).toBeUndefined();
  });
});
