import { spawnSync } from "node:child_process";
import { lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DIFFERENT_ENGINES, GANGWAY, gangway, IMAGES, inDirectory, type RigEngine, run, USER } from "./harness.ts";
import { HeldJob } from "./held.ts";

const TMPFS = 0x01021994;
const RAMFS = 0x858458f6;
const KEY_FILES = ["0/host_ed25519", "0/id_ed25519", "1/host_ed25519", "1/id_ed25519", "kit/id_ed25519"];
/** Every private key in OpenSSH's format begins so, whoever's it is. */
const MAGIC = Buffer.from("openssh-key-v1\0").toString("base64").slice(0, 18);

/** The 32 secret bytes of a key file (PROTOCOL.key of OpenSSH: the last string of the pair begins with them). */
function seedOf(text: string): Buffer {
  const body = Buffer.from(text.replace(/-----[^-]+-----/g, "").replace(/\s/g, ""), "base64");
  const type = body.lastIndexOf("ssh-ed25519");
  // type, string of the public key (32 bytes), string of seed and public key (64 bytes).
  const seed = type + 11 + 4 + 32 + 4;
  expect(body.readUInt32BE(seed - 4)).toBe(64);
  return body.subarray(seed, seed + 32);
}

/** The forms in which a key would show: raw, in hexadecimal, in base64 wherever the bytes begin in it. */
function formsOf(text: string): string[] {
  const seed = seedOf(text);
  const base64 = [0, 1, 2].map((shift) => {
    const whole = Buffer.concat([Buffer.alloc(shift), seed]).toString("base64");
    // Without the characters that its neighbours have a part in.
    return whole.slice(shift === 0 ? 0 : shift + 1, 41);
  });
  const lines = text.split("\n").filter((line) => line.length === 70);
  return [
    seed.toString("latin1"),
    seed.toString("hex"),
    seed.toString("hex").toUpperCase(),
    ...base64,
    ...lines.slice(1),
  ];
}

/** Reads the environment and command line of every process of the host, over and over. */
class Sampler {
  readonly #seen = new Map<string, string>();
  #on = true;
  readonly #loop: Promise<void>;
  rounds = 0;

  constructor() {
    this.#loop = this.#sample();
  }

  async #sample(): Promise<void> {
    while (this.#on) {
      for (const pid of readdirSync("/proc")) if (/^\d+$/.test(pid)) this.#read(pid);
      this.rounds += 1;
      // The launch shares the machine with us.
      await setTimeout(2);
    }
  }

  #read(pid: string): void {
    for (const file of ["environ", "cmdline"]) {
      try {
        const text = readFileSync(join("/proc", pid, file), "latin1");
        if (!this.#seen.has(text)) this.#seen.set(text, `${file} of process ${pid}: ${text.slice(0, 200)}`);
      } catch {
        // It has ended meanwhile.
      }
    }
  }

  async stop(): Promise<ReadonlyMap<string, string>> {
    this.#on = false;
    await this.#loop;
    return this.#seen;
  }
}

async function ask(engine: RigEngine, path: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    const socketPath = engine.endpoint.replace(/^unix:\/\//, "");
    const call = request({ socketPath, path, agent: false }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on("data", (chunk: Buffer) => chunks.push(chunk));
      answer.on("end", () => resolve(Buffer.concat(chunks).toString("latin1")));
    });
    call.on("error", reject);
    call.end();
  });
}

function isInMemory(path: string): boolean {
  return [TMPFS, RAMFS].includes(statfsSync(path).type);
}

/** Files below a directory of a lasting file system that were written since a moment. */
function writtenSince(stamp: string, places: readonly string[]): string[] {
  const lasting = places.filter((place) => !isInMemory(place));
  const words = [...lasting, "-xdev", "-type", "f", "-newercm", stamp, "-size", "-64M", "-print0"];
  return spawnSync("find", words, { encoding: "utf8", maxBuffer: 2 ** 28 })
    .stdout.split("\0")
    .filter((path) => path !== "");
}

interface Evidence {
  readonly job: string;
  /** What was to be searched, by where it was found. */
  readonly texts: Map<string, string>;
  readonly forms: string[];
  readonly rounds: number;
  readonly changes: string[];
  readonly written: string[];
  readonly before: string[];
}

function homeListing(home: string): string[] {
  const found = spawnSync("find", [home, "-xdev", "-printf", "%P\\n"], { encoding: "utf8" });
  return found.stdout.split("\n").sort();
}

/** A launch with hops and sessions, watched from its first moment to its last. */
async function gather(engine: RigEngine): Promise<Evidence> {
  const texts = new Map<string, string>();
  const before = homeListing(USER.home);
  const place = mkdtempSync("/var/tmp/gangway-stamp-");
  const stamp = join(place, "stamp");
  writeFileSync(stamp, "");
  const sampler = new Sampler();
  try {
    const job = await HeldJob.start({ engine, image: IMAGES.debian, nodes: 2 });
    const forms = KEY_FILES.flatMap((name) => formsOf(readFileSync(join(job.directory, name), "utf8")));
    for (const command of [["ssh", "node2", "ssh", "node1", "env"], ["env"], ["bash", "-lc", "env"]]) {
      const result = await job.shell(command);
      expect(result).toMatchObject({ code: 0, stderr: "" });
      texts.set(`output of ${command.join(" ")}`, result.bytes.toString("latin1"));
    }
    const changes: string[] = [];
    for (const node of [0, 1]) {
      const container = `gangway-${USER.uid}-${job.id}-${node}`;
      for (const part of ["json", "logs?stdout=1&stderr=1", "changes", "top"]) {
        const answer = await ask(engine, `/containers/${container}/${part}`);
        texts.set(`${part} of ${container}`, answer);
        if (part === "changes") {
          const list = (JSON.parse(answer) ?? []) as { Path: string }[];
          changes.push(...list.map(({ Path }) => Path));
        }
      }
    }
    for (const words of [["inspect", job.id], ["hosts", job.id], ["ps"], ["config", "show"], ["doctor"]]) {
      const result = await gangway(words, { engine });
      texts.set(`gangway ${words.join(" ")}`, result.bytes.toString("latin1") + result.stderr);
    }
    texts.set("the launcher's output", job.stdout + job.stderr);
    const places = [USER.home, "/tmp", "/var/tmp", "/var/log", process.env.GANGWAY_TEST_RIG ?? "/var/lib/gangway-test"];
    const written = writtenSince(stamp, places);
    for (const path of written) {
      try {
        texts.set(path, readFileSync(path, "latin1"));
      } catch {
        // Another's file that has gone meanwhile.
      }
    }
    expect(await job.end()).toBe(0);
    for (const [text, where] of await sampler.stop()) texts.set(where, text);
    return { job: job.id, texts, forms, rounds: sampler.rounds, changes, written, before };
  } finally {
    await sampler.stop();
    rmSync(place, { recursive: true });
  }
}

describe.each(DIFFERENT_ENGINES)("no private key leaves its place: $name", (engine) => {
  let evidence: Evidence;
  beforeAll(async () => {
    evidence = await gather(engine);
  });

  const found = (which: RegExp) =>
    [...evidence.texts]
      .filter(([where]) => which.test(where))
      .flatMap(([where, text]) => (evidence.forms.some((form) => text.includes(form)) ? [where] : []));
  const searched = (which: RegExp) => [...evidence.texts.keys()].filter((where) => which.test(where)).length;

  it("would be found in any of its forms", async () => {
    expect(new Set(evidence.forms).size).toBeGreaterThanOrEqual(KEY_FILES.length * 7);
    expect(evidence.forms.every((form) => form.length >= 32)).toBe(true);
    const [form = ""] = evidence.forms.filter((candidate) => /^[0-9a-f]{64}$/.test(candidate));
    const sampler = new Sampler();
    await run(["sleep", "0.3"], { env: { LEAK: form } });
    const leaks = [...(await sampler.stop()).keys()].filter((text) => text.includes(form));
    expect(leaks).toHaveLength(1);
  });

  it("not into the environment or command line of any process of the host, at any moment", () => {
    const which = /^(environ|cmdline) of process /;
    expect(evidence.rounds).toBeGreaterThan(20);
    expect(searched(/^cmdline of process .*libexec\/init/s)).toBeGreaterThan(0);
    expect(found(which)).toEqual([]);
    const ofAnyKey = [...evidence.texts].filter(([where, text]) => which.test(where) && text.includes(MAGIC));
    expect(ofAnyKey.map(([where]) => where)).toEqual([]);
  });

  it("not into what the engine knows of the container: inspect, labels, logs, processes", () => {
    const which = /^(json|logs\S*|top) of gangway-/;
    expect(searched(which)).toBe(6);
    expect(evidence.texts.get([...evidence.texts.keys()].find((key) => key.startsWith("json of ")) ?? "")).toContain(
      "GANGWAY_JOB_ID",
    );
    expect(found(which)).toEqual([]);
  });

  it("not into the container's own layer: nothing of ours is written there", () => {
    expect(evidence.changes.filter((path) => path.startsWith("/run/gangway/"))).toEqual([]);
    expect(found(/^changes of /)).toEqual([]);
  });

  it("not into the launcher's output, nor that of other commands, nor a session's environment", () => {
    expect(found(/^(the launcher's output|gangway |output of )/)).toEqual([]);
  });

  it("not on a disk: home, temporary directories, logs, the engine's own files", () => {
    expect(evidence.written.length).toBeGreaterThan(0);
    expect(found(/^\//)).toEqual([]);
  });

  it("a launch leaves no file in the home but the cache of what images are like", async () => {
    // In the account's home others work meanwhile; what is this job's has its name.
    const fresh = homeListing(USER.home).filter((path) => !evidence.before.includes(path));
    expect(fresh.filter((path) => path.includes(evidence.job))).toEqual([]);
    await inDirectory(async (home) => {
      const words = ["run", "--image", IMAGES.bare, "--", "true"];
      expect(await gangway(words, { env: { HOME: home } })).toMatchObject({ code: 0, stderr: "" });
      const isCache = (path: string) => /^(\.cache(\/gangway(\/images(\/[\w-]+\.json)?)?)?)?$/.test(path);
      const left = homeListing(home);
      expect(left.filter(isCache)).toHaveLength(left.length);
    });
  });
});

/** Which memory the system writes into a core dump of a process: core(5). */
function coreFilterOf(pid: string): string {
  return readFileSync(`/proc/${pid}/coredump_filter`, "latin1").trim();
}

describe("a core dump", () => {
  it("of a launcher has none of its memory, also of a detached one; of the job's command it is as before", async () => {
    await inDirectory(async (cwd) => {
      const words = ["run", "--detach", "--name", "cores", "--image", IMAGES.debian, "--", "sleep", "60"];
      expect(await gangway(words, { cwd })).toMatchObject({ code: 0, stderr: "" });
      const directory = join(USER.runtime, "gangway/cores");
      const [launcher = ""] = readFileSync(join(directory, "launcher"), "utf8").split(":");
      expect(coreFilterOf(launcher)).toBe("00000000");
      const inside = ["shell", "cores", "--", "cat", "/proc/self/coredump_filter", "/proc/1/coredump_filter"];
      const own = coreFilterOf("self");
      expect((await gangway(inside)).stdout).toBe(`${own}\n${own}\n`);
      expect((await gangway(["stop", "cores"])).code).toBe(0);
    });
  });
});

describe("a detached job's output file", () => {
  it("has the command's output and nothing else", async () => {
    await inDirectory(async (cwd) => {
      const started = await gangway(["run", "--detach", "--image", IMAGES.bare, "--", "probe", "say", "done"], { cwd });
      expect(started).toMatchObject({ code: 0, stderr: "" });
      const id = started.stdout.trim();
      expect(await gangway(["wait", id], { cwd })).toMatchObject({ code: 0 });
      expect(readdirSync(cwd)).toEqual([`gangway-${id}.out`]);
      expect(readFileSync(join(cwd, `gangway-${id}.out`), "utf8")).toBe("done\n");
    });
  });
});

describe("the run directory", () => {
  let job: HeldJob;
  beforeAll(async () => {
    job = await HeldJob.start({ nodes: 2 });
    expect((await job.shell(["ssh", "node2", "true"])).code).toBe(0);
  });
  afterAll(async () => {
    expect(await job.end()).toBe(0);
    expect(lstatSync(job.directory, { throwIfNoEntry: false })).toBeUndefined();
  });

  const NODE: Readonly<Record<string, string>> = {
    "": "drwx------",
    agents: "drwx------",
    "authority.pub": "-rw-r--r--",
    authorized_keys: "-rw-------",
    context: "-rw-------",
    environ: "-rw-------",
    group: "-rw-r--r--",
    host_ed25519: "-rw-------",
    "host_ed25519-cert.pub": "-rw-r--r--",
    "host_ed25519.pub": "-rw-r--r--",
    hosts: "-rw-r--r--",
    hostsfile: "-rw-r--r--",
    id_ed25519: "-rw-------",
    "id_ed25519-cert.pub": "-rw-r--r--",
    "id_ed25519.pub": "-rw-r--r--",
    known_hosts: "-rw-r--r--",
    passwd: "-rw-r--r--",
    principals: "-rw-r--r--",
    report: "srw-------",
    revoked_keys: "-rw-------",
    ssh: "srw-------",
    ssh_config: "-rw-r--r--",
    "sshd.log": "-rw-------",
    sshd_config: "-rw-r--r--",
    x11: "drwx------",
  };
  const KIT: Readonly<Record<string, string>> = {
    "": "drwx------",
    id_ed25519: "-rw-------",
    "id_ed25519-cert.pub": "-rw-r--r--",
    escape_config: "-rw-------",
    known_hosts: "-rw-r--r--",
    known_hosts_plain: "-rw-r--r--",
    ssh_config: "-rw-r--r--",
  };

  function listing(directory: string): Record<string, string> {
    const { stdout } = spawnSync("find", [directory, "-maxdepth", "1", "-printf", "%P %M %U %G\\n"], {
      encoding: "utf8",
    });
    const lines = stdout
      .trimEnd()
      .split("\n")
      .map((line) => line.split(" "));
    expect(new Set(lines.map(([, , uid, gid]) => `${uid}:${gid}`))).toEqual(new Set([`${USER.uid}:${USER.gid}`]));
    return Object.fromEntries(lines.map(([name = "", mode = ""]) => [name, mode]));
  }

  it("lies in memory, below a directory that only its owner can enter", () => {
    expect(isInMemory(job.directory)).toBe(true);
    expect(lstatSync(join(job.directory, ".."))).toMatchObject({ uid: USER.uid, mode: 0o040700 });
  });

  it("has these files, with these modes, all the user's own", () => {
    expect(listing(job.directory)).toEqual({
      "": "drwx------",
      "0": "drwx------",
      "1": "drwx------",
      // Sessions have been in it by now.
      "audit.log": "-rw-------",
      "job.json": "-rw-------",
      kit: "drwx------",
      launcher: "-rw-------",
      "launcher.sock": "srw-------",
    });
    expect(listing(join(job.directory, "0"))).toEqual(NODE);
    expect(listing(join(job.directory, "1"))).toEqual(NODE);
    expect(listing(join(job.directory, "kit"))).toEqual(KIT);
  });

  it.each(["000", "002", "077"])("has them whatever the launcher's umask is: %s", async (mask) => {
    const launch = [GANGWAY, "run", "--image", IMAGES.bare, "--", "ls", "-la", "/run/gangway"];
    const result = await run(["bash", "-c", `umask ${mask}; exec "$@"`, "launch", ...launch]);
    expect(result).toMatchObject({ code: 0, stderr: "" });
    const modes = Object.fromEntries(
      result.stdout
        .trimEnd()
        .split("\n")
        .map((line) => line.split(/\s+/))
        .filter(([, , , , , , , , name]) => name !== undefined && name !== "..")
        .map(([mode = "", , , , , , , , name = ""]) => [name === "." ? "" : name, mode]),
    );
    const { "sshd.log": log, ...rest } = NODE;
    expect(modes).toEqual({ ...rest, "sshd.log": log });
  });

  it("gives the container its node's directory and nothing of the launcher's or of other nodes", async () => {
    const { stdout } = await job.shell(["sh", "-c", "ls /run/gangway; grep -c . /proc/self/mountinfo"]);
    expect(stdout).not.toMatch(/launcher|kit|job\.json/);
    const mounts = await job.shell(["cat", "/proc/self/mountinfo"]);
    expect(mounts.stdout).not.toContain(`${job.id}/1`);
    expect(mounts.stdout).not.toContain(`${job.id}/kit`);
  });
});
