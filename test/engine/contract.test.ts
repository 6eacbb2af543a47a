import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { EngineError } from "../../src/config/errors.ts";
import type { ContainerSpec, Engine } from "../../src/engine/types.ts";
import {
  IMAGE,
  loadContractImage,
  open,
  raw,
  removeImages,
  run,
  specOf,
  sweep,
  testEngines,
  uniqueName,
  until,
} from "./support.ts";

/** What is thrown, for a closer look. */
async function failureOf(promise: Promise<unknown>): Promise<EngineError> {
  const error: unknown = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(EngineError);
  const failure = error as EngineError;
  expect(failure.message).not.toMatch(/\n/);
  return failure;
}

describe.each(testEngines())("containers on $name", (target) => {
  let engine: Engine;
  let image: string;
  let directory = "";
  const rootless = target.name === "rootless";
  const spec = (changes: Partial<ContainerSpec> = {}): ContainerSpec => specOf(target, image, changes);
  const shell = (script: string, changes: Partial<ContainerSpec> = {}): ContainerSpec =>
    spec({ argv: ["/bin/sh", "-c", script], ...changes });

  beforeAll(async () => {
    engine = open(target);
    await loadContractImage(target.socket);
    image = (await engine.inspectImage(IMAGE))?.id ?? "";
  });

  afterEach(async () => {
    if (directory !== "") rmSync(directory, { recursive: true, force: true });
    await sweep(engine);
  });

  afterAll(async () => {
    await removeImages(target.socket, IMAGE);
    engine.close();
  });

  /** A directory that the rootless engine's user can look into too. */
  const sharedDirectory = (): string => {
    directory = mkdtempSync(join(tmpdir(), "gangway-engine-"));
    chmodSync(directory, 0o755);
    writeFileSync(join(directory, "file"), "of the host\n", { mode: 0o644 });
    return directory;
  };

  test("says who it is, shortly and at length", async () => {
    const identity = await engine.identify();
    expect(identity.kind).toBe(target.name === "docker" ? "docker" : "podman");
    expect(identity.rootless).toBe(rootless);
    expect(identity.version).toMatch(/^\d+\.\d+/);
    const info = await engine.info();
    expect(info).toMatchObject({ ...identity, architecture: expect.stringMatching(/^(x86_64|aarch64)$/) as string });
    expect([1, 2]).toContain(info.cgroupVersion);
  });

  test("knows an image, by reference and by id", async () => {
    const byName = await engine.inspectImage(IMAGE);
    expect(byName).toMatchObject({
      entrypoint: ["/bin/echo", "the image's entrypoint:"],
      cmd: ["the image's command"],
      user: "12345",
      os: "linux",
    });
    expect(byName?.id).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(byName?.env).toContain("FROM_IMAGE=yes");
    expect(await engine.inspectImage(image)).toEqual(byName);
  });

  test("has no image that nobody made", async () => {
    expect(await engine.inspectImage("gangway-test/nobody-made-this")).toBeUndefined();
    const failure = await failureOf(engine.create(spec({ image: "gangway-test/nobody-made-this" })));
    expect(failure.status).toBe(404);
    expect(failure.hint).toMatch(/pull/);
  });

  test("runs argv and nothing of the image's, byte for byte", async () => {
    const awkward = ["", "two words", "a\nline", '{"json": ["x"]}', "$HOME", "'quoted'", "ünïcode", "--"];
    const script = 'for word; do printf "<%s>" "$word"; done';
    const { stdout } = await run(engine, spec({ argv: ["/bin/sh", "-c", script, "sh", ...awkward] }));
    expect(stdout).toBe(awkward.map((word) => `<${word}>`).join(""));
    const single = await run(engine, spec({ argv: ["/bin/pwd"], workdir: "/bin" }));
    expect(single.stdout).toBe("/bin\n");
  });

  test("gives the container's process what was asked for, and no more", async () => {
    const script = `id -u; id -g; cat /proc/sys/kernel/hostname; pwd; echo "$FROM_IMAGE $OURS"
      grep -E '^(CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'
      touch /x 2>/dev/null || echo read-only; touch /scratch/x && echo tmpfs; grep ' /dev/shm ' /proc/mounts | grep -o 'size=[0-9]*k'`;
    const { stdout, stderr } = await run(
      engine,
      shell(script, {
        env: ["OURS=a b"],
        workdir: "/usr",
        readOnlyRoot: true,
        tmpfs: { "/scratch": "size=1m,mode=1777" },
        limits: { ulimits: [], shmBytes: 2 << 20, oomScoreAdj: 100 },
      }),
    );
    expect(stderr).toBe("");
    const lines = stdout.trim().split("\n");
    expect(lines.slice(0, 5)).toEqual([String(target.uid), String(target.gid), "node1", "/usr", "yes a b"]);
    expect(lines.slice(5, 10).sort()).toEqual([
      "CapAmb:0000000000000000",
      "CapBnd:0000000000000000",
      "CapEff:0000000000000000",
      "NoNewPrivs:1",
      "Seccomp:2",
    ]);
    expect(lines.slice(10)).toEqual(["read-only", "tmpfs", "size=2048k"]);
  });

  test("gives supplementary groups where the engine can", async () => {
    const groups = [target.gid, 4000, 300_000, 2_147_483_647];
    const { stdout } = await run(engine, spec({ argv: ["/usr/bin/id", "-G"], supplementaryGids: groups }));
    const expected = rootless ? [target.gid] : groups;
    expect(stdout.trim().split(" ").map(Number).sort()).toEqual([...expected].sort());
  });

  test("refuses ids that no engine knows", async () => {
    expect((await failureOf(engine.create(spec({ uid: 2 ** 31 })))).message).toMatch(/2147483648/);
    expect((await failureOf(engine.create(spec({ supplementaryGids: [2 ** 31] })))).message).toMatch(/2147483648/);
  });

  test("sets resource limits, or says that it cannot", async () => {
    const limited = shell("ulimit -n; ulimit -Hn; ulimit -u", {
      limits: { ulimits: [{ name: "nofile", soft: 500, hard: 600 }] },
    });
    if (rootless) {
      expect((await failureOf(engine.create(limited))).message).toMatch(/rootless Podman takes no --ulimit/);
      return;
    }
    const { stdout } = await run(engine, limited);
    const [soft, hard, processes] = stdout.trim().split("\n");
    expect([soft, hard]).toEqual(["500", "600"]);
    expect(Number(processes)).toBeGreaterThan(0);
  });

  test("limits memory, or says that it cannot", async () => {
    const limited = shell("head -c 200000000 /dev/zero | tail -c 150000000 | wc -c", {
      limits: { ulimits: [], memoryBytes: 32 << 20, pids: 100, nanoCpus: 500_000_000 },
    });
    if (rootless && (await engine.info()).cgroupVersion === 1) {
      expect((await failureOf(engine.create(limited))).message).toMatch(
        /cannot limit cpus, memory, the number of proc/,
      );
      return;
    }
    const { stdout } = await run(engine, limited);
    expect(stdout.trim()).not.toBe("150000000");
  });

  test("mounts what is there", async () => {
    const source = sharedDirectory();
    const mounts = [
      { source, target: "/mounted", readOnly: true, propagation: "rprivate" as const },
      { source: join(source, "file"), target: "/etc/passwd", readOnly: true },
    ];
    const { stdout } = await run(
      engine,
      shell("cat /mounted/file /etc/passwd; touch /mounted/x || echo no", { mounts }),
    );
    expect(stdout).toBe("of the host\nof the host\nno\n");
  });

  test("fails where a mount's source is missing, and makes nothing", async () => {
    const source = join(tmpdir(), uniqueName());
    const mounts = [{ source, target: "/mounted", readOnly: false }];
    const failure = await failureOf(engine.create(spec({ mounts })));
    expect(failure.message).toContain(source);
    expect(existsSync(source)).toBe(false);
  });

  test("tells a command that is not there at the start", async () => {
    const id = await engine.create(spec({ argv: ["/nobody/made/this"] }));
    const failure = await failureOf(engine.start(id));
    expect(failure.message).toMatch(/no such file or directory/);
  });

  test("tells a network that is not there", async () => {
    const start = async (): Promise<void> => engine.start(await engine.create(spec({ network: "nobody-made-this" })));
    expect((await failureOf(start())).message).toMatch(/nobody-made-this/);
  });

  test("tells that a name is taken", async () => {
    const first = spec();
    await engine.create(first);
    const failure = await failureOf(engine.create(spec({ name: first.name })));
    expect(failure.status).toBe(409);
    expect(failure.message).toContain(first.name);
  });

  test("tells how a container ended", async () => {
    const { id } = await run(engine, shell("exit 77"));
    await until("it is down", async () => (await engine.inspect(id))?.running === false);
    expect(await engine.inspect(id)).toMatchObject({ id, running: false, exitCode: 77, oomKilled: false });
    const killed = await run(engine, shell("kill -9 $$"));
    // Process 1 cannot kill itself; what counts is that the code comes through.
    await until("it is down", async () => (await engine.inspect(killed.id))?.running === false);
    expect(await engine.inspect(uniqueName())).toBeUndefined();
  });

  test("finds containers by their labels, also those that were never started", async () => {
    const labels = { "gangway-engine-test": String(process.pid), "gangway-test.color": 'green, "and" blue=1' };
    const wanted = spec({ labels });
    const id = await engine.create(wanted);
    await engine.create(spec());
    const found = await engine.list(['gangway-test.color=green, "and" blue=1']);
    expect(found.map((container) => container.id)).toEqual([id]);
    expect(found[0]).toMatchObject({
      name: wanted.name,
      labels,
      state: expect.stringMatching(/created|init/) as string,
    });
    expect(Math.abs((found[0]?.created ?? 0) - Date.now() / 1000)).toBeLessThan(120);
    expect((await engine.list(["gangway-test.color"])).length).toBe(1);
    expect(await engine.list(["gangway-test.color=red"])).toEqual([]);
    expect(await engine.inspect(id)).toMatchObject({ name: wanted.name, labels, status: "created" });
  });

  test("lists while others remove", async () => {
    const ids = await Promise.all(Array.from({ length: 6 }, () => engine.create(spec())));
    const removals = Promise.all(ids.map((id) => engine.remove(id)));
    for (let round = 0; round < 20; round++) await engine.list([`gangway-engine-test=${process.pid}`]);
    await removals;
    expect(await engine.list([`gangway-engine-test=${process.pid}`])).toEqual([]);
  });

  test("pauses and lets go on, or says that it cannot", async () => {
    const id = await engine.create(shell("while :; do sleep 1; done"));
    await engine.start(id);
    if (rootless && (await engine.info()).cgroupVersion === 1) {
      await failureOf(engine.setPaused(id, true));
      return;
    }
    await engine.setPaused(id, true);
    await engine.setPaused(id, true);
    expect(await engine.inspect(id)).toMatchObject({ paused: true });
    await engine.setPaused(id, false);
    await engine.setPaused(id, false);
    expect(await engine.inspect(id)).toMatchObject({ paused: false, running: true });
  });

  test("tells the addresses on a bridge, or why there is none", async () => {
    const id = await engine.create(shell("sleep 30", { network: "bridge" }));
    try {
      await engine.start(id);
    } catch (error) {
      // A rootless engine needs /dev/net/tun for that.
      expect(rootless).toBe(true);
      expect((error as EngineError).hint).toMatch(/--network host/);
      return;
    }
    const state = await engine.inspect(id);
    expect(state?.pid).toBeGreaterThan(1);
    if (!rootless) expect(state?.addresses).toEqual([expect.stringMatching(/^\d+\.\d+\.\d+\.\d+$/)]);
  });

  test("hands devices over", async () => {
    const devices = [{ hostPath: "/dev/zero", containerPath: "/dev/nothing", permissions: "r" }];
    const { stdout } = await run(engine, shell("head -c 5 /dev/nothing | wc -c", { devices }));
    expect(stdout.trim()).toBe("5");
  });

  test("refuses GPUs that are not there", async () => {
    const start = async (): Promise<void> => engine.start(await engine.create(spec({ gpus: "all" })));
    expect((await failureOf(start())).hint).toBeDefined();
  });

  describe("removal", () => {
    const gone = async (id: string): Promise<void> => {
      expect(await engine.inspect(id)).toBeUndefined();
      expect((await engine.list([`gangway-engine-test=${process.pid}`])).map((one) => one.id)).not.toContain(id);
    };

    test("of what was never there, and twice", async () => {
      await engine.remove(uniqueName());
      const id = await engine.create(spec());
      await engine.remove(id);
      await engine.remove(id);
      await gone(id);
    });

    test("by several at once", async () => {
      const id = await engine.create(shell("trap '' TERM; while :; do sleep 1; done"));
      await engine.start(id);
      await Promise.all([engine.remove(id), engine.remove(id), engine.remove(id)]);
      await gone(id);
    });

    test("while the engine removes it by itself", async () => {
      for (let round = 0; round < 8; round++) {
        const { id } = await run(engine, shell("exit 3", { autoRemove: true }));
        await new Promise((resolve) => setTimeout(resolve, round * 10));
        await engine.remove(id);
        await gone(id);
      }
    });

    test("of one that is ending by itself; it is ended where it does not", async () => {
      const ending = await engine.create(shell("exit 0", { autoRemove: true }));
      await engine.start(ending);
      await engine.remove(ending, true);
      await gone(ending);
      const staying = await engine.create(shell("while :; do sleep 1; done", { autoRemove: true }));
      await engine.start(staying);
      await engine.remove(staying, true);
      await gone(staying);
      await engine.remove(uniqueName(), true);
    });

    test("of one that is paused", async () => {
      const id = await engine.create(shell("while :; do sleep 1; done"));
      await engine.start(id);
      await engine.setPaused(id, true).catch(() => undefined);
      await engine.remove(id);
      await gone(id);
    });

    test("takes anonymous volumes along", async () => {
      const volumes = async (): Promise<string[]> => {
        const answer = JSON.parse((await raw(target.socket, "GET", "/volumes")).body) as {
          Volumes?: { Name: string }[];
        };
        return (answer.Volumes ?? []).map((volume) => volume.Name);
      };
      const before = await volumes();
      const { id } = await run(engine, shell("echo x"));
      const during = await volumes();
      expect(during.length).toBeGreaterThan(before.length);
      await engine.remove(id);
      expect((await volumes()).filter((name) => !before.includes(name) && during.includes(name))).toEqual([]);
    });
  });
});
