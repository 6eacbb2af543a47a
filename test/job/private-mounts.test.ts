import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  asUserArgv,
  DOCKER,
  environmentOf,
  eventually,
  GANGWAY,
  gangway,
  IMAGES,
  PODMAN,
  ROOTLESS,
  type RunOptions,
  run,
  UDI_IMAGE,
  USER,
} from "./harness.ts";
import { execute } from "./launch.ts";

/*
 * A workload manager may give a job mounts of its own, above all a private /tmp. An engine that lives outside of them has
 * another directory by the same path. Here: mount namespaces as Slurm's job_container/tmpfs and HTCondor make them, with
 * the rig's engines outside.
 */

/** A directory of root's that nobody else may enter, where a manager keeps its jobs' private ones. */
let closed = "";
/** `/tmp/NAME`, which the host has, too, with something else in it. */
let place = "";

beforeAll(() => {
  closed = mkdtempSync("/var/tmp/gangway-test-jobs-");
  mkdirSync(join(closed, "77"));
  chmodSync(join(closed, "77"), 0o1777);
  place = mkdtempSync("/tmp/gangway-test-");
  fill(place, "the host's\n");
  const own = join(closed, "77", place.slice("/tmp/".length));
  mkdirSync(own);
  fill(own, "the job's\n");
});

afterAll(() => {
  rmSync(closed, { recursive: true, force: true });
  rmSync(place, { recursive: true, force: true });
});

function fill(directory: string, content: string): void {
  writeFileSync(join(directory, "file"), content);
  chownSync(directory, USER.uid, USER.gid);
}

/** Runs a program as root among mounts of its own, which a script makes. */
async function among(mounts: string, argv: readonly string[], options: RunOptions = {}) {
  const script = `set -e\n${mounts}\nexec "$@"`;
  const child = spawn("unshare", ["--mount", "--propagation", "private", "sh", "-c", script, "sh", ...argv], {
    env: environmentOf(options),
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close") as Promise<[number]>,
  ]);
  return { stdout, stderr, code };
}

/** `gangway run` of the user's, called in a directory. */
function launched(directory: string, words: readonly string[]): string[] {
  return asUserArgv(USER, ["sh", "-c", 'cd "$0" && exec "$@"', directory, GANGWAY, ...runOf(words)]);
}

function runOf(words: readonly string[]): string[] {
  return ["run", "--image", IMAGES.bare, "--pull", "never", ...words];
}

const SHOW = ["--", "sh", "-c", "pwd; cat file"];

describe("a private /tmp that is a directory of the host's", () => {
  const mounts = () => `mount --bind ${closed}/77 /tmp`;

  beforeAll(() => chmodSync(closed, 0o700));

  test.each([DOCKER, PODMAN])("$name is asked for the job's, by its own path", async (engine) => {
    const words = ["--volume", `${place}:/mnt/volume`, "--", "sh", "-c", "pwd; cat file /mnt/volume/file"];
    const result = await among(mounts(), launched(place, words), { engine });
    expect(result).toEqual({ stdout: `${place}\nthe job's\nthe job's\n`, stderr: "", code: 0 });
  });

  test("root, for the user, has the same", async () => {
    const argv = ["sh", "-c", 'cd "$0" && exec "$@"', place, GANGWAY, ...runOf(["--user", USER.name, ...SHOW])];
    const result = await among(mounts(), argv, { env: { HOME: "/root" } });
    expect(result).toEqual({ stdout: `${place}\nthe job's\n`, stderr: "", code: 0 });
  });

  test("the user's own engine, which does not get there, shows nothing in its place", async () => {
    const result = await among(mounts(), launched(place, ["--", "pwd"]), { engine: ROOTLESS });
    expect(result).toMatchObject({ stdout: "/\n", code: 0 });
    expect(result.stderr).toMatch(`the current directory ${place} is not mounted: the engine cannot reach it`);
  });
});

describe("a private /tmp in memory, which is nowhere else", () => {
  const mounts = () => `mount -t tmpfs none /tmp; install -d -o ${USER.uid} ${place}`;

  test.each([DOCKER, PODMAN, ROOTLESS])(
    "$name: said of the current directory, refused for a volume",
    async (engine) => {
      const here = await among(mounts(), launched(place, ["--", "pwd"]), { engine });
      expect(here).toMatchObject({ stdout: "/\n", code: 0 });
      expect(here.stderr).toMatch(`the current directory ${place} is not mounted: the engine cannot reach it`);
      const volume = await among(mounts(), launched("/", ["--volume", `${place}:/mnt/volume`, "--", "true"]), {
        engine,
      });
      expect(volume).toMatchObject({ stdout: "", code: 125 });
      expect(volume.stderr).toMatch(`volume ${place}:/mnt/volume: the engine cannot reach it`);
    },
  );
});

test("a private /dev/shm is passed over for the job's own files, and named where there is nothing else", async () => {
  const shm = "mount -t tmpfs -o mode=1777 none /dev/shm";
  const other = await among(shm, launched("/", ["--", "echo", "runs"]));
  expect(other).toEqual({ stdout: "runs\n", stderr: "", code: 0 });
  const nothing = await among(shm, launched("/", ["--", "true"]), { env: { XDG_RUNTIME_DIR: "" } });
  expect(nothing).toMatchObject({ stdout: "", code: 125 });
  expect(nothing.stderr).toMatch(`/dev/shm/gangway-${USER.uid}: the engine does not see it`);
});

test("a node without the user's home: said, and the job runs", async () => {
  const result = await among(
    `mount -t tmpfs -o mode=0755 none ${join(USER.home, "..")}`,
    launched("/", ["--", "sh", "-c", "echo $HOME"]),
  );
  expect(result).toMatchObject({ stdout: `${USER.home}\n`, code: 0 });
  expect(result.stderr).toBe(`gangway: the home directory ${USER.home} is not mounted: there is none on this host\n`);
});

describe("a file system that only its owner may enter (FUSE without allow_root)", () => {
  let mounted = "";
  let engine = "";

  beforeAll(async () => {
    mounted = mkdtempSync("/var/tmp/gangway-test-fuse-");
    const files = join(closed, "files");
    mkdirSync(files);
    chmodSync(closed, 0o711);
    fill(files, "behind fuse\n");
    const server = join(closed, "server");
    writeFileSync(server, `#!/bin/sh\nexec ${UDI_IMAGE}/libexec/sftp-server\n`, { mode: 0o755 });
    const socket = ROOTLESS.endpoint.slice("unix://".length);
    engine = (await execute(join(UDI_IMAGE, "libexec/connector"), ["--who", socket])).stdout.split(" ")[0] ?? "";
    const ids = [String(USER.uid), String(USER.gid)];
    const fuse = spawn("python3", [join(import.meta.dirname, "fuse.py"), mounted, ...ids, files, server, engine]);
    const complaint = text(fuse.stderr);
    const ended = once(fuse, "close").then(async () => Promise.reject(new Error(await complaint)));
    ended.catch(() => undefined);
    const shown = async () => (await run(["cat", join(mounted, "file")])).stdout === "behind fuse\n";
    await Promise.race([eventually("the user sees the files", 20, shown), ended]);
  });

  afterAll(async () => {
    await execute("nsenter", ["-t", engine, "-m", "umount", "-l", mounted]);
    await execute("umount", ["-l", mounted]);
    rmSync(mounted, { recursive: true });
  });

  // Rootless Podman starts containers by runc here, which enters it as the container's root: that is not its owner either.
  test.each([DOCKER, PODMAN, ROOTLESS])("$name cannot: said why, and what to do", async (other) => {
    const words = runOf(["--volume", `${mounted}:/mnt/volume`, "--", "true"]);
    const { stdout, stderr, code } = await gangway(words, { engine: other });
    expect({ stdout, code }).toEqual({ stdout: "", code: 125 });
    expect(stderr).toMatch(`${mounted} cannot be mounted: the engine may not enter it, only its owner can`);
    expect(stderr).toMatch("--no-mount-home");
  });
});
