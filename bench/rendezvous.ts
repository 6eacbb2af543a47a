import { execFileSync } from "node:child_process";
import { chmodSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { foldHostlist, unfoldHostlist } from "../src/allocation/hostlist.ts";
import { GANGWAY, IMAGES } from "../test/job/harness.ts";
import { atMost, handOver, type Place, type Row } from "./rows.ts";
import { spawnAsUser, summary } from "./stopwatch.ts";

/** What bench/rendezvous-nodes.ts has seen. */
interface Seen {
  /** From the start of srun to `go`. */
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly peakKib: number;
  readonly bytesToNode: number;
  readonly dying: readonly string[];
}

const SIZES = [
  { nodes: 1000, cpuS: 2, memoryMB: 100 },
  { nodes: 10_000, cpuS: 20, memoryMB: 500 },
] as const;
const MOST_TO_NODE_KB = 64;

/** The whole of `gangway run`, whose srun and nodes are played by another program; there are no containers. */
export async function rendezvous({ directory }: Place): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { nodes, cpuS, memoryMB } of SIZES) {
    const seen = await meet(nodes, directory);
    const seconds = (seen.wallMs / 1000).toFixed(1);
    const row = (what: string, unit: string, value: number, most: number): Row =>
      atMost(most, { what, peer: "", unit, ours: summary([value]), measure: "value", value }, 0);
    const what = `rendezvous of ${nodes} nodes (go after ${seconds} s): the launcher's cpu time`;
    rows.push(
      // What the machine of the day makes of seconds is told by the connections alone, which no launcher has for less.
      {
        ...row(what, "s", seen.cpuMs / 1000, cpuS),
        peer: "a bare TLS server's",
        theirs: summary([connectionsAlone(nodes) / 1000]),
      },
      row(`the same: the launcher's memory, at its peak`, "MB", (seen.peakKib * 1024) / 1e6, memoryMB),
      row(`the same: told to one node`, "KB", seen.bytesToNode / 1000, MOST_TO_NODE_KB),
    );
  }
  return rows;
}

/** The cpu time of a TLS server that does nothing else with so many connections, milliseconds. */
function connectionsAlone(nodes: number): number {
  const server = join(dirname(fileURLToPath(import.meta.url)), "tls-accept.mjs");
  const words = ["--nofile=16384:16384", process.execPath, server, String(nodes)];
  return Number(execFileSync("prlimit", words, { encoding: "utf8" }));
}

async function meet(nodes: number, directory: string): Promise<Seen> {
  const names = Array.from({ length: nodes }, (_, index) => `n${String(index + 1).padStart(5, "0")}`);
  const srun = join(directory, "srun");
  const result = join(directory, `rendezvous-${nodes}.json`);
  const played = join(dirname(fileURLToPath(import.meta.url)), "rendezvous-nodes.mjs");
  writeFileSync(srun, `#!/bin/sh\nexec node ${played} "$@"\n`);
  chmodSync(srun, 0o755);
  writeFileSync(result, "");
  handOver(result);
  const slurm = [
    ...["SLURM_JOB_ID=1", `SLURM_JOB_NODELIST=${foldHostlist(names)}`],
    ...[`SLURM_TASKS_PER_NODE=1(x${nodes})`, `SLURM_JOB_NUM_NODES=${nodes}`],
  ];
  const env = ["env", `PATH=${directory}:/usr/bin:/bin`, `GANGWAY_BENCH_RESULT=${result}`, ...slurm];
  const gangway = [GANGWAY, "run", "--image", IMAGES.bare, "--no-mount-home", "true"];
  const child = spawnAsUser(
    ["prlimit", "--nofile=16384:16384", ...env, "sh", "-c", 'exec "$@" 2>&1', "sh", ...gangway],
    directory,
  );
  let output = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  child.stdin?.end();
  await new Promise<void>((resolve) => child.once("close", () => resolve()));
  rmSync(srun);
  const text = readFileSync(result, "utf8");
  if (text === "") throw new Error(`the rendezvous of ${nodes} nodes failed: ${output}`);
  const seen = JSON.parse(text) as Seen;
  // The dead are found, and nobody else is taken for dead: those who only read slowly are not.
  const named = /^gangway: (\S+): its process on that host is lost/m.exec(output)?.[1];
  if (named === undefined || !unfoldHostlist(named, { kind: "variable", name: "message" }).every(isDying(seen))) {
    throw new Error(`of ${nodes} nodes, ${foldHostlist(seen.dying)} died; the launcher said: ${output}`);
  }
  return seen;
}

function isDying({ dying }: Seen): (name: string) => boolean {
  const names = new Set(dying);
  return (name) => names.has(name);
}
