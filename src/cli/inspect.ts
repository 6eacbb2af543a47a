import { Command } from "commander";
import { chooseJob, recordOf } from "../job/jobs.ts";
import { addSettings, configure, givenSettings } from "./context.ts";
import { jobsHere } from "./jobs-here.ts";
import { print } from "./output.ts";

export function command(): Command {
  const inspect = new Command("gangway inspect")
    .description("Everything known about a running job, as JSON.")
    .argument("[job]", "the job; may be left out when only one runs")
    .option("-u, --user <USER>", "whose job it is (root only)");
  addSettings(inspect, ["engine"]);
  return inspect.action(async (id: string | undefined, options: { user?: string }, self: Command) => {
    const config = await configure(givenSettings(self));
    const job = chooseJob(await jobsHere(config, options.user), id);
    print(`${JSON.stringify({ ...job, record: recordOf(job) }, null, 2)}\n`);
  });
}
