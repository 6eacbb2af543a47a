import { chmodSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { STATUS } from "../../src/config/errors.ts";
import {
  askHistory,
  askQueue,
  condorProgram,
  explainQueued,
  placeWords,
  type QueuedJob,
  readAnswer,
} from "../../src/session/htcondor-queue.ts";

const AD = `[
{
  "ClusterId": 32,
  "GlobalJobId": "submit.example.org#32.0#1763722000",
  "JobStatus": 2,
  "JobUniverse": 5,
  "Owner": "ada",
  "ProcId": 0,
  "RemoteHost": "slot1_1@node7.example.org"
}
]
`;

describe("what condor_q prints", () => {
  it("is a list of ads, of which the first is meant", () => {
    expect(readAnswer(AD)).toEqual({
      kind: "job",
      job: {
        id: "32.0",
        status: 2,
        owner: "ada",
        universe: 5,
        holdReason: undefined,
        remoteHost: "slot1_1@node7.example.org",
        globalId: "submit.example.org#32.0#1763722000",
      },
    });
  });

  it.each(["", "\n", "[]", "[\n]\n"])("%j is no job", (text) => {
    expect(readAnswer(text)).toEqual({ kind: "none" });
  });

  it.each(["{", "-- Failed to fetch ads", "{}", "[1]", '[{"ClusterId":"32","ProcId":0,"JobStatus":2}]'])(
    "%j cannot be read",
    (text) => {
      expect(readAnswer(text)).toMatchObject({ kind: "silent" });
    },
  );

  it("is read, or not, whatever it is", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        expect(["job", "none", "silent"]).toContain(readAnswer(text).kind);
      }),
    );
  });
});

describe("a job that cannot be entered", () => {
  const job = (more: Partial<QueuedJob>): QueuedJob => ({
    id: "32.0",
    status: 2,
    owner: "ada",
    universe: 5,
    holdReason: undefined,
    remoteHost: undefined,
    globalId: undefined,
    ...more,
  });

  it.each<[string, Partial<QueuedJob>, number, string]>([
    ["held", { status: 5, holdReason: 'no "disk"' }, STATUS.unreachable, 'The job is on hold: "no \\"disk\\"".'],
    ["idle", { status: 1 }, STATUS.notYet, "Job 32.0 is not running."],
    ["suspended", { status: 7 }, STATUS.notYet, "Job 32.0 is suspended"],
    ["removed", { status: 3 }, STATUS.ended, "Job 32.0 has been removed"],
    ["completed", { status: 4 }, STATUS.ended, "Job 32.0 has completed"],
    ["a grid job", { universe: 9 }, STATUS.unreachable, "Job 32.0 does not support remote access."],
    ["of the scheduler universe", { universe: 7 }, STATUS.unreachable, "does not support remote access."],
    ["somebody else's", { owner: "eve" }, STATUS.notYours, "ada is not authorized for access to job 32.0"],
    ["somebody else's and held", { owner: "eve", status: 5 }, STATUS.notYours, "not authorized"],
  ])("%s", (_name, more, exitCode, message) => {
    const refusal = explainQueued(job(more), "ada");
    expect(refusal).toMatchObject({ exitCode });
    expect(refusal?.message).toContain(message);
  });

  it("runs: the queue knows of no reason", () => {
    expect(explainQueued(job({}), "ada")).toBeUndefined();
    expect(explainQueued(job({ status: 6 }), "ada")).toBeUndefined();
  });
});

describe("HTCondor's programs", () => {
  let place = "";
  beforeEach(() => {
    place = mkdtempSync(join(tmpdir(), "gangway-queue-"));
  });
  afterEach(() => rmSync(place, { recursive: true }));

  const program = (name: string, script: string) => {
    writeFileSync(join(place, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(place, name), 0o755);
    return join(place, name);
  };

  it("are found in the PATH, and ours under the same name is none", () => {
    const ours = program("gangway.cjs", "");
    symlinkSync(ours, join(place, "condor_ssh_to_job"));
    expect(condorProgram("condor_ssh_to_job", `.:/nowhere:${place}`)).toBeUndefined();
    expect(condorProgram("condor_q", place)).toBeUndefined();
    const theirs = program("condor_q", "");
    expect(condorProgram("condor_q", `/nowhere:${place}`)).toBe(theirs);
  });

  it("tell of a job that has left its queue how it ended, and of no other", async () => {
    const told = async (ad: string, script = `echo "$*" >${place}/words`) =>
      await askHistory(
        { cluster: 32, proc: 0 },
        { schedd: "s@h" },
        "ada",
        program("condor_history", `${script}; cat <<'END'\n${ad}END`),
      );
    const left = AD.replace('"JobStatus": 2', '"JobStatus": 3');
    expect(await told(left)).toMatchObject({ exitCode: STATUS.ended, message: "Job 32.0 has been removed" });
    expect(readFileSync(join(place, "words"), "utf8")).toMatch(/^-name s@h 32\.0 -match 1 -scanlimit \d+ -json /);
    expect(await told(left.replace("ada", "eve"))).toBeUndefined();
    expect(await told("")).toBeUndefined();
    expect(await told(left, "exit 1")).toBeUndefined();
    expect(await askHistory({ cluster: 32, proc: 0 }, {}, "ada", undefined)).toBeUndefined();
  });

  it("are asked with the words that name the queue", async () => {
    expect(placeWords({})).toEqual([]);
    expect(placeWords({ schedd: "s@h", pool: "p" })).toEqual(["-name", "s@h", "-pool", "p"]);
    const asked = program("condor_q", `echo "$*" >${place}/words; cat <<'END'\n${AD}END`);
    expect(await askQueue({ cluster: 32, proc: 0 }, { schedd: "s@h" }, asked)).toMatchObject({ kind: "job" });
    // A schedd that somebody else runs does not choose which of the caller's jobs is entered.
    expect(await askQueue({ cluster: 33, proc: 0 }, { schedd: "s@h" }, asked)).toEqual({
      kind: "silent",
      reason: "it was asked for job 33.0 and answered for 32.0",
    });
  });

  it("that fail say why", async () => {
    const failing = program("condor_q", "echo >&2; echo 'Error: no schedd' >&2; exit 1");
    expect(await askQueue({ cluster: 1, proc: 0 }, {}, failing)).toEqual({
      kind: "silent",
      reason: "Error: no schedd",
    });
    expect(await askQueue({ cluster: 1, proc: 0 }, {}, join(place, "none"))).toMatchObject({ kind: "silent" });
  });
});
