import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GangwayError } from "../../src/config/errors.ts";
import type { Account } from "../../src/udi/accounts.ts";
import {
  composeEnvironment,
  DEFAULT_PATH,
  type EnvironmentOptions,
  parseEnvFile,
  parseEnvSetting,
  surroundPath,
  unwantedNames,
} from "../../src/udi/environment.ts";

const account: Account = {
  name: "alice",
  uid: 1001,
  gid: 100,
  groupName: "users",
  gecos: "",
  home: "/home/alice",
  shell: "/bin/zsh",
  groups: [],
};

const options: EnvironmentOptions = {
  image: ["PATH=/app/bin:/usr/bin", "LANG=C.UTF-8"],
  account,
  shell: "/bin/sh",
  job: {
    jobId: "1234",
    node: "node2",
    nodeId: 1,
    nodeCount: 3,
    nodeList: "node1,node2,node3",
    slots: 2,
    totalSlots: 6,
    imageRequest: "app:1",
    imageId: "sha256:abc",
  },
};

function composed(change: Partial<EnvironmentOptions> = {}): Record<string, string> {
  const env = composeEnvironment({ ...options, ...change });
  return Object.fromEntries(
    env.map((entry) => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)]),
  );
}

describe("composeEnvironment", () => {
  it("has image, account, job and MPI, and nothing of the caller's", () => {
    expect(composed()).toMatchInlineSnapshot(`
      {
        "GANGWAY_HOSTSFILE": "/var/hostsfile",
        "GANGWAY_JOB_ID": "1234",
        "GANGWAY_NNODES": "3",
        "GANGWAY_NODE": "node2",
        "GANGWAY_NODEID": "1",
        "GANGWAY_NODELIST": "node1,node2,node3",
        "GANGWAY_NODE_SLOTS": "2",
        "GANGWAY_TOTAL_SLOTS": "6",
        "HOME": "/home/alice",
        "HYDRA_HOST_FILE": "/var/hostsfile",
        "HYDRA_LAUNCHER": "ssh",
        "HYDRA_LAUNCHER_EXEC": "/opt/udiImage/bin/ssh",
        "HYDRA_RMK": "user",
        "I_MPI_HYDRA_BOOTSTRAP": "ssh",
        "I_MPI_HYDRA_BOOTSTRAP_EXEC": "/opt/udiImage/bin/ssh",
        "I_MPI_HYDRA_HOST_FILE": "/var/hostsfile",
        "I_MPI_JOB_RESPECT_PROCESS_PLACEMENT": "off",
        "LANG": "C.UTF-8",
        "LOGNAME": "alice",
        "OMPI_MCA_orte_default_hostfile": "/var/hostsfile",
        "OMPI_MCA_plm": "rsh",
        "OMPI_MCA_plm_rsh_agent": "/opt/udiImage/bin/ssh",
        "OMPI_MCA_ras": "^slurm,tm,pbs,lsf,gridengine,loadleveler,alps,flux",
        "PATH": "/opt/udiImage/bin:/app/bin:/usr/bin:/opt/udiImage/tools",
        "PRTE_MCA_plm": "ssh",
        "PRTE_MCA_plm_ssh_agent": "/opt/udiImage/bin/ssh",
        "PRTE_MCA_prte_default_hostfile": "/var/hostsfile",
        "PRTE_MCA_ras": "^slurm,tm,pbs,lsf,gridengine,loadleveler,alps,flux",
        "SHELL": "/bin/sh",
        "SHIFTER_IMAGE": "sha256:abc",
        "SHIFTER_IMAGEREQUEST": "app:1",
        "SHIFTER_RUNTIME": "1",
        "USER": "alice",
      }
    `);
  });

  it("lets the later win", () => {
    const image = ["A=image", "B=image", "C=image", "D=image"];
    const site = { B: "site", C: "site", D: "site", HOME: "/site" };
    const envFile = [
      ["C", "file"],
      ["D", "file"],
    ] as const;
    expect(composed({ image, site, envFile, env: [["D", "flag"]] })).toMatchObject({
      A: "image",
      B: "site",
      C: "file",
      D: "flag",
      HOME: "/site",
    });
  });

  it("has the allocation's over the image's and under everybody else's", () => {
    const image = ["SLURM_JOB_ID=image", "OMP_NUM_THREADS=1"];
    const allocation = [
      ["SLURM_JOB_ID", "77"],
      ["SLURM_JOB_COMMENT", "two\nlines"],
      ["SLURM_NTASKS", "6"],
    ] as const;
    expect(composed({ image, allocation, env: [["SLURM_NTASKS", "1"]] })).toMatchObject({
      SLURM_JOB_ID: "77",
      SLURM_JOB_COMMENT: "two\nlines",
      SLURM_NTASKS: "1",
      OMP_NUM_THREADS: "1",
    });
  });

  it("drops the image's on request, and tells an engine what to unset", () => {
    const image = ["LANG=C", "PATH=/odd", "SECRET=x"];
    const env = composed({ image, clearImage: true, env: [["LANG", "de"]] });
    expect(env).toMatchObject({ LANG: "de", PATH: `/opt/udiImage/bin:${DEFAULT_PATH}:/opt/udiImage/tools` });
    expect(env).not.toHaveProperty("SECRET");
    expect(unwantedNames(image, composeEnvironment({ ...options, image, clearImage: true }))).toEqual([
      "LANG",
      "SECRET",
    ]);
    expect(unwantedNames(image, composeEnvironment({ ...options, image, env: [["SECRET", undefined]] }))).toEqual([
      "SECRET",
    ]);
  });

  it("sets TERM with a terminal only", () => {
    expect(composed()).not.toHaveProperty("TERM");
    expect(composed({ term: "screen" })).toMatchObject({ TERM: "screen" });
    expect(composed({ term: "" })).toMatchObject({ TERM: "xterm" });
    expect(composed({ term: "screen", env: [["TERM", "dumb"]] })).toMatchObject({ TERM: "dumb" });
  });

  it("sets for MPI what nobody has set", () => {
    const set = {
      image: ["OMPI_MCA_plm=isolated"],
      site: { HYDRA_LAUNCHER: "slurm" },
      env: [["PRTE_MCA_plm", ""]] as const,
    };
    expect(composed(set)).toMatchObject({ OMPI_MCA_plm: "isolated", HYDRA_LAUNCHER: "slurm", PRTE_MCA_plm: "" });
    expect(composed()).not.toHaveProperty("OMPI_MCA_orte_keep_fqdn_hostnames");
    expect(composed({ job: { ...options.job, qualifiedNames: true } })).toMatchObject({
      OMPI_MCA_orte_keep_fqdn_hostnames: "1",
      PRTE_MCA_prte_keep_fqdn_hostnames: "1",
    });
  });

  it("says of the job what is so, whoever says otherwise", () => {
    const env = [
      ["GANGWAY_JOB_ID", "0"],
      ["SHIFTER_RUNTIME", undefined],
    ] as const;
    expect(composed({ env })).toMatchObject({ GANGWAY_JOB_ID: "1234", SHIFTER_RUNTIME: "1" });
  });

  it("puts PATH between ours, whatever it is, once", () => {
    expect(surroundPath("/a:/b")).toBe("/opt/udiImage/bin:/a:/b:/opt/udiImage/tools");
    expect(surroundPath(surroundPath("/a"))).toBe(surroundPath("/a"));
    for (const none of [undefined, "", surroundPath("")]) expect(surroundPath(none)).toContain(DEFAULT_PATH);
    expect(surroundPath("/opt/udiImage/bin:/x")).toBe("/opt/udiImage/bin:/x:/opt/udiImage/tools");
  });

  it("carries any names and values, each name once, the last value", () => {
    const name = fc.oneof(
      fc.constantFrom("BASH_FUNC_x%%", "a.b-c", "1X", "__proto__", "constructor", "LD_PRELOAD", "é"),
      fc.string({ unit: "binary", minLength: 1, maxLength: 10 }).filter((text) => !/[=\0]/.test(text)),
    );
    const value = fc.string({ unit: "binary", maxLength: 50 }).filter((text) => !text.includes("\0"));
    fc.assert(
      fc.property(fc.array(fc.tuple(name, value)), (env) => {
        const entries = composeEnvironment({ ...options, env });
        const wanted = new Map(env.filter(([key]) => key !== "PATH" && !/^(GANGWAY|SHIFTER)_/.test(key)));
        for (const [key, text] of wanted)
          expect(entries.filter((entry) => entry.startsWith(`${key}=`))).toEqual([`${key}=${text}`]);
        expect(new Set(entries.map((entry) => entry.split("=")[0])).size).toBe(entries.length);
      }),
    );
  });

  it("keeps an image's variables whose values have '=' and drops what is no variable", () => {
    expect(composed({ image: ["A=b=c", "EMPTY=", "=x", "NOVALUE"] })).toMatchObject({ A: "b=c", EMPTY: "" });
    expect(composed({ image: ["NOVALUE"] })).not.toHaveProperty("NOVALUE");
  });

  it("refuses what the kernel would", () => {
    const room = 128 * 1024 - "X=".length - 1;
    const exec = (value: string) => spawnSync("/bin/true", { env: { X: value } }).error === undefined;
    expect(composed({ env: [["X", "v".repeat(room)]] }).X).toHaveLength(room);
    expect(exec("v".repeat(room))).toBe(true);
    expect(exec("v".repeat(room + 1))).toBe(false);
    expect(() => composed({ env: [["X", "v".repeat(room + 1)]] })).toThrow("128 KiB");
    expect(() => composed({ env: [["X", "ü".repeat(room / 2 + 1)]] })).toThrow("128 KiB");
    for (const env of [
      ["A=B", "x"],
      ["", "x"],
      ["A", "x\0"],
      ["A\0", "x"],
    ] as const)
      expect(() => composed({ env: [env] })).toThrow(GangwayError);
  });
});

describe("parseEnvSetting", () => {
  const caller = { HERE: "value", EMPTY: "" };

  it.each([
    ["A=b", ["A", "b"]],
    ["A=", ["A", ""]],
    ["A=b=c d\n'\"", ["A", "b=c d\n'\""]],
    ["HERE", ["HERE", "value"]],
    ["EMPTY", ["EMPTY", ""]],
    ["GONE", ["GONE", undefined]],
    ["toString", ["toString", undefined]],
    ["BASH_FUNC_x%%=() { :; }", ["BASH_FUNC_x%%", "() { :; }"]],
  ])("reads %j", (argument, setting) => {
    expect(parseEnvSetting(argument, caller)).toEqual(setting);
  });

  it.each(["", "=x", "A=\0", "\0"])("refuses %j", (argument) => {
    expect(() => parseEnvSetting(argument, caller)).toThrow(GangwayError);
  });
});

describe("parseEnvFile", () => {
  it("follows docker's rules", () => {
    const text = [
      "\ufeff# first",
      "A=1",
      "",
      "   ",
      "  B=two words # not a comment",
      '\tQ="quoted"\r',
      "  # comment",
      "HERE",
      "GONE",
      "E=",
      "X=$HOME=\\n ",
      "a.b-c=odd",
    ].join("\n");
    expect(parseEnvFile(text, "job.env", { HERE: "value" })).toEqual([
      ["A", "1"],
      ["B", "two words # not a comment"],
      ["Q", '"quoted"'],
      ["HERE", "value"],
      ["E", ""],
      ["X", "$HOME=\\n "],
      ["a.b-c", "odd"],
    ]);
    expect(parseEnvFile("", "job.env", {})).toEqual([]);
  });

  it.each([
    ["A=1\nB C=2", "job.env:2:"],
    ["A=1\n\n#\n=x", "job.env:4:"],
    ["A=1\0", "job.env:1:"],
    ["export A=1", "job.env:1:"],
    ["A B", "job.env:1:"],
  ])("says where in %j the mistake is", (text, where) => {
    expect(() => parseEnvFile(text, "job.env", {})).toThrow(where);
    expect(() => parseEnvFile(text, "job.env", {})).toThrow(GangwayError);
  });
});
