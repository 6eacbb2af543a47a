import { mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { STATUS } from "../../src/config/errors.ts";
import { callerIdentity } from "../../src/config/identity.ts";
import { localJob, localJobs, runningLocalJob } from "../../src/job/local-jobs.ts";
import { formatIdentity, thisProcess } from "../../src/job/process.ts";

const me = callerIdentity();
const alive = formatIdentity(thisProcess());
const dead = formatIdentity({ ...thisProcess(), pid: 2 ** 22 + 1 });
let base: string;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "gangway-unit-"));
});
afterEach(() => rmSync(base, { recursive: true }));

function record(job: string, changes: Record<string, unknown> = {}): string {
  const node = (index: number) => ({
    name: `node${index + 1}`,
    slots: 2,
    container: `gangway-1-${job}-${index}`,
    port: 1204,
    addresses: ["172.17.0.2"],
  });
  return JSON.stringify({
    job,
    image: "debian:12",
    command: ["sleep", "9"],
    user: "alice",
    workdir: "/work",
    sshd: true,
    authority: "ssh-ed25519 AAAA authority",
    udiImage: "/opt/udiImage",
    launcher: alive,
    started: new Date(0).toISOString(),
    nodes: [node(0), node(1)],
    ...changes,
  });
}

function make(job: string, files: Readonly<Record<string, string>>): string {
  const directory = join(base, job);
  mkdirSync(directory);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(directory, name), content);
  return directory;
}

describe("jobs of this host, by their directories alone", () => {
  it("running: with what a client needs of each node", () => {
    const directory = make("32.0", { launcher: alive, "job.json": record("32.0") });
    const job = localJob(me, [base], "32.0");
    expect(job).toMatchObject({ id: "32.0", state: "running", directory, record: { user: "alice", sshd: true } });
    expect(job?.state === "running" && job.nodes[1]).toEqual({
      name: "node2",
      index: 1,
      slots: 2,
      principal: "node2.32.0.job",
      socket: join(directory, "1/ssh"),
      port: 1204,
      addresses: ["172.17.0.2"],
    });
  });

  it("running on several hosts: a node that is elsewhere has no socket here", () => {
    const directory = make("7", { launcher: alive });
    const { nodes, ...rest } = JSON.parse(record("7")) as { nodes: object[] };
    const write = (here: unknown) =>
      writeFileSync(join(directory, "job.json"), JSON.stringify({ ...rest, nodes: [nodes[0], { ...nodes[1], here }] }));
    write(false);
    const job = localJob(me, [base], "7");
    expect(job?.state === "running" && job.nodes.map(({ socket }) => socket)).toEqual([
      join(directory, "0/ssh"),
      undefined,
    ]);
    write("no");
    expect(localJob(me, [base], "7")).toMatchObject({ state: "launching" });
  });

  it("being launched: a directory without a record", () => {
    make("a", { launcher: alive });
    make("b", {});
    expect(localJobs(me, [base]).map(({ id, state }) => [id, state])).toEqual([
      ["a", "launching"],
      ["b", "launching"],
    ]);
    expect(() => runningLocalJob(me, [base], "a")).toThrow(expect.objectContaining({ exitCode: STATUS.notYet }));
  });

  it("none any more: its directory is being removed by its launcher; what a killed one left of that is gone", () => {
    make("a", { launcher: alive, "ended.json": record("a") });
    make("b", { launcher: dead, "ended.json": record("b") });
    expect(localJobs(me, [base]).map(({ id, state }) => [id, state])).toEqual([["b", "gone"]]);
    expect(runningLocalJob(me, [base], "a")).toBeUndefined();
  });

  it("gone: its launcher is dead, or it was never told who that is", () => {
    make("a", { launcher: dead, "job.json": record("a", { launcher: dead }) });
    const silent = make("b", {});
    utimesSync(silent, 0, 0);
    expect(localJobs(me, [base]).map(({ state }) => state)).toEqual(["gone", "gone"]);
    expect(() => runningLocalJob(me, [base], "a")).toThrow(expect.objectContaining({ exitCode: STATUS.ended }));
  });

  it("a living job is found behind a dead one of the same id in another base", () => {
    make("a", { launcher: dead });
    const other = join(base, "other");
    mkdirSync(join(other, "a"), { recursive: true });
    writeFileSync(join(other, "a/launcher"), alive);
    expect(localJob(me, [base, other], "a")).toMatchObject({ state: "launching", directory: join(other, "a") });
  });

  it("what is no job's id, no directory, or a link is no job; a base that is not there has none", () => {
    make(".visit-7", { launcher: alive });
    writeFileSync(join(base, "file"), "");
    symlinkSync(make("real", { launcher: alive }), join(base, "link"));
    expect(localJobs(me, [base, join(base, "missing")]).map(({ id }) => id)).toEqual(["real"]);
    expect(localJob(me, [base], "../x")).toBeUndefined();
    expect(runningLocalJob(me, [base], "none")).toBeUndefined();
  });

  it.each<[string, string]>([
    ["another job's", record("b")],
    ["damaged", record("a").slice(0, 50)],
    [
      "with a port that is none",
      record("a", { nodes: [{ name: "n", slots: 1, container: "c", port: -1, addresses: [] }] }),
    ],
    [
      "with a node's name that is a path",
      record("a", { nodes: [{ name: "../n", slots: 1, container: "c", port: 0, addresses: [] }] }),
    ],
    [
      "with an address that is a command",
      record("a", { nodes: [{ name: "n", slots: 1, container: "c", port: 0, addresses: ["$(id)"] }] }),
    ],
    ["with a line's end in a text", record("a", { user: "alice\nHost *" })],
    ["without nodes", record("a", { nodes: [] })],
  ])("a record that is %s is none", (_what, text) => {
    make("a", { launcher: alive, "job.json": text });
    expect(localJob(me, [base], "a")?.state).toBe("launching");
  });
});
