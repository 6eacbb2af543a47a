import { readFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { connect } from "../../src/engine/engine.ts";
import type { Attachment, ContainerSpec, Engine } from "../../src/engine/types.ts";

/** One of the engines of the test rig. */
export interface TestEngine {
  readonly name: "docker" | "podman" | "rootless";
  readonly socket: string;
  /** What an ordinary user of that engine is. */
  readonly uid: number;
  readonly gid: number;
}

const RIG = "start the test rig first: test/rig/engines.sh up";

/** The rig's variables, from the environment or as the running rig has written them down. */
function rigVariables(): Record<string, string> {
  if (process.env.GANGWAY_TEST_DOCKER !== undefined) return process.env as Record<string, string>;
  const run = process.env.GANGWAY_RIG_RUN ?? "/run/gangway-test";
  try {
    return JSON.parse(readFileSync(join(run, "engines.json"), "utf8")) as Record<string, string>;
  } catch (error) {
    throw new Error(RIG, { cause: error });
  }
}

export function testEngines(): TestEngine[] {
  const rig = rigVariables();
  const socket = (name: string): string => {
    const address = rig[name];
    if (address === undefined) throw new Error(`${name} is not set: ${RIG}`);
    return address.replace(/^unix:\/\//, "");
  };
  const user = { uid: Number(rig.GANGWAY_TEST_UID), gid: Number(rig.GANGWAY_TEST_GID) };
  return [
    { name: "docker", socket: socket("GANGWAY_TEST_DOCKER"), ...user },
    { name: "podman", socket: socket("GANGWAY_TEST_PODMAN"), ...user },
    { name: "rootless", socket: socket("GANGWAY_TEST_PODMAN_ROOTLESS"), ...user },
  ];
}

/** Label of everything that these tests make. */
export const LABEL = "gangway-engine-test";

/** The image most tests run: the rig's bare one, with an ENTRYPOINT, a CMD, a USER, a VOLUME and variables of its own. */
export const IMAGE = "gangway-test/engine-contract:latest";

const CHANGES = [
  'ENTRYPOINT ["/bin/echo","the image\'s entrypoint:"]',
  'CMD ["the image\'s command"]',
  "ENV FROM_IMAGE=yes",
  "ENV PATH=/bin:/usr/bin",
  "USER 12345",
  "VOLUME /volume",
];

/** A call of an engine without the code under test: status and body. */
export function raw(
  socketPath: string,
  method: string,
  path: string,
  body?: Buffer | Readable,
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const headers = { "Content-Type": "application/x-tar", Connection: "close" };
    const call = request({ socketPath, method, path, headers, agent: false }, (answer) => {
      buffer(answer).then((content) => resolve({ status: answer.statusCode ?? 0, body: content.toString() }), reject);
    });
    call.on("error", reject);
    if (body === undefined || Buffer.isBuffer(body)) call.end(body);
    else body.pipe(call);
  });
}

/** Makes an image out of a root file system. */
export async function importImage(
  socket: string,
  name: string,
  tar: Buffer,
  changes: readonly string[],
): Promise<void> {
  const [repo = "", tag = "latest"] = name.split(":");
  const query = new URLSearchParams({ fromSrc: "-", repo, tag });
  for (const change of changes) query.append("changes", change);
  const answer = await raw(socket, "POST", `/images/create?${query.toString()}`, tar);
  if (answer.status !== 200) throw new Error(`cannot import ${name}: ${answer.body}`);
}

export async function loadContractImage(socket: string): Promise<void> {
  const bare = join(import.meta.dirname, "../../build/images/bare.tar");
  let tar: Buffer;
  try {
    tar = readFileSync(bare);
  } catch (error) {
    throw new Error("make the test images first: images/build.sh bare", { cause: error });
  }
  await importImage(socket, IMAGE, tar, CHANGES);
}

/** Takes an image away again: one that is imported anew gets a new id, and the old would stay without a name. */
export async function removeImages(socket: string, ...names: string[]): Promise<void> {
  for (const name of names) await raw(socket, "DELETE", `/images/${name}?force=1`);
}

let count = 0;

/** Names that are taken by nobody else. */
export function uniqueName(): string {
  count += 1;
  return `gangway-engine-test-${process.pid}-${count}`;
}

/** A container as plain as can be; tests say what they want otherwise. */
export function specOf(engine: TestEngine, image: string, changes: Partial<ContainerSpec> = {}): ContainerSpec {
  return {
    name: uniqueName(),
    image,
    argv: ["/bin/true"],
    env: [],
    uid: engine.uid,
    gid: engine.gid,
    supplementaryGids: [],
    workdir: "/",
    hostname: "node1",
    labels: { [LABEL]: String(process.pid) },
    mounts: [],
    tmpfs: {},
    network: "host",
    tty: false,
    openStdin: true,
    readOnlyRoot: false,
    autoRemove: false,
    limits: { ulimits: [] },
    devices: [],
    ...changes,
  };
}

export interface RunResult {
  readonly id: string;
  readonly stdout: string;
  readonly stderr: string;
}

/** Creates, attaches, starts, writes the input, and reads both outputs to their end. The container is left there. */
export async function run(engine: Engine, spec: ContainerSpec, input: string | Buffer = ""): Promise<RunResult> {
  const id = await engine.create(spec);
  const attachment = await engine.attach(id, spec.tty);
  attachment.stdin.end(input);
  const outputs = readBoth(attachment);
  await engine.start(id);
  const [stdout, stderr] = await outputs;
  return { id, stdout: stdout.toString(), stderr: stderr.toString() };
}

export function readBoth(attachment: Attachment): Promise<[Buffer, Buffer]> {
  return Promise.all([buffer(attachment.stdout), buffer(attachment.stderr)]);
}

/** Waits until something is so; fails after five seconds. */
export async function until(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!(await check())) {
    if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export function open(engine: TestEngine, env: NodeJS.ProcessEnv = {}): Engine {
  return connect({ socketPath: engine.socket, origin: "flag" }, env);
}

/** Removes what a test left. */
export async function sweep(engine: Engine): Promise<void> {
  const left = await engine.list([`${LABEL}=${process.pid}`]);
  await Promise.all(left.map((container) => engine.remove(container.id)));
}
