import { execFileSync } from "node:child_process";
import { mkdtempSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { gangway, IMAGES, run, UDI_IMAGE, USER } from "../test/job/harness.ts";
import { atMost, docker, handOver, type Place, type Row } from "./rows.ts";
import { startSshd } from "./sshd.ts";
import { interleave, type Samples, Stopwatch } from "./stopwatch.ts";

const SESSIONS = 41;
const HELPS = 41;
const COPIES = 7;
const COPIED_BYTES = 2 ** 30;
const SSH = "/usr/bin/ssh";
const SCP = "/usr/bin/scp";

/** A job that waits, and how it is reached from this host. */
interface Job {
  readonly id: string;
  readonly host: string;
  /** Instead of the socket: options that lead to the TCP port. */
  readonly byTcp: readonly string[];
}

interface Inspected {
  readonly record: { readonly nodes: readonly { readonly port: number; readonly addresses: readonly string[] }[] };
}

async function withJob<T>(directory: string, options: readonly string[], work: (job: Job) => Promise<T>): Promise<T> {
  // As a user has it: nothing is named on ssh's command line.
  const changed = (await gangway(["ssh-config", "--install"])).stdout !== "nothing had to be changed\n";
  const id = `bench-${process.pid}`;
  const words = ["run", "--detach", "--name", id, "--image", IMAGES.bare, ...options, "--", "sleep", "7200"];
  const started = await gangway(words, { cwd: directory });
  if (started.code !== 0) throw new Error(`the job does not start: ${started.stderr}`);
  try {
    const inspected = JSON.parse((await gangway(["inspect", id])).stdout) as Inspected;
    const head = inspected.record.nodes[0];
    const tcp = ["ProxyCommand=none", "ProxyUseFdpass=no", `HostName=${head?.addresses[0]}`, `Port=${head?.port}`];
    return await work({
      id,
      host: `${id}.job`,
      byTcp: tcp.flatMap((option) => ["-o", option]),
    });
  } finally {
    await gangway(["stop", "--grace", "0", id]);
    if (changed) await gangway(["ssh-config", "--uninstall"]);
  }
}

/** `ssh JOB.job true` and what else opens a session, against `docker exec`. */
export async function sessions({ directory, rounds }: Place): Promise<Row[]> {
  const watch = new Stopwatch([rounds], directory);
  const container = docker(
    "run",
    "-d",
    "--rm",
    "--name",
    `gangway-bench-${process.pid}`,
    "--user",
    `${USER.uid}:${USER.gid}`,
    IMAGES.bare,
    "sleep",
    "7200",
  ).trim();
  try {
    return await withJob(directory, [], async ({ id, host }) => {
      const control = join(directory, "control");
      const master = [SSH, "-o", `ControlPath=${control}`];
      await run([...master, "-M", "-N", "-f", host]);
      const sides = await interleave(SESSIONS, {
        exec: () => watch.time(["docker", "exec", container, "true"]),
        ours: () => watch.time([join(UDI_IMAGE, "bin/ssh"), host, "true"]),
        distribution: () => watch.time([SSH, host, "true"]),
        command: () => watch.time(["gangway", "ssh", id, "true"]),
        second: () => watch.time([...master, host, "true"]),
      });
      await run([...master, "-O", "exit", host]);
      const against = (what: string, ours: Samples, most: number) => {
        const value = ours.median / sides.exec.median;
        const row = { what, peer: "docker exec c true", unit: "ms", ours, theirs: sides.exec, value } as const;
        return atMost(most, { ...row, measure: "ratio" }, 2);
      };
      return [
        against("ssh JOB.job true, on the node, our ssh", sides.ours, 0.75),
        against("ssh JOB.job true, on the node, the distribution's ssh", sides.distribution, 1),
        against("gangway ssh JOB true", sides.command, 2.2),
        against("ssh JOB.job true, second session of a control master", sides.second, 0.35),
      ];
    });
  } finally {
    docker("rm", "-f", container);
    await watch.close();
  }
}

/** scp of random data into the job. Source and targets are in memory, so that no disk is measured. */
export async function copies({ directory, rounds }: Place): Promise<Row[]> {
  const watch = new Stopwatch([rounds], directory);
  const memory = mkdtempSync(`/dev/shm/gangway-bench-${process.pid}-`);
  const sshd = await startSshd(directory);
  try {
    handOver(memory);
    const source = join(memory, "source");
    execFileSync("head", ["-c", String(COPIED_BYTES), "/dev/urandom"], {
      stdio: ["ignore", openSync(source, "w"), "inherit"],
    });
    const rate = async (command: readonly string[], host: string) => {
      const target = join(memory, "target");
      const took = await watch.time([...command, "-q", source, `${host}:${target}`]);
      // Whole, and where it should be: else a fast failure would be the best of results.
      execFileSync("cmp", [source, target]);
      rmSync(target);
      return COPIED_BYTES / 1e6 / (took / 1000);
    };
    return await withJob(directory, ["-v", `${memory}:${memory}`], async ({ host, byTcp }) => {
      const sides = await interleave(COPIES, {
        socket: () => rate([SCP], host),
        theirs: () => rate([...sshd.copy, "-c", "aes128-gcm@openssh.com"], "127.0.0.1"),
        tcp: () => rate([SCP, ...byTcp], host),
      });
      const against = (way: string, ours: Samples): Row => {
        const value = ours.median / sides.theirs.median;
        return {
          what: `scp of 1 GiB into the job, by ${way}`,
          peer: `${sshd.version}: scp over loopback, aes128-gcm`,
          unit: "MB/s",
          ours,
          theirs: sides.theirs,
          measure: "ratio",
          value,
          reach: "at least 0.9",
          met: value >= 0.9,
        };
      };
      return [against("the socket", sides.socket), against("TCP", sides.tcp)];
    });
  } finally {
    rmSync(memory, { recursive: true, force: true });
    await Promise.all([watch.close(), sshd.stop()]);
  }
}

/** What Gangway adds to the start of Node. */
export async function help({ directory, rounds }: Place): Promise<Row[]> {
  const watch = new Stopwatch([rounds], directory);
  const { node, gangway } = await interleave(HELPS, {
    node: () => watch.time(["node", "-e", "0"]),
    gangway: () => watch.time(["gangway", "--help"]),
  });
  await watch.close();
  const value = gangway.median / node.median;
  const row = { what: "gangway --help", peer: "node -e 0", unit: "ms", ours: gangway, theirs: node, value } as const;
  return [atMost(1.3, { ...row, measure: "ratio" }, 1)];
}
