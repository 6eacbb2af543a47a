// Docker is not asked beforehand which driver makes its cgroups: with the systemd driver it refuses a parent that is no slice
// (seen with 20.10.24), and then the container gets limits of its own. No engine here has that driver, so one is played.
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { callerIdentity } from "../../src/config/identity.ts";
import { connect } from "../../src/engine/engine.ts";
import type { ContainerSpec, Engine } from "../../src/engine/types.ts";
import type { Step } from "../../src/job/step.ts";
import { EngineInStep } from "../../src/job/step-engine.ts";

const PARENT = "/slurm/uid_1/job_1/step_0";
const ID = "c".repeat(64);
const MEMORY = 300 * 2 ** 20;

const STEP: Step = {
  manager: "Slurm",
  cgroup: { version: 1, parent: PARENT, groups: new Map([["memory", PARENT]]) },
  memoryBytes: MEMORY,
  ulimits: [],
  shared: true,
  gpus: [],
};

const SPEC: ContainerSpec = {
  name: "step-driver",
  image: "sha256:1",
  argv: ["true"],
  env: [],
  uid: 1,
  gid: 1,
  supplementaryGids: [],
  workdir: "/",
  hostname: "n",
  labels: {},
  mounts: [],
  tmpfs: {},
  network: "host",
  tty: false,
  openStdin: false,
  readOnlyRoot: false,
  autoRemove: true,
  limits: { ulimits: [] },
  devices: [],
};

/** An answer: the status and what is said. */
type Answer = readonly [status: number, body: object];
const CREATED: Answer = [201, { Id: ID }];
const NO_SLICE: Answer = [
  400,
  { message: 'cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"' },
];

describe("an engine whose cgroup driver is not asked for", () => {
  let directory: string;
  let server: Server;
  let engine: Engine;
  let asked: string[];
  let parents: unknown[];

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "gangway-fake-"));
    asked = [];
    parents = [];
  });

  afterEach(async () => {
    engine.close();
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
    rmSync(directory, { recursive: true, force: true });
  });

  async function play(driver: string, create: (parent: unknown) => Answer): Promise<EngineInStep> {
    const socketPath = join(directory, "engine.sock");
    const info: Answer = [200, { CgroupDriver: driver, CgroupVersion: "1", Architecture: "x86_64" }];
    const answerTo = (path: string, text: string): Answer => {
      if (path === "/info") return info;
      if (path !== "/containers/create") return [200, {}];
      const { HostConfig: made } = JSON.parse(text) as { HostConfig: { CgroupParent?: string; Memory?: number } };
      parents.push(made.CgroupParent ?? made.Memory);
      return create(made.CgroupParent);
    };
    server = createServer((request, response) => {
      const path = request.url?.split("?")[0] ?? "";
      asked.push(path);
      void buffer(request).then((bytes) => {
        const [status, body] = answerTo(path, bytes.toString());
        response.writeHead(status, { "Api-Version": "1.41", Server: "Docker/20.10.24 (linux)" });
        response.end(JSON.stringify(body));
      });
    });
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
    engine = connect({ socketPath, origin: "DOCKER_HOST" });
    return new EngineInStep(
      engine,
      STEP,
      {
        policy: "auto",
        surroundings: { env: {}, hostname: "n", readFile: () => "" },
        identity: callerIdentity(),
        containers: 1,
        runBase: () => directory,
        udiImage: directory,
        note: () => undefined,
      },
      { usual: { kind: "docker", rootless: false, cgroupVersion: 1, cgroupDriver: "cgroupfs" } },
    );
  }

  test("puts a container below the step's cgroup, and is asked for nothing else", async () => {
    const within = await play("cgroupfs", () => CREATED);
    expect(await within.create(SPEC)).toBe(ID);
    expect(parents).toEqual([PARENT]);
    expect(asked).not.toContain("/info");
  });

  test("refuses the parent where it has the systemd driver, and then limits the container itself", async () => {
    const within = await play("systemd", (parent) => (parent === undefined ? CREATED : NO_SLICE));
    expect(await within.create(SPEC)).toBe(ID);
    expect(parents).toEqual([PARENT, MEMORY]);
    // What was learnt counts for the next one.
    expect(await within.create(SPEC)).toBe(ID);
    expect(parents).toEqual([PARENT, MEMORY, MEMORY]);
    expect(asked.filter((path) => path === "/info")).toHaveLength(1);
  });

  test("that refuses for another reason is believed", async () => {
    const within = await play("cgroupfs", () => [400, { message: "no such thing" }]);
    await expect(within.create(SPEC)).rejects.toThrow("no such thing");
    expect(parents).toEqual([PARENT]);
  });
});
