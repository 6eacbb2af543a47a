import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { eventually, type RunResult, USER } from "../job/harness.ts";
import { asRoot, type Host, homeOf, loadImages, runOn } from "./cluster.ts";

export const COMPUTE = ["n1", "n2", "n3"] as const satisfies readonly Host[];

/** Puts the images into the engine of every compute host. */
export function loadEverywhere(...names: string[]): void {
  for (const host of COMPUTE) loadImages(host, ...names);
}

/** The same for a user's own Podman on a host. */
export function loadRootless(host: Host, user: string, ...names: string[]): void {
  const socket = execFileSync(process.env.GANGWAY_CLUSTER ?? "", ["engine", host, user], { encoding: "utf8" }).trim();
  execFileSync(join(import.meta.dirname, "../../images/load.sh"), [socket, ...names]);
}

let scripts = 0;

/**
 * Runs a batch script of bash's by sbatch, to its end (which `sbatch --wait` notices ten seconds later).
 *
 * @param options of sbatch
 * @returns what it printed, and its exit code
 */
export async function batch(options: readonly string[], script: string, user = USER.name): Promise<RunResult> {
  const name = `gangway-batch-${process.pid}-${++scripts}`;
  const words = ["-Q", ...options, "-o", `${name}.out`, "-e", `${name}.err`];
  const input = `#!/bin/bash\n(\n${script}\n)\necho $? >${name}.code\n`;
  const submitted = await runOn("ctl", ["sbatch", ...words], { input, user });
  if (submitted.code !== 0) return submitted;
  const file = (kind: string) => join(homeOf(user), `${name}.${kind}`);
  await eventually(`the batch script ended: ${script}`, 120, () => /^\d+\n/.test(contentOf(file("code")).toString()));
  const [bytes, errors, code] = ["out", "err", "code"].map((kind) => contentOf(file(kind)));
  for (const kind of ["out", "err", "code"]) rmSync(file(kind), { force: true });
  const text = (content: Buffer | undefined) => (content ?? Buffer.alloc(0)).toString("utf8");
  return { code: Number(text(code)), bytes: bytes ?? Buffer.alloc(0), stdout: text(bytes), stderr: text(errors) };
}

function contentOf(path: string): Buffer {
  return existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
}

/** Runs a command in an allocation, the caller being on the controller, outside of it. */
export async function allocated(options: readonly string[], argv: readonly string[], input = ""): Promise<RunResult> {
  return await runOn("ctl", ["salloc", "-Q", ...options, "--", ...argv], { input });
}

/** Whatever there is of jobs on the hosts: containers, private directories, processes of ours. */
export function remains(user = USER): string {
  return COMPUTE.map((host) => {
    const containers = asRoot(host, ["docker", "-H", "unix:///run/docker.sock", "ps", "-aq"]);
    const places = `/run/user/${user.uid}/gangway`;
    const files = asRoot(host, ["sh", "-c", `find ${places} -mindepth 1 2>/dev/null || :`]);
    return containers === "" && files === "" ? "" : `${host}: ${containers}${files}`;
  }).join("");
}
