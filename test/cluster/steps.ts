import { existsSync, readdirSync, readFileSync } from "node:fs";
import { ROOTLESS, USER } from "../job/harness.ts";
import { asRoot, type Host, runOn } from "./cluster.ts";

/** What the user's own Podman takes in its environment: each test's `env` in front of a command. */
export const WITH_PODMAN: readonly string[] = [
  "env",
  ...(process.env.GANGWAY_TEST_ROOTLESS_ENV ?? "").split(" "),
  `DOCKER_HOST=${ROOTLESS.endpoint}`,
];

/** Submits a script to Slurm, to one node. @returns the job's number */
export async function submit(host: Host, script: string, words: readonly string[] = []): Promise<string> {
  const { code, stdout, stderr } = await runOn(
    host,
    [...words, "sbatch", "--parsable", "-N1", "-w", host, "-D", "/tmp", "-o", "/tmp/slurm-%j.out", "-n1", "--mem=300"],
    { input: `#!/bin/bash\n${script}\n` },
  );
  if (code !== 0) throw new Error(`sbatch: ${stderr}`);
  return stdout.trim();
}

/** What a job has printed so far. */
export async function output(host: Host, job: string): Promise<string> {
  return (await runOn(host, ["sh", "-c", `cat /tmp/slurm-${job}.out 2>/dev/null`])).stdout;
}

/** Slurm has done with a job, its epilog included. */
export async function isOver(job: string): Promise<boolean> {
  const { stdout } = await runOn("ctl", ["squeue", "-h", "-a", "-o", "%T", "-j", job]);
  return stdout.trim() === "";
}

/** Directories of cgroups that have a job's name, on the whole machine: the rig's jobs are under a name of the rig's own. */
export function cgroupsOf(host: Host, job: string): string[] {
  // The group that the host's Slurm takes for the root: field 4 of the mount (proc(5)).
  const mounts = asRoot(host, ["cat", "/proc/self/mountinfo"]);
  const root = /^\S+ \S+ \S+ (\S+) \/run\/cgroup\/freezer /m.exec(mounts)?.[1];
  if (root === undefined) throw new Error(`the Slurm of ${host} has no cgroups`);
  const found = asRoot(host, [
    "sh",
    "-c",
    `find /sys/fs/cgroup/*${root} -type d -name 'job_${job}' 2>/dev/null || true`,
  ]);
  return found.split("\n").filter((line) => line !== "");
}

/** Containers in a host's Docker. */
export function containersOn(host: Host): string[] {
  return asRoot(host, ["docker", "-H", "unix:///run/docker.sock", "ps", "-aq"])
    .split("\n")
    .filter((id) => id !== "");
}

/** What lies in the user's run base on a host. */
export function runFilesOn(host: Host): string {
  return asRoot(host, ["sh", "-c", `ls -A /run/user/${USER.uid}/gangway 2>/dev/null || true`]).trim();
}

/** Of this machine's processes, those with a text in their command line. */
export function processesNaming(text: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && existsSync(`/proc/${name}/cmdline`))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(text);
      } catch {
        return false;
      }
    })
    .map(Number);
}
