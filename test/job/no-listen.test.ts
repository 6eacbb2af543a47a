import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { gangway, IMAGES, inDirectory } from "./harness.ts";

/* With --no-listen, and without a network, the unix socket is all there is. */

interface Inspected {
  readonly directory: string;
  readonly record: { readonly nodes: readonly { readonly port: number; readonly container: string }[] };
}

async function inspected(job: string): Promise<Inspected> {
  return JSON.parse((await gangway(["inspect", job])).stdout) as Inspected;
}

/** Ports on which processes of the job's container listen over TCP, PID 1 among them (proc(5): state 0A, the inode). */
async function listening(job: string): Promise<number[]> {
  const look = "cat /proc/net/tcp /proc/net/tcp6; readlink /proc/[0-9]*/fd/*";
  const { stdout } = await gangway(["shell", job, "--", "sh", "-c", look]);
  const inodes = new Set([...stdout.matchAll(/^socket:\[(\d+)\]$/gm)].map(([, inode]) => inode));
  expect(inodes.size).toBeGreaterThan(0);
  return stdout
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === "0A" && inodes.has(fields[9]))
    .map((fields) => Number.parseInt(fields[1]?.split(":")[1] ?? "", 16));
}

async function started(job: string, options: readonly string[]): Promise<void> {
  await inDirectory(async (cwd) => {
    const words = ["run", "-d", "--name", job, ...options, "--image", IMAGES.debian, "sleep", "300"];
    expect(await gangway(words, { cwd })).toMatchObject({ code: 0, stderr: "" });
  });
}

describe.each([
  ["--no-listen", "quiet-1", ["--no-listen"]],
  ["--no-listen on the host's network", "quiet-2", ["--no-listen", "--network", "host"]],
  ["--network none", "quiet-3", ["--network", "none"]],
])("with %s", (_what, job, options) => {
  beforeAll(async () => await started(job, options));
  afterAll(async () => await gangway(["stop", "--signal", "KILL", job]));

  it("no port listens on any network", async () => {
    expect(await listening(job)).toEqual([]);
    expect((await inspected(job)).record.nodes.map(({ port }) => port)).toEqual([0]);
  });

  it("sessions come by the socket, with their exit code, input and output", async () => {
    const result = await gangway(["shell", job, "--", "sh", "-c", "cat; exit 7"], { input: "in and out\n" });
    expect(result).toMatchObject({ code: 7, stdout: "in and out\n" });
  });

  it("a client that knows no certificates finds the node's name, and no port", async () => {
    const { directory } = await inspected(job);
    const known = readFileSync(`${directory}/kit/known_hosts_plain`, "utf8");
    expect(known).toContain(`${job}.job ssh-ed25519 `);
    expect(known).not.toContain("]:");
  });
});

describe("else", () => {
  afterAll(async () => await gangway(["stop", "--signal", "KILL", "loud-1"]));

  it("the node's port is the one that listens", async () => {
    await started("loud-1", []);
    const [node] = (await inspected("loud-1")).record.nodes;
    expect(new Set(await listening("loud-1"))).toEqual(new Set([node?.port]));
  });
});

it("several nodes cannot do without, and are told so", async () => {
  const { code, stderr } = await gangway(["run", "--no-listen", "-N", "2", "--image", IMAGES.debian, "true"]);
  expect(code).toBe(125);
  expect(stderr).toContain("2 nodes cannot reach each other");
});
