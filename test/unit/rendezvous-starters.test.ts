import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { commandStarter, parseStartCommand } from "../../src/rendezvous/command.ts";
import type { Frame } from "../../src/rendezvous/frames.ts";
import { srun, srunEnvironment } from "../../src/rendezvous/srun.ts";
import { ssh } from "../../src/rendezvous/ssh.ts";
import { checkPlainWords, type Starter, type StartRequest } from "../../src/rendezvous/starter.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "rendezvous-starters-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

/** Puts a program in front of the PATH; it notes its words, a line each, in `NAME.words`. */
function program(name: string, script: string): void {
  const path = join(dir, name);
  writeFileSync(path, `#!/bin/sh\n{ printf '%s\\n' "$@"; echo; } >>${dir}/${name}.words\n${script}\n`);
  chmodSync(path, 0o755);
}

const wordsOf = (name: string): string[] =>
  readFileSync(join(dir, `${name}.words`), "utf8")
    .trimEnd()
    .split("\n");

const nodes = [
  { index: 0, name: "n1" },
  { index: 1, name: "n2" },
  { index: 2, name: "n10" },
];
const argv = ["/opt/gangway/bin/gangway", "node", "--meet", "10.0.0.1,fd00::1", "--key", "A-_"];
const hello = (node: string) => `gangway-node 1 hello ${node} 0.1.0 ${"A".repeat(43)}`;

interface Outcome {
  readonly frames: [Frame["kind"], number][];
  readonly ends: [readonly number[], string][];
  readonly hints: (string | undefined)[];
  readonly noise: string;
  readonly about: (node: number) => string | undefined;
}

/** Starts, and waits until every node's starter has ended. */
function run(starter: Starter, request: Partial<StartRequest> = {}): Promise<Outcome> {
  const frames: Outcome["frames"] = [];
  const ends: Outcome["ends"] = [];
  const hints: Outcome["hints"] = [];
  const env = { PATH: `${dir}:${process.env.PATH}`, ...request.env };
  return new Promise((resolve) => {
    let left = (request.nodes ?? nodes).length;
    const started = starter.start(
      { nodes, argv, ...request, env },
      {
        onFrame: (frame, node) => frames.push([frame.kind, node]),
        onEnd(ended, reason, hint) {
          ends.push([ended, reason]);
          hints.push(hint);
          left -= ended.length;
          if (left === 0)
            resolve({ frames, ends, hints, noise: started.noise(), about: (node) => started.about(node) });
        },
      },
    );
  });
}

describe("srun", () => {
  it("is one step of a task a node, beside whatever else runs, and its labels tell who speaks", async () => {
    program("srun", `echo ' 2: ${hello("n10")}'; echo ' 0: ${hello("n1")}'; echo '01: ${hello("n2")}'`);
    const { frames, ends } = await run(srun);
    expect(frames).toEqual([
      ["hello", 2],
      ["hello", 0],
      ["hello", 1],
    ]);
    expect(ends).toEqual([[[0, 1, 2], "srun ended with status 0"]]);
    const words = wordsOf("srun");
    expect(words.slice(-argv.length)).toEqual(argv);
    expect(words).toEqual(expect.arrayContaining(["--overlap", "-N", "3", "-n", "--ntasks-per-node=1"]));
    expect(words).toEqual(expect.arrayContaining(["--nodelist=n[1-2,10]", "--label", "--mpi=none", "--input=none"]));
    expect(words).not.toContain("-u");
  });

  it("is believed for one node a task, and one task a node", async () => {
    program(
      "srun",
      `echo '0: ${hello("n1")}'; echo '0: ${hello("n2")}'; echo '1: ${hello("n1")}'; echo '${hello("n2")}'`,
    );
    const { frames, noise } = await run(srun);
    expect(frames).toEqual([["hello", 0]]);
    expect(noise).toContain("task 1 spoke for another node");
  });

  it("says why a node did not come, each node once, though it ends itself at once", async () => {
    program(
      "srun",
      `echo '1: no such module'; echo 'srun: error: n2: task 1: Exited with exit code 127' >&2; echo 'slurmstepd: error: n10: execve(): no such file' >&2; exit 127`,
    );
    const { about, ends } = await run(srun);
    expect(about(1)).toBe("no such module");
    expect(about(2)).toBe("slurmstepd: error: n10: execve(): no such file");
    expect(ends).toEqual([
      [[1], "Exited with exit code 127"],
      [[0, 2], "srun ended with status 127"],
    ]);
  });

  it("says which node's slurmd could not start the process, by the task's place in the step", async () => {
    program("srun", `echo 'srun: error: task 2 launch failed: Slurmd could not execve job' >&2; sleep 1; exit 1`);
    const { ends } = await run(srun);
    expect(ends).toEqual([
      [[2], "launch failed: Slurmd could not execve job; slurmd's log on that host tells why"],
      [[0, 1], "srun ended with status 1"],
    ]);
  });

  it("that is not there is said to be missing", async () => {
    const { ends } = await run(srun, { env: { PATH: dir } });
    expect(ends[0]?.[1]).toBe("srun cannot be started: it is not in the PATH");
  });

  it("is called once for each component of a heterogeneous job", async () => {
    program("srun", "true");
    const env = {
      SLURM_HET_SIZE: "2",
      SLURM_JOB_NODELIST_HET_GROUP_0: "n1",
      SLURM_JOB_NODELIST_HET_GROUP_1: "n[2,10]",
    };
    const { ends } = await run(srun, { env });
    expect(ends.map(([ended]) => ended).sort()).toEqual([[0], [1, 2]]);
    const words = wordsOf("srun");
    for (const word of ["--het-group=0", "--nodelist=n1", "--het-group=1", "--nodelist=n[2,10]"]) {
      expect(words).toContain(word);
    }
  });

  it("is told nothing by variables but the job it is in", () => {
    const env = {
      SLURM_JOB_ID: "7",
      SLURM_CONF: "/etc/slurm.conf",
      SLURM_CPU_BIND: "verbose",
      SLURM_NTASKS: "6",
      SLURM_MPI_TYPE: "pmix",
      SLURM_EXPORT_ENV: "NONE",
      SLURM_STEP_ID: "0",
      SLURM_UNBUFFEREDIO: "1",
      SLURMD_DEBUG: "1",
      SRUN_CONTAINER: "/x",
      PMI_FANOUT: "1",
      HOME: "/home/u",
      GANGWAY_NODE: "1",
    };
    expect(srunEnvironment(env)).toEqual({
      SLURM_JOB_ID: "7",
      SLURM_CONF: "/etc/slurm.conf",
      HOME: "/home/u",
      GANGWAY_NODE: "1",
    });
  });
});

describe("ssh", () => {
  it("is called once a node; who said what is known by that", async () => {
    program("ssh", `case "$*" in *"-- n2 "*) echo '${hello("else")}';; *) exit 255;; esac`);
    const { frames, ends, about } = await run(ssh);
    expect(frames).toEqual([["hello", 1]]);
    expect(ends.map(([ended, reason]) => [...ended, reason]).sort()).toEqual([
      [0, "ssh ended with status 255"],
      [1, "ssh ended with status 0"],
      [2, "ssh ended with status 255"],
    ]);
    expect(about(0)).toBeUndefined();
    expect(wordsOf("ssh").join(" ")).toContain(`-- n10 ${argv.join(" ")}`);
  });

  it("understands each option: asked by ssh -G, with a configuration that says otherwise", async () => {
    program("ssh", "true");
    await run(ssh, { nodes: [{ index: 0, name: "n1" }] });
    const words = wordsOf("ssh");
    const options = words.slice(0, words.indexOf("--"));
    const config = join(dir, "config");
    writeFileSync(
      config,
      "Host *\nForwardAgent yes\nRemoteCommand uptime\nRequestTTY yes\nControlMaster auto\nUser u\n",
    );
    const said = execFileSync("/usr/bin/ssh", ["-G", "-F", config, ...options, "--", "n1"], { encoding: "utf8" });
    for (const line of ["batchmode yes", "forwardagent no", "requesttty false", "controlmaster false", "user u"]) {
      expect(said.split("\n")).toContain(line);
    }
    expect(said).not.toContain("uptime");
  });

  it.each([
    ["ssh: Could not resolve hostname n1: Name or service not known", 255, "is the name right? (getent hosts n1;"],
    ["Host key verification failed.", 255, "look at it once by hand (ssh n1)"],
    ["me@n1: Permission denied (publickey,password).", 255, "let your key be accepted there (ssh-copy-id n1)"],
    ["ssh: connect to host n1 port 22: Connection refused", 255, "is the host up, with an sshd"],
    ["kex_exchange_identification: Connection closed by remote host", 255, "ssh failed, not Gangway"],
    ["sh: 1: /opt/gangway/bin/gangway: not found", 127, "install Gangway there at the same path"],
  ])("says of %j what can be done", async (said, status, hint) => {
    program("ssh", `echo '${said}' >&2; exit ${status}`);
    const { ends, hints } = await run(ssh, { nodes: [{ index: 0, name: "n1" }] });
    expect(ends).toEqual([[[0], `ssh ended with status ${status}`]]);
    expect(hints).toEqual([expect.stringContaining(hint)]);
  });

  it("has no word of its own where it was Gangway that failed", async () => {
    program("ssh", "exit 1");
    expect((await run(ssh)).hints).toEqual([undefined, undefined, undefined]);
  });

  it("says what it complained of", async () => {
    program("ssh", "echo 'Host key verification failed.' >&2; exit 255");
    const { about } = await run(ssh);
    expect([0, 1, 2].map(about)).toEqual(Array(3).fill("Host key verification failed."));
  });

  it("is not called for words that a shell could misread", () => {
    const start = () =>
      ssh.start({ nodes, argv: ["/opt/my gangway/bin/gangway"], env: {} }, { onFrame() {}, onEnd() {} });
    expect(start).toThrow(/cannot be handed to another host's shell/);
  });

  it("is called for a few hosts at a time", async () => {
    program(
      "ssh",
      `echo s >>${dir}/log; [ $(grep -c s ${dir}/log) -gt 32 ] && echo more >>${dir}/early\nsleep 0.3; echo '${hello("n")}'; sleep 30`,
    );
    const many = Array.from({ length: 40 }, (_, index) => ({ index, name: `n${index}` }));
    const frames: number[] = [];
    await new Promise<void>((resolve) => {
      const started = ssh.start(
        { nodes: many, argv, env: { PATH: `${dir}:${process.env.PATH}` } },
        {
          onFrame(_frame, node) {
            if (frames.length === 0) expect(existsSync(join(dir, "early"))).toBe(false);
            frames.push(node);
            if (frames.length === many.length) void started.stop().then(resolve);
          },
          onEnd() {},
        },
      );
    });
    expect(frames).toHaveLength(40);
  });
});

describe("stopping", () => {
  it("ends what would not end, and tells of nothing any more", async () => {
    program("srun", `trap '' TERM; echo $$ >${dir}/pid; echo '0: ${hello("n1")}'; while :; do sleep 0.1; done`);
    const ends: string[] = [];
    const env = { PATH: `${dir}:${process.env.PATH}` };
    await new Promise<void>((resolve, reject) => {
      const started = srun.start(
        { nodes, argv, env },
        { onFrame: () => void started.stop().then(resolve, reject), onEnd: (_nodes, reason) => ends.push(reason) },
      );
    });
    expect(ends).toEqual([]);
    const pid = Number(readFileSync(join(dir, "pid"), "utf8"));
    expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
  });
});

describe("the setting startCommand", () => {
  const where = { kind: "variable", name: "GANGWAY_START_COMMAND" } as const;

  it("is words, in which %h is the host", async () => {
    program("oarsh", "true");
    const command = parseStartCommand("oarsh  -x host=%h", where);
    await run(commandStarter(command), { nodes: [{ index: 0, name: "n1" }] });
    expect(wordsOf("oarsh")).toEqual(["-x", "host=n1", ...argv]);
  });

  it.each([
    ["", /names no program/],
    ["oarsh", /%h must stand in it once/],
    ["oarsh %h %h", /%h must stand in it once/],
    ["%h oarsh", /the host is no program/],
    ["sh -c 'ssh %h'", /no shell reads it/],
    ["ssh $X %h", /no shell reads it/],
  ])("%j is refused", (text, reason) => {
    expect(() => parseStartCommand(text, where)).toThrow(reason);
    expect(() => parseStartCommand(text, where)).toThrow(/^GANGWAY_START_COMMAND: /);
  });
});

describe("words that another host's shell reads", () => {
  it("mean themselves to every shell that is here", () => {
    const plain = fc.stringMatching(/^[A-Za-z0-9_.,:/@+-][A-Za-z0-9_.,:/@%+=-]*$/);
    fc.assert(
      fc.property(fc.array(plain, { minLength: 1, maxLength: 5 }), (words) => {
        checkPlainWords(words);
        for (const shell of ["sh", "bash"]) {
          const read = execFileSync(shell, ["-c", `printf '%s\\n' ${words.map((word) => `x${word}`).join(" ")}`]);
          expect(read.toString()).toBe(words.map((word) => `x${word}\n`).join(""));
        }
      }),
      { numRuns: 20 },
    );
  });

  it.each(["", "a b", "a;b", "$x", "`x`", "~", "*", "a?", "{a,b}", "=ls", "%1", "a\nb", "#x", "!x", "'", '"', "é"])(
    "%j is refused",
    (word) => {
      expect(() => checkPlainWords([word])).toThrow(/cannot be handed/);
    },
  );
});
