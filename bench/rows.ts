import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DOCKER, IMAGES, UDI_IMAGE, USER } from "../test/job/harness.ts";
import { srunCarrier } from "./carriers.ts";
import { srunLaunches } from "./cluster.ts";
import { condorSessions } from "./condor.ts";
import { injected } from "./inject.ts";
import { copies, help, sessions } from "./reach.ts";
import { rendezvous } from "./rendezvous.ts";
import { manyNames, unfolding } from "./scale.ts";
import { type DistributionSshd, startSshd } from "./sshd.ts";
import { interleave, percentile, type Samples, Stopwatch, spawnAsUser, summary } from "./stopwatch.ts";

/** A line of the table. */
export interface Row {
  readonly what: string;
  readonly peer: string;
  readonly unit: string;
  readonly ours: Samples;
  readonly theirs?: Samples;
  /** What the reach is about: a difference, a ratio, or the value itself. */
  readonly measure: "difference" | "ratio" | "value";
  readonly value: number;
  readonly reach: string;
  readonly met: boolean;
  readonly note?: string;
}

/** The user's directory in which everything happens: in the home, hence also in every container of the job. */
export interface Place {
  readonly directory: string;
  /** bench/rounds.c, built. */
  readonly rounds: string;
  /** bench/unfold.ts, built. */
  readonly unfold: string;
}

const IMAGE = IMAGES.bare;
const LAUNCHES = 21;
const THREE_NODE_LAUNCHES = 15;
const HOPS = 61;
const TRANSFERS = 7;
/** So much that setting the connection up, where the two sides differ most, is a few hundredths of it. */
const TRANSFERRED_BYTES = 2 * 2 ** 30;
const CROWD = 200;
const CROWD_HOLD_S = 5;
const MIB = 2 ** 20;

export function atMost(most: number, row: Omit<Row, "reach" | "met">, decimals: number): Row {
  return { ...row, reach: `at most ${most.toFixed(decimals)}`, met: row.value <= most };
}

export function atLeast(least: number, row: Omit<Row, "reach" | "met">, decimals: number): Row {
  return { ...row, reach: `at least ${least.toFixed(decimals)}`, met: row.value >= least };
}

/** `docker run --rm` of the same image, as the same user, in the same network. */
function dockerRun(network: string): string[] {
  return ["docker", "run", "--rm", "--user", `${USER.uid}:${USER.gid}`, "--network", network, IMAGE, "true"];
}

export function docker(...words: string[]): string {
  return execFileSync("docker", words, { encoding: "utf8", env: { ...process.env, DOCKER_HOST: DOCKER.endpoint } });
}

// ---- launch ------------------------------------------------------------------------------------------------------

const NETWORKS = ["bridge", "host"] as const;

async function launches({ directory, rounds }: Place): Promise<Row[]> {
  const watch = new Stopwatch([rounds], directory);
  const rows: Row[] = [];
  for (const network of NETWORKS) {
    const { docker, node, gangway } = await interleave(LAUNCHES, {
      docker: () => watch.time(dockerRun(network)),
      node: () => watch.time(["node", "-e", "0"]),
      gangway: () => watch.time(["gangway", "run", "--image", IMAGE, "--network", network, "true"]),
    });
    const what = `gangway run … true, network ${network}`;
    const peer = `docker run --rm, plus node -e 0 (${node.median.toFixed(0)} ms)`;
    const value = gangway.median - docker.median - node.median;
    rows.push(atMost(45, { what, peer, unit: "ms", ours: gangway, theirs: docker, measure: "difference", value }, 0));
  }
  await watch.close();
  return rows;
}

async function threeNodes({ directory, rounds }: Place): Promise<Row[]> {
  const watch = new Stopwatch([rounds], directory);
  const rows: Row[] = [];
  for (const network of NETWORKS) {
    const script = join(directory, `three-${network}.sh`);
    const each = dockerRun(network).join(" ");
    writeFileSync(script, `#!/bin/sh\n${each} & a=$!\n${each} & b=$!\n${each} & c=$!\nwait $a && wait $b && wait $c\n`);
    chmodSync(script, 0o755);
    const { docker, gangway } = await interleave(THREE_NODE_LAUNCHES, {
      docker: () => watch.time([script]),
      gangway: () => watch.time(["gangway", "run", "--image", IMAGE, "--network", network, "--nodes", "3", "true"]),
    });
    const what = `gangway run --nodes 3 … true, network ${network}`;
    const peer = "three docker run --rm side by side";
    const value = gangway.median / docker.median;
    rows.push(atMost(1.3, { what, peer, unit: "ms", ours: gangway, theirs: docker, measure: "ratio", value }, 1));
  }
  await watch.close();
  return rows;
}

// ---- sessions ----------------------------------------------------------------------------------------------------

/** A stop watch in the head of a job of two nodes. */
function inJob({ directory, rounds }: Place): Stopwatch {
  return new Stopwatch(["gangway", "run", "--image", IMAGE, "--nodes", "2", "--", rounds], directory);
}

async function hops(place: Place): Promise<Row[]> {
  const host = new Stopwatch([place.rounds], place.directory);
  const job = inJob(place);
  const sshd = await startSshd(place.directory);
  const container = docker("run", "-d", "--rm", "--user", `${USER.uid}:${USER.gid}`, IMAGE, "sleep", "3600").trim();
  try {
    const sides = await interleave(HOPS, {
      hop: () => job.time(["ssh", "node2", "true"]),
      exec: () => host.time(["docker", "exec", container, "true"]),
      plain: () => host.time([...sshd.client, "true"]),
    });
    const what = "ssh node2 true, inside the job";
    const ours = sides.hop;
    const against = (peer: string, theirs: Samples, most: number) =>
      atMost(most, { what, peer, unit: "ms", ours, theirs, measure: "ratio", value: ours.median / theirs.median }, 1);
    return [
      against("docker exec c true, from the host", sides.exec, 0.7),
      against(`${sshd.version}: ssh and sshd, default settings`, sides.plain, 0.3),
    ];
  } finally {
    docker("rm", "-f", container);
    await end(job, host, sshd);
  }
}

async function bulk(place: Place): Promise<Row[]> {
  const host = new Stopwatch([place.rounds], place.directory);
  const job = inJob(place);
  const sshd = await startSshd(place.directory);
  const input = join(place.directory, "zeros");
  writeFileSync(input, "");
  truncateSync(input, TRANSFERRED_BYTES);
  const rate = async (time: Promise<number>) => TRANSFERRED_BYTES / 1e6 / ((await time) / 1000);
  try {
    const { ours, theirs } = await interleave(TRANSFERS, {
      ours: () => rate(job.time(["ssh", "node2", "cat >/dev/null"], input)),
      theirs: () => rate(host.time([...sshd.client, "-c", "aes128-gcm@openssh.com", "cat >/dev/null"], input)),
    });
    const value = ours.median / theirs.median;
    const peer = `${sshd.version} over loopback, aes128-gcm`;
    const row = { what: "ssh node2 'cat >/dev/null', bulk", peer, unit: "MB/s", ours, theirs, value } as const;
    return [atLeast(0.9, { ...row, measure: "ratio" }, 1)];
  } finally {
    await end(job, host, sshd);
  }
}

async function end(job: Stopwatch, host: Stopwatch, sshd: DistributionSshd): Promise<void> {
  await Promise.all([job.close(), host.close(), sshd.stop()]);
}

async function crowd({ directory, rounds }: Place): Promise<Row[]> {
  const command = [rounds, "crowd", String(CROWD), "ssh", "node2", `echo open; sleep ${CROWD_HOLD_S}`];
  const child = spawnAsUser(["gangway", "run", "--image", IMAGE, "--nodes", "2", "--", ...command], directory);
  child.stdin?.end();
  let output = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  await new Promise<void>((resolve) => child.once("close", () => resolve()));
  const sessions = output
    .trim()
    .split("\n")
    .map((line) => line.split(" ").map(Number));
  const opened = sessions.filter(([nanoseconds, status]) => status === 0 && nanoseconds !== 0);
  const failures = CROWD - opened.length;
  const ours = summary(opened.map(([nanoseconds = 0]) => nanoseconds / 1e6));
  return [
    {
      what: `${CROWD} sessions at once to one node, held ${CROWD_HOLD_S} s: open after`,
      peer: "all succeed",
      unit: "ms",
      ours,
      measure: "value",
      value: failures,
      reach: "0 failures",
      met: failures === 0,
      note: `p99 ${percentile(ours.samples, 99).toFixed(0)} ms`,
    },
  ];
}

// ---- footprint ---------------------------------------------------------------------------------------------------

/** What is resident of our programs in a container in which the job's command sleeps and nobody is logged in. */
async function memory({ directory }: Place): Promise<Row[]> {
  const name = `bench-${process.pid}`;
  const child = spawnAsUser(["gangway", "run", "--image", IMAGE, "--name", name, "--", "cat"], directory);
  try {
    let containers: string[] = [];
    while (containers.length === 0 && child.exitCode === null) {
      await new Promise((resolve) => setTimeout(resolve, 500));
      containers = docker("ps", "-q", "--filter", `label=gangway.job=${name}`).split("\n").filter(Boolean);
    }
    // Time for what belongs to the launch to be over.
    await new Promise((resolve) => setTimeout(resolve, 2000));
    const bytes = containers.flatMap((id) =>
      docker("top", id, "-o", "pid,comm")
        .trim()
        .split("\n")
        .slice(1)
        .map((line) => line.trim().split(/\s+/))
        .filter(([, program]) => program !== "cat")
        .map(([pid = ""]) => residentBytes(pid)),
    );
    const ours = summary([bytes.reduce((sum, value) => sum + value, 0) / MIB]);
    const what = "memory of a container while nobody is in it: our programs, resident";
    return [atMost(1, { what, peer: "", unit: "MiB", ours, measure: "value", value: ours.median }, 0)];
  } finally {
    const gone = new Promise<void>((resolve) => child.once("close", () => resolve()));
    child.stdout?.resume();
    child.stdin?.end();
    await gone;
  }
}

function residentBytes(pid: string): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kilobytes) * 1024;
}

function size(): Promise<Row[]> {
  const sizes = new Map<number, number>();
  for (const entry of readdirSync(UDI_IMAGE, { recursive: true, withFileTypes: true })) {
    const { ino, size } = statSync(join(entry.parentPath, entry.name));
    // A program of several names lies there once.
    if (entry.isFile()) sizes.set(ino, size);
  }
  const bytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  const ours = summary([bytes / 1e6]);
  const what = "size of udiImage";
  return Promise.resolve([atMost(40, { what, peer: "", unit: "MB", ours, measure: "value", value: ours.median }, 0)]);
}

/** The measurements by the names that select them. */
export const MEASUREMENTS: Readonly<Record<string, (place: Place) => Promise<Row[]>>> = {
  launch: launches,
  three: threeNodes,
  srun: srunLaunches,
  carrier: srunCarrier,
  condor: condorSessions,
  hop: hops,
  bulk,
  reach: sessions,
  copy: copies,
  help,
  inject: injected,
  rendezvous,
  crowd,
  unfold: unfolding,
  names: manyNames,
  memory,
  size,
};

/** Gives a file to the user. */
export function handOver(path: string): void {
  chownSync(path, USER.uid, USER.gid);
}
