import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { unfoldHostlist } from "../src/allocation/hostlist.ts";
import { hostsAppendix } from "../src/udi/hosts.ts";
import { jobHost } from "../src/udi/names.ts";
import { renderJobConfig } from "../src/udi/ssh-config.ts";
import { gangway, IMAGES, USER } from "../test/job/harness.ts";
import { atMost, type Place, type Row } from "./rows.ts";
import { interleave, Stopwatch } from "./stopwatch.ts";

/* What grows with the size of an allocation. */

const NAMES = 10_000;
const UNFOLDINGS = 41;
const HOPS = 61;

/** A hostlist as a busy cluster's are: with a hole after every few nodes, so that there is much to read. */
function raggedHostlist(names: number): string {
  const ranges: string[] = [];
  for (let first = 1, left = names; left > 0; ) {
    const count = Math.min(left, 1 + (ranges.length % 7));
    const [from, to] = [first, first + count - 1].map((number) => String(number).padStart(5, "0"));
    ranges.push(count === 1 ? `${from}` : `${from}-${to}`);
    first += count + 1;
    left -= count;
  }
  return `n[${ranges.join(",")}]`;
}

/** What a launch needs to know its nodes: itself, and what it would spend on asking Slurm. */
export async function unfolding({ directory, rounds, unfold }: Place): Promise<Row[]> {
  const config = join(directory, "slurm.conf");
  const watch = new Stopwatch(["env", `SLURM_CONF=${config}`, rounds], directory);
  // It asks no controller, but wants a configuration.
  writeFileSync(config, "ClusterName=none\nSlurmctldHost=localhost\n");
  const lists = { "one range": `n[00001-${NAMES}]`, ragged: raggedHostlist(NAMES) };
  const rows: Row[] = [];
  for (const [shape, list] of Object.entries(lists)) {
    const { ours, theirs } = await interleave(UNFOLDINGS, {
      // A process each, so that nothing is compiled yet, as in a launch.
      ours: () => Promise.resolve(Number(execFileSync(process.execPath, [unfold, list], { encoding: "utf8" }))),
      theirs: () => watch.time(["scontrol", "show", "hostnames", list]),
    });
    const what = `unfolding a hostlist of ${NAMES} names (${shape}), in a launch`;
    const peer = "scontrol show hostnames";
    const value = ours.median / theirs.median;
    rows.push(atMost(1, { what, peer, unit: "ms", ours, theirs, measure: "ratio", value }, 0));
  }
  await watch.close();
  return rows;
}

/** `ssh` to a sibling where the membership is of three names, and where it is of ten thousand, these the last of them. */
export async function manyNames({ directory, rounds }: Place): Promise<Row[]> {
  const jobs = { few: `bench-few-${process.pid}`, many: `bench-many-${process.pid}` };
  const started = Object.values(jobs).map((job) => {
    const words = ["run", "--image", IMAGES.bare, "--nodes", "3", "--name", job, "--", rounds];
    return new Stopwatch(["gangway", ...words], directory);
  });
  const [few, many] = started;
  if (few === undefined || many === undefined) throw new TypeError("two jobs");
  try {
    await Promise.all(started.map((job) => job.time(["ssh", "node3", "true"])));
    await joinBy(NAMES, jobs.many);
    const sides = await interleave(HOPS, {
      few: () => few.time(["ssh", "node3", "true"]),
      many: () => many.time(["ssh", "node3", "true"]),
    });
    const what = `ssh node3 true, with ${NAMES} names in the membership`;
    const value = sides.many.median / sides.few.median;
    const row = { what, peer: "with 3", unit: "ms", ours: sides.many, theirs: sides.few, value } as const;
    return [atMost(1.25, { ...row, measure: "ratio" }, 2)];
  } finally {
    await Promise.all(started.map((job) => job.close()));
  }
}

interface Inspected {
  readonly record: {
    readonly nodes: readonly { readonly name: string; readonly port: number; readonly addresses: readonly string[] }[];
  };
}

/** Writes the files of a job's head as they were with so many nodes, of which only the last are there. */
async function joinBy(names: number, job: string): Promise<void> {
  const { record } = JSON.parse((await gangway(["inspect", job])).stdout) as Inspected;
  const absent = unfoldHostlist(`n[00001-${names - record.nodes.length}]`, { kind: "flag", name: "--hosts" });
  const nodes = [
    ...absent.map((name, index) => ({
      name,
      addresses: [`10.${200 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`],
      port: record.nodes[0]?.port ?? 0,
    })),
    ...record.nodes,
  ].map(({ name, addresses, port }) => ({ names: [name, jobHost({ job, node: name })], addresses, port }));
  const run = join(USER.runtime, "gangway", job, "0");
  const config = renderJobConfig({
    user: USER.name,
    job: jobHost({ job }),
    nodes: nodes.map(({ names, addresses, port }) => ({ names: [...names, ...addresses], port })),
  });
  const hosts = hostsAppendix(
    nodes.map(({ names: [name = "", ...aliases], addresses }) => ({ addresses, name, aliases })),
  );
  writeFileSync(join(run, "ssh_config"), config);
  // In place: it is mounted. What is first in it wins, so the job's own three go behind the others.
  writeFileSync(join(run, "hosts"), `127.0.0.1 localhost\n${hosts}`);
}
