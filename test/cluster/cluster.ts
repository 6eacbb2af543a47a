import { execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { eventually, outcomeOf, type RunResult, USER } from "../job/harness.ts";

/** The rig's hosts (test/rig/cluster.sh): three that compute, a controller without an engine, and a laptop without anything. */
export type Host = "laptop" | "ctl" | "n1" | "n2" | "n3";

/** Where the rig keeps what belongs to its hosts. */
export const PLACE = process.env.GANGWAY_CLUSTER_PLACE ?? "";
const CLUSTER = join(import.meta.dirname, "../rig/cluster.sh");

/** A program on a host, with a new session's environment, as somebody who has logged in there. */
export function startOn(host: Host, argv: readonly string[], user = USER.name) {
  return spawn(CLUSTER, ["as", user, host, ...argv], { stdio: ["pipe", "pipe", "pipe"] });
}

/** The same, to its end. */
export async function runOn(
  host: Host,
  argv: readonly string[],
  { input = "", user = USER.name }: { input?: string | Buffer; user?: string } = {},
): Promise<RunResult> {
  return await outcomeOf(startOn(host, argv, user), input);
}

/** A command of root's on a host: its output. */
export function asRoot(host: Host, argv: readonly string[]): string {
  return execFileSync(CLUSTER, ["on", host, ...argv], { encoding: "utf8" });
}

/** One line for each compute host: its name, its state and the reason of that, as Slurm has them. */
export function slurmNodes(): string[] {
  return asRoot("ctl", ["sinfo", "-h", "-N", "-o", "%N %T %E"]).trim().split("\n");
}

/** Waits for what Slurm has to find hosts for. @throws Error that says what state they are in */
export async function eventuallyGiven(
  what: string,
  seconds: number,
  given: () => boolean | Promise<boolean>,
): Promise<void> {
  await eventually(what, seconds, given).catch((error: unknown) => {
    throw new Error(`${String(error)}; the hosts: ${slurmNodes().join(", ")}`);
  });
}

/** A host's file system, as it is seen from outside. */
export function rootOf(host: Host): string {
  return `/proc/${readFileSync(join(PLACE, `${host}.pid`), "utf8").trim()}/root`;
}

/** Starts whatever of the rig does not run. */
export function rigUp(): void {
  execFileSync(CLUSTER, ["up"], { stdio: "ignore" });
}

/** Puts images into a host's engine. */
export function loadImages(host: Host, ...names: string[]): void {
  const socket = execFileSync(CLUSTER, ["engine", host], { encoding: "utf8" }).trim();
  execFileSync(join(import.meta.dirname, "../../images/load.sh"), [socket, ...names]);
}

/** Where a user's home on the hosts lies, as seen from outside of them. */
export function homeOf(user: string): string {
  return join(process.env.GANGWAY_CLUSTER_PLACE ?? "", "home", user);
}
