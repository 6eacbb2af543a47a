import { Command } from "commander";
import { reasonOf } from "../config/errors.ts";
import type { Config } from "../config/load.ts";
import { printable } from "../config/printable.ts";
import { launcherSocketOf } from "../job/directory.ts";
import { type JobSummary, listJobs, recordOf } from "../job/jobs.ts";
import { localJobs } from "../job/local-jobs.ts";
import { type LauncherAddress, listSessions, SilentLauncherError } from "../job/owner-client.ts";
import type { ConnectionEntry } from "../job/owner-protocol.ts";
import {
  addSettings,
  configure,
  givenSettings,
  type Owner,
  ownerOf,
  runBasesOf,
  visibleUid,
  withEngine,
} from "./context.ts";
import { jobsHere } from "./jobs-here.ts";
import { print } from "./output.ts";
import { renderAge, renderTable } from "./table.ts";

export function command(): Command {
  const ps = new Command("gangway ps")
    .description("The jobs that are running on this host: yours; for root, everybody's.")
    .option("-u, --user <USER>", "whose jobs (root only)")
    .option("-q, --quiet", "the ids alone")
    .option("--sessions", "who is in the jobs of this host instead, a line each session")
    .option("--json", "for programs");
  addSettings(ps, ["engine"]);
  return ps.action(async (_options: unknown, self: Command) => {
    const options = self.opts<{ user?: string; quiet?: boolean; sessions?: boolean; json?: boolean }>();
    const config = await configure(givenSettings(self));
    if (options.sessions === true) {
      await showSessions(config, options);
      return;
    }
    const jobs = await jobsHere(config, options.user);
    if (options.json === true) {
      print(`${JSON.stringify(jobs.map((job) => ({ ...job, command: recordOf(job)?.command ?? null })))}\n`);
    } else if (options.quiet === true) print(jobs.map((job) => `${job.job}\n`).join(""));
    else print(renderTable([["JOB", "USER", "NODES", "STATE", "AGE", "IMAGE", "COMMAND"], ...jobs.map(row)]));
  });
}

function stateOf(job: JobSummary): string {
  if (job.orphaned) return "orphaned";
  const states = [...new Set(job.nodes.map((node) => node.state))];
  return recordOf(job) === undefined && states.includes("running") ? "starting" : states.join(",");
}

function row(job: JobSummary): string[] {
  const names = job.nodes.map((node) => node.name);
  const nodes = names.length > 3 ? `${names.length} (${names[0]}…)` : names.join(",");
  const command = (recordOf(job)?.command ?? []).join(" ").replace(/\s+/g, " ");
  const shown = command.length > 50 ? `${command.slice(0, 49)}…` : command;
  return [job.job, job.user, nodes, stateOf(job), renderAge(Date.now() / 1000 - job.created), job.image, shown];
}

type JobSessions = readonly { readonly job: string; readonly user: string; readonly connection: ConnectionEntry }[];

async function showSessions(config: Config, { user, json }: { user?: string; json?: boolean }): Promise<void> {
  const launchers = await launchersOf(config, user);
  const all = (await Promise.all(launchers.map(sessionsOf))).flat();
  if (json === true) {
    print(`${JSON.stringify(all.map(({ job, user, connection }) => ({ job, user, ...connection })))}\n`);
    return;
  }
  print(renderTable([["JOB", "NODE", "FROM", "WAY", "SINCE", "TTY", "COMMAND"], ...all.flatMap(sessionRows)]));
}

interface Launcher {
  readonly job: string;
  readonly user: string;
  readonly address: LauncherAddress;
}

/** Those of this host's jobs that can be entered; for root, naming nobody, everybody's, as the engine knows them. */
async function launchersOf(config: Config, user: string | undefined): Promise<Launcher[]> {
  if (visibleUid(user) !== undefined) {
    const owner = ownerOf(user);
    const local = localJobs(owner.identity, runBasesOf(config, owner));
    // That there are none is to be known, too.
    if (local.length === 0) await jobsHere(config, user);
    return local.flatMap((job) =>
      job.state !== "running" || !job.record.sshd
        ? []
        : [{ job: job.id, user: job.record.user, address: addressOf(job.directory, owner) }],
    );
  }
  const jobs = await withEngine(config, undefined, (engine) => listJobs(engine, undefined));
  return jobs.flatMap((job) =>
    job.directory === undefined || job.orphaned || !job.sshd || recordOf(job) === undefined
      ? []
      : [{ job: job.job, user: job.user, address: addressOf(job.directory, ownerOf(String(job.uid))) }],
  );
}

function addressOf(directory: string, { identity }: Owner): LauncherAddress {
  return { path: launcherSocketOf({ directory }), identity };
}

async function sessionsOf({ job, user, address }: Launcher): Promise<JobSessions> {
  try {
    return (await listSessions(address)).map((connection) => ({ job, user, connection }));
  } catch (error) {
    // One job that is ending, or whose launcher was stopped, must not hide the others.
    process.stderr.write(`gangway: job ${job}: ${printable(reasonOf(error))}\n`);
    if (error instanceof SilentLauncherError) process.exitCode = 1;
    return [];
  }
}

/** A row each session; one for a connection that has none, as with forwarding alone. */
function sessionRows({ job, connection }: JobSessions[number]): string[][] {
  const { node, from, way, since, sessions } = connection;
  const rows = sessions.length > 0 ? sessions : [{ tty: null, kind: "forward", command: null, since }];
  return rows.map(({ tty, kind, command, since }) => [
    job,
    node,
    from ?? "-",
    way,
    renderAge((Date.now() - Date.parse(since)) / 1000),
    tty?.replace(/^\/dev\//, "") ?? "-",
    command === null ? `(${kind})` : kind === "subsystem" ? `(${command})` : command,
  ]);
}
