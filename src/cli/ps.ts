import { Command } from "commander";
import { type JobSummary, listJobs, recordOf } from "../job/jobs.ts";
import { addSettings, configure, givenSettings, visibleUid, withEngine } from "./context.ts";
import { print } from "./output.ts";
import { renderAge, renderTable } from "./table.ts";

export function command(): Command {
  const ps = new Command("gangway ps")
    .description("The jobs that are running on this engine: yours; for root, everybody's.")
    .option("-u, --user <USER>", "whose jobs (root only)")
    .option("-q, --quiet", "the ids alone")
    .option("--json", "for programs");
  addSettings(ps, ["engine"]);
  return ps.action(async (_options: unknown, self: Command) => {
    const options = self.opts<{ user?: string; quiet?: boolean; json?: boolean }>();
    const config = await configure(givenSettings(self));
    const jobs = await withEngine(config, (engine) => listJobs(engine, visibleUid(options.user)));
    if (options.json === true) print(`${JSON.stringify(jobs)}\n`);
    else if (options.quiet === true) print(jobs.map((job) => `${job.job}\n`).join(""));
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
