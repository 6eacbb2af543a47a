import { execFile } from "node:child_process";
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { inPart, WHOLE } from "../whole.ts";
import {
  DIFFERENT_ENGINES,
  ENGINES,
  eventually,
  GANGWAY,
  gangway,
  IMAGES,
  MANY,
  type RigEngine,
  type RunOptions,
  run,
  start,
  USER,
} from "./harness.ts";
import { HeldJob } from "./held.ts";
import { docker, OF_THE_POOL, Traces } from "./traces.ts";

const execute = promisify(execFile);

/** However a job ends, nothing of it stays: for so long at most after its end. */
const SECONDS = 15;

const LAUNCHES = WHOLE ? 120 : 18;

function runWords(words: readonly string[], nodes = 1): string[] {
  return [GANGWAY, "run", "--image", IMAGES.bare, "--pull", "never", "--nodes", String(nodes), ...words];
}

/** Starts a launch and hands its process a signal after some time; its exit code. */
async function launchAndSignal(
  engine: RigEngine,
  nodes: number,
  signal: NodeJS.Signals,
  milliseconds: number,
  options: RunOptions = {},
): Promise<number> {
  const child = start(runWords(["--", "probe", "sleep", "0.3"], nodes), { engine, ...options });
  child.stdin.end();
  child.stdout.resume();
  child.stderr.resume();
  const timer = setTimeout(() => child.kill(signal), milliseconds);
  const code = await new Promise<number>((resolve) => {
    child.once("close", (exit, by) => resolve(exit ?? (by === "SIGKILL" ? 137 : by === "SIGTERM" ? 143 : 130)));
  });
  clearTimeout(timer);
  return code;
}

/** How long a whole launch takes here and now: the moments are spread over that. */
async function wholeLaunch(engine: RigEngine): Promise<number> {
  const begin = performance.now();
  const { code, stderr } = await run(runWords(["--", "probe", "sleep", "0.3"]), { engine });
  expect(stderr).toBe("");
  expect(code).toBe(0);
  return performance.now() - begin;
}

/** Launches that fail: in the engine's hands, in init's, in ours. */
const FAILURES: readonly { readonly words: readonly string[]; readonly code: number }[] = [
  { words: ["--", "/no/such/program"], code: 127 },
  { words: ["--", "/opt/udiImage/manifest.json"], code: 126 },
  { words: ["--tmpfs", "/proc/x", "--", "probe", "exit", "0"], code: 125 },
  { words: ["--up-timeout", "1s", "--held-back", "node1=4000", "--", "probe", "exit", "0"], code: 125 },
];

/** All engines at a time, each with launches of its own, and a job of somebody who must not notice. */
async function onAll(work: (engine: RigEngine) => Promise<void>): Promise<void> {
  const traces = await Promise.all(ENGINES.map((engine) => Traces.watch(engine)));
  try {
    await Promise.all(ENGINES.map(work));
    for (const each of traces) await each.gone(SECONDS);
    for (const each of traces) expect(each.made).toBeGreaterThan(0);
  } finally {
    for (const each of traces) each.close();
  }
}

describe("launches", () => {
  let keepers: HeldJob[] = [];

  beforeAll(async () => {
    keepers = await Promise.all(ENGINES.map((engine) => HeldJob.start({ engine, nodes: 2 })));
  });

  afterAll(async () => {
    for (const keeper of keepers) {
      expect((await keeper.shell(["probe", "say", "here"])).stdout).toBe("here\n");
      expect((await keeper.shell(["probe", "say", "here"], "node2")).stdout).toBe("here\n");
      expect(await keeper.end()).toBe(0);
    }
  });

  test(`${LAUNCHES} of them, a third killed by SIGKILL at any moment from the first to the last, a third failing`, async () => {
    await onAll(async (engine) => {
      const perEngine = Math.ceil(LAUNCHES / ENGINES.length);
      const whole = await wholeLaunch(engine);
      const kills = Math.ceil(perEngine / 3);
      for (let index = 0; index < perEngine; index++) {
        const nodes = ((index % 4) % 3) + 1;
        const round = Math.floor(index / 3);
        if (index % 3 === 0) {
          const moment = ((round + Math.random()) / kills) * whole * (1 + (nodes - 1) * 0.3);
          expect([0, 137]).toContain(await launchAndSignal(engine, nodes, "SIGKILL", moment));
        } else if (index % 3 === 1) {
          const { code, stderr } = await run(runWords(["--", "probe", "exit", "3"], nodes), { engine });
          expect({ code, stderr }).toEqual({ code: 3, stderr: "" });
        } else {
          const failure = FAILURES[round % FAILURES.length];
          const { code, stderr } = await run(runWords(failure?.words ?? [], failure?.code === 125 ? 1 : nodes), {
            engine,
          });
          expect(stderr).toMatch(/^gangway: /);
          expect(code).toBe(failure?.code);
        }
      }
    });
  });

  test("killed in the first look at an image, of which nothing is known yet", async () => {
    await onAll(async (engine) => {
      const cache = mkdtempSync("/tmp/gangway-test-");
      chownSync(cache, USER.uid, USER.gid);
      const whole = await wholeLaunch(engine);
      for (const share of inPart([0.15, 0.2, 0.25, 0.3, 0.35, 0.4], (_, index) => index % 3 === 1)) {
        rmSync(join(cache, "gangway"), { recursive: true, force: true });
        const env = { XDG_CACHE_HOME: cache };
        expect([0, 137]).toContain(await launchAndSignal(engine, 1, "SIGKILL", share * whole, { env }));
      }
      rmSync(cache, { recursive: true, force: true });
    });
  });

  const ROUNDS = WHOLE ? 24 : 4;

  test("ended by SIGTERM and SIGINT at any moment, which their exit code says", async () => {
    await onAll(async (engine) => {
      const whole = await wholeLaunch(engine);
      for (let index = 0; index < ROUNDS; index++) {
        const signal = index % 2 === 0 ? "SIGTERM" : "SIGINT";
        const moment = ((index + Math.random()) / ROUNDS) * whole;
        const code = await launchAndSignal(engine, (index % 3) + 1, signal, moment);
        expect([0, signal === "SIGTERM" ? 143 : 130]).toContain(code);
      }
    });
  });
});

/** A process that was there and is gone, as labels and files name a launcher. */
function deadLauncher(): string {
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return `1:1@${boot}:${hostname()}`;
}

/** Makes a container that looks like one of a job, as any user of the engine can. @returns its name */
async function forge(
  engine: RigEngine,
  job: string,
  { user = USER, launcher = deadLauncher(), directory = `${USER.runtime}/gangway/${job}`, name = "" } = {},
): Promise<string> {
  const named = name === "" ? `gangway-${user.uid}-${job}-0` : name;
  const labels = {
    "gangway.job": job,
    "gangway.node": "node1",
    "gangway.node-index": "0",
    "gangway.uid": String(user.uid),
    "gangway.user": user.name,
    "gangway.directory": directory,
    "gangway.launcher": launcher,
  };
  const words = Object.entries(labels).flatMap(([key, value]) => ["--label", `${key}=${value}`]);
  await docker(engine, "create", "--name", named, ...words, "--entrypoint", "probe", IMAGES.bare, "sleep", "60");
  return named;
}

async function containers(engine: RigEngine): Promise<string[]> {
  const names = (await docker(engine, "ps", "-a", "--format", "{{.Names}}")).split("\n");
  return names.filter((name) => name !== "" && !OF_THE_POOL.test(name));
}

/** Pids of the launcher's children that are watchdogs. */
function watchdogsOf(directory: string): number[] {
  return readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => {
      try {
        const words = readFileSync(join("/proc", pid, "cmdline"), "utf8").split("\0");
        return words[0]?.endsWith("/libexec/watchdog") === true && words.includes(directory);
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** Leaves a run directory behind: neither the launcher nor its watchdog can clear up. */
async function killBoth(engine: RigEngine): Promise<string> {
  const job = await HeldJob.start({ engine });
  const watchdogs = watchdogsOf(job.directory);
  expect(watchdogs).toHaveLength(1);
  for (const pid of watchdogs) process.kill(pid, "SIGKILL");
  job.kill("SIGKILL");
  await job.ended();
  return job.directory;
}

describe.each(DIFFERENT_ENGINES)("launcher and watchdog both killed on $name", (engine) => {
  let traces: Traces;

  beforeAll(async () => {
    traces = await Traces.watch(engine);
  });

  afterAll(() => traces.close());

  test("`gangway gc` clears what they left, and says so", async () => {
    const directory = await killBoth(engine);
    expect(existsSync(join(directory, "0/host_ed25519.pub"))).toBe(true);
    // Init, at least, has seen to the keys.
    await eventually("no private key", SECONDS, () => !existsSync(join(directory, "0/host_ed25519")));
    await forge(engine, "gwt-created", { directory });
    const { code, stdout, stderr } = await gangway(["gc"], { engine });
    expect(stderr).toBe("");
    expect(stdout).toContain("removed the containers of job gwt-created\n");
    expect(stdout).toContain(`removed ${directory}\n`);
    expect(code).toBe(0);
    await traces.gone(SECONDS);
    expect((await gangway(["gc"], { engine })).stdout).toBe("");
  });

  test("so does the next `gangway run`, without a word", async () => {
    const directory = await killBoth(engine);
    await forge(engine, "gwt-created", { directory });
    const { code, stderr } = await run(runWords(["--", "probe", "sleep", "1"]), { engine });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    await traces.gone(SECONDS);
  });

  test("a job that lives, and another user's, are not touched by gc", async () => {
    const live = await HeldJob.start({ engine, nodes: 2 });
    const here = `${process.pid}:1@x:${hostname()}`;
    const others = [
      await forge(engine, "gwt-foreign", { user: MANY }),
      await forge(engine, "gwt-odd", { launcher: here }),
      await forge(engine, "gwt-elsewhere", { launcher: `1:1@0:not-${hostname()}` }),
      // As of an image that was made of a job's container (docker commit): it has that one's labels.
      await forge(engine, "gwt-saved", { name: "gwt-from-saved-image" }),
    ];
    try {
      expect((await gangway(["gc"], { engine })).stdout).toBe("");
      const left = await containers(engine);
      for (const name of others) expect(left).toContain(name);
      expect((await gangway(["ps"], { engine })).stdout).not.toContain("gwt-saved");
      expect((await live.shell(["probe", "say", "alive"], "node2")).stdout).toBe("alive\n");
    } finally {
      await docker(engine, "rm", "-f", ...others);
      await live.end();
    }
    await traces.gone(SECONDS);
  });

  test("whatever labels say, no directory outside of the run base is touched, by gc, stop or shell", async () => {
    const precious = join(USER.runtime, "precious");
    mkdirSync(join(precious, "gwt-forged", "kit"), { recursive: true, mode: 0o700 });
    const proof = join(precious, "executed");
    const config = `Host *\n  ProxyCommand touch ${proof}\n`;
    writeFileSync(join(precious, "gwt-forged", "kit", "ssh_config"), config);
    await execute("chown", ["-R", `${USER.uid}:${USER.gid}`, precious]);
    await execute("chmod", ["0755", precious]);
    const old = Date.now() / 1000 - 7200;
    for (const path of [join(precious, "gwt-forged"), precious]) utimesSync(path, old, old);
    try {
      const forged = await forge(engine, "gwt-forged", { directory: join(precious, "gwt-forged") });
      const entered = await gangway(["shell", "gwt-forged", "--", "true"], { engine });
      expect(entered.stderr).toMatch(/^gangway: job gwt-forged has ended: its launcher was killed\n {2}\S/);
      expect(entered.code).toBe(69);
      expect((await gangway(["stop", "gwt-forged"], { engine })).code).toBe(0);
      expect(await containers(engine)).not.toContain(forged);
      await forge(engine, "gwt-forged", { directory: join(precious, "gwt-forged") });
      expect((await gangway(["gc"], { engine })).stdout).toBe("removed the containers of job gwt-forged\n");
      expect(existsSync(join(precious, "gwt-forged/kit/ssh_config"))).toBe(true);
      expect(existsSync(proof)).toBe(false);
    } finally {
      rmSync(precious, { recursive: true });
    }
    await traces.gone(SECONDS);
  });
});

describe("a name that is taken", () => {
  test("another job of that name, known from another place, loses nothing", async () => {
    const live = await HeldJob.start({ nodes: 2 });
    const elsewhere = mkdtempSync("/dev/shm/gangway-test-");
    chownSync(elsewhere, USER.uid, USER.gid);
    try {
      const words = ["--name", live.id, "--nodes", "3", "--", "probe", "exit", "0"];
      const result = await run(runWords(words), { env: { XDG_RUNTIME_DIR: elsewhere } });
      expect(result.stderr).toMatch(/^gangway: node\d: a container named "gangway-.*" exists already\n {2}\S/);
      expect(result.code).toBe(125);
      expect((await live.shell(["probe", "say", "alive"])).stdout).toBe("alive\n");
      expect((await live.shell(["probe", "say", "alive"], "node2")).stdout).toBe("alive\n");
    } finally {
      await live.end();
      rmSync(elsewhere, { recursive: true });
    }
  });
});
