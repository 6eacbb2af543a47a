import { describe, expect, it } from "vitest";
import { globalJobId } from "../../src/allocation/htcondor.ts";
import { allocationIn, complaint, nodesOf } from "./allocation-surroundings.ts";

describe("an HTCondor job", () => {
  const env = {
    _CONDOR_JOB_AD: "/scratch/.job.ad",
    _CONDOR_MACHINE_AD: "/scratch/.machine.ad",
    _CONDOR_SLOT: "slot1_2",
  };
  const ads = {
    "/scratch/.job.ad": 'Args = "ProcId = 9"\nClusterId = 32\nProcId = 0\nRequestCpus = 4\nCmd = "/bin/sh"\n',
    "/scratch/.machine.ad": 'Machine = "n1.example.org"\nName = "slot1_2@n1.example.org"\nCpus = 4\n',
  };

  it("reads an ad with as many blanks as somebody likes", () => {
    const blanks = " ".repeat(200_000);
    const ad = `${ads["/scratch/.job.ad"]}X = a${blanks}b\n${blanks}Cmd${blanks}x\n${blanks}ProcId =${blanks}7${blanks}\n`;
    expect(allocationIn("htcondor", env, { ...ads, "/scratch/.job.ad": ad })).toMatchObject({ job: { id: "32.7" } });
  });

  it("is called by cluster and process, and is on the machine of its slot", () => {
    const allocation = allocationIn("htcondor", env, ads);
    expect(allocation).toMatchObject({ job: { id: "32.0", restarts: 0 }, here: "n1.example.org" });
    expect(nodesOf(allocation)).toEqual(["n1.example.org/4"]);
  });

  it.each([
    ['"second@n1#32.0#1795274793"', "second@n1#32.0#1795274793"],
    ['strcat("a","b")', undefined],
    ['""', undefined],
    ['"a"b"', undefined],
  ])("is told from those of that number in other queues: GlobalJobId = %s", (written, expected) => {
    const ad = `${ads["/scratch/.job.ad"]}GlobalJobId = ${written}\n`;
    expect(globalJobId({ env, hostname: "n1", readFile: () => ad })).toBe(expected);
  });

  it("is told from its earlier runs: a job that was evicted, or held, begins again under the same id", () => {
    const ad = (starts: string) => ({
      ...ads,
      "/scratch/.job.ad": `${ads["/scratch/.job.ad"]}NumJobStarts = ${starts}\n`,
    });
    expect(allocationIn("htcondor", env, ad("0")).job).toEqual({ id: "32.0", restarts: 0 });
    expect(allocationIn("htcondor", env, ad("2")).job).toEqual({ id: "32.0", restarts: 2 });
    expect(allocationIn("htcondor", env, ad("undefined")).job).toEqual({ id: "32.0", restarts: 0 });
  });

  it("is on this machine where it has no machine ad", () => {
    const alone = { _CONDOR_JOB_AD: "/scratch/.job.ad" };
    expect(nodesOf(allocationIn("htcondor", alone, ads))).toEqual(["n1.example.org/4"]);
  });

  it("may name its attributes in any case, and say its cpus by an expression", () => {
    const ad = "CLUSTERID=7\n  procid  =  12  \nRequestCpus = ifThenElse(x, 2, 4)\n";
    expect(nodesOf(allocationIn("htcondor", env, { ...ads, "/scratch/.job.ad": ad }))).toEqual(["n1.example.org/1"]);
    const provisioned = `${ad}CpusProvisioned = 2\n`;
    const allocation = allocationIn("htcondor", env, { ...ads, "/scratch/.job.ad": provisioned });
    expect(allocation.job?.id).toBe("7.12");
    expect(nodesOf(allocation)).toEqual(["n1.example.org/2"]);
  });

  it("is not guessed at", () => {
    const read = (files: Record<string, string>, more: Record<string, string> = {}) =>
      complaint(() => allocationIn("htcondor", { ...env, ...more }, { ...ads, ...files }));
    expect(read({ "/scratch/.job.ad": "ClusterId = 1\n" })).toContain('_CONDOR_JOB_AD: "/scratch/.job.ad" has no');
    expect(read({ "/scratch/.job.ad": "ClusterId = 1/2\nProcId = 0" })).toContain("has no ClusterId");
    expect(read({ "/scratch/.machine.ad": 'Machine = "a b"' })).toContain('"a b" cannot be the name of a node');
    expect(read({}, { _CONDOR_JOB_AD: "/gone" })).toContain('_CONDOR_JOB_AD: "/gone" cannot be read: no such file');
    expect(read({}, { _CONDOR_JOB_AD: ".job.ad" })).toContain("is not an absolute path");
    expect(read({}, { _CONDOR_NPROCS: "2" })).toContain("parallel universe");
  });
});

describe("a PBS job", () => {
  const env = { PBS_JOBID: "123.server.example.org", PBS_NODEFILE: "/spool/aux/123" };
  const files = { "/spool/aux/123": "n1\nn1\nn2\nn1\n" };

  it("has a slot a line, the nodes in the order they are first named", () => {
    const allocation = allocationIn("pbs", env, files);
    expect(allocation.job).toEqual({ id: "123", restarts: 0 });
    expect(nodesOf(allocation)).toEqual(["n1/3", "n2/1"]);
  });

  it.each([
    ["123", "123"],
    ["123[4].server", "123_4"],
    ["123-4.server", "123_4"],
  ])("%s is called %s", (PBS_JOBID, id) => {
    expect(allocationIn("pbs", { ...env, PBS_JOBID }, files).job?.id).toBe(id);
  });

  it("is not guessed at", () => {
    const read = (more: Record<string, string>, text = "n1\n") =>
      complaint(() => allocationIn("pbs", { ...env, ...more }, { "/spool/aux/123": text }));
    expect(read({ PBS_JOBID: "../123" })).toContain('PBS_JOBID: "../123" is not the id of a job');
    expect(read({ PBS_JOBID: "123[].server" })).toContain("is not the id of a job");
    expect(read({ PBS_NODEFILE: "" })).toContain("PBS_NODEFILE: is not set");
    expect(read({}, "n1\n\nn 2\n")).toContain(
      'PBS_NODEFILE "/spool/aux/123": line 3: "n 2" cannot be the name of a node',
    );
    expect(read({}, "n1\u0007\n")).toContain("cannot be the name");
  });

  it("with an empty file has no node", () => {
    expect(() => allocationIn("pbs", env, { "/spool/aux/123": "\n" })).toThrow("PBS_NODEFILE: names no node");
  });
});

describe("an OAR job", () => {
  it("has a slot a line of its node file", () => {
    const env = { OAR_JOB_ID: "77", OAR_NODEFILE: "/var/lib/oar/77" };
    const allocation = allocationIn("oar", env, { "/var/lib/oar/77": "n1\nn1\nn2\nn2\n" });
    expect(allocation.job?.id).toBe("77");
    expect(nodesOf(allocation)).toEqual(["n1/2", "n2/2"]);
    expect(complaint(() => allocationIn("oar", { ...env, OAR_JOB_ID: "x" }))).toContain(
      'OAR_JOB_ID: "x" is not a number',
    );
  });
});

describe("an LSF job", () => {
  const env = { LSB_JOBID: "55", LSB_JOBINDEX: "0", LSB_MCPU_HOSTS: "n1 4 n2 8 " };

  it("has the hosts with their slots", () => {
    const allocation = allocationIn("lsf", env);
    expect(allocation.job?.id).toBe("55");
    expect(nodesOf(allocation)).toEqual(["n1/4", "n2/8"]);
  });

  it("is asked by its host file first, a slot a line", () => {
    const withFile = { ...env, LSB_DJOB_HOSTFILE: "/home/u/.lsbatch/55.hostfile" };
    const allocation = allocationIn("lsf", withFile, { "/home/u/.lsbatch/55.hostfile": "n2\nn2\nn1\n" });
    expect(nodesOf(allocation)).toEqual(["n2/2", "n1/1"]);
  });

  it("of an array is called by the array's id and its index", () => {
    expect(allocationIn("lsf", { ...env, LSB_JOBINDEX: "3" }).job?.id).toBe("55_3");
  });

  it.each([
    ["n1 4 n2", 'no number of slots behind "n2", at character 6'],
    ["n1 x", 'LSB_MCPU_HOSTS: at character 4: "x" is not a number of slots'],
    ["n1 0", '"0" is not a number of slots'],
    ["n1 99999", '"99999" is not a number of slots'],
    ["n1 1 a/b 1", 'LSB_MCPU_HOSTS: at character 6: "a/b" cannot be the name of a node'],
    ["", "LSB_MCPU_HOSTS: is not set"],
  ])("is not guessed at: %j", (LSB_MCPU_HOSTS, message) => {
    expect(complaint(() => allocationIn("lsf", { ...env, LSB_MCPU_HOSTS }))).toContain(message);
  });
});

describe("a Grid Engine job", () => {
  const env = { JOB_ID: "99", SGE_TASK_ID: "undefined", PE_HOSTFILE: "/spool/99/pe_hostfile" };

  it("has the slots of its parallel environment's file", () => {
    const text = "n1.example.org 4 all.q@n1.example.org UNDEFINED\nn2.example.org 2 all.q@n2.example.org <NULL>\n";
    const allocation = allocationIn("sge", env, { "/spool/99/pe_hostfile": text });
    expect(allocation.job?.id).toBe("99");
    expect(nodesOf(allocation)).toEqual(["n1.example.org/4", "n2.example.org/2"]);
  });

  it("is on this machine without a parallel environment", () => {
    expect(nodesOf(allocationIn("sge", { ...env, PE_HOSTFILE: "" }))).toEqual(["n1.example.org/1"]);
  });

  it("of an array is called by the array's id and its task", () => {
    const task = { JOB_ID: "99", SGE_TASK_ID: "5", NSLOTS: "3" };
    expect(allocationIn("sge", task).job?.id).toBe("99_5");
    expect(nodesOf(allocationIn("sge", task))).toEqual(["n1.example.org/3"]);
  });

  it("is not guessed at", () => {
    const read = (text: string) => complaint(() => allocationIn("sge", env, { "/spool/99/pe_hostfile": text }));
    expect(read("n1\n")).toContain('PE_HOSTFILE "/spool/99/pe_hostfile": line 1: "" is not a number of slots');
    expect(read("n1 four q@n1 UNDEFINED\n")).toContain('"four" is not a number of slots');
  });
});

describe("a Flux job", () => {
  const env = { FLUX_JOB_ID: "f2oQiNwKXqGR", FLUX_JOB_NNODES: "1", FLUX_JOB_SIZE: "4" };

  it("of one node is on this machine, a slot a task", () => {
    const allocation = allocationIn("flux", env);
    expect(allocation).toMatchObject({ manager: "flux", job: { id: "f2oQiNwKXqGR" } });
    expect(nodesOf(allocation)).toEqual(["n1.example.org/4"]);
  });

  it("is called by its id in ASCII, or its number", () => {
    expect(allocationIn("flux", { ...env, FLUX_JOB_ID: "\u01922oQiNwKXqGR" }).job?.id).toBe("f2oQiNwKXqGR");
    expect(allocationIn("flux", { ...env, FLUX_JOB_ID: "19722942218240" }).job?.id).toBe("19722942218240");
  });

  it("of several nodes needs to be told their names", () => {
    expect(complaint(() => allocationIn("flux", { ...env, FLUX_JOB_NNODES: "2" }))).toContain(
      "FLUX_JOB_NNODES: 2 nodes",
    );
    expect(complaint(() => allocationIn("flux", { ...env, FLUX_JOB_NNODES: "" }))).toContain(
      "FLUX_JOB_NNODES: is not set",
    );
  });

  it.each(["f0", "fO", "fl", "f", "x1", "f1/2", "f12345678901234"])("has no id such as %s", (FLUX_JOB_ID) => {
    expect(complaint(() => allocationIn("flux", { ...env, FLUX_JOB_ID }))).toContain("is not the id of a job");
  });
});
