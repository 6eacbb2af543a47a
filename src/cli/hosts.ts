import { Command } from "commander";
import { JobError } from "../config/errors.ts";
import { chooseJob, recordOf } from "../job/jobs.ts";
import { addSettings, configure, givenSettings } from "./context.ts";
import { jobsHere } from "./jobs-here.ts";
import { print } from "./output.ts";
import { renderTable } from "./table.ts";

export function command(): Command {
  const hosts = new Command("gangway hosts")
    .description("A job's nodes with their slots, addresses and the port of their sshd.")
    .argument("[job]", "the job; may be left out when only one runs")
    .option("-u, --user <USER>", "whose job it is (root only)")
    .option("--json", "for programs");
  addSettings(hosts, ["engine"]);
  return hosts.action(async (id: string | undefined, options: { user?: string; json?: boolean }, self: Command) => {
    const config = await configure(givenSettings(self));
    const job = chooseJob(await jobsHere(config, options.user), id);
    const record = recordOf(job);
    if (record === undefined) throw new JobError(`job ${job.job} is not up yet`, { hint: "ask again in a moment" });
    if (options.json === true) {
      print(`${JSON.stringify(record.nodes)}\n`);
      return;
    }
    const rows = record.nodes.map((node) => [
      node.name,
      String(node.slots),
      node.port === 0 ? "-" : String(node.port),
      node.addresses.join(",") || "-",
      node.container,
    ]);
    print(renderTable([["NODE", "SLOTS", "PORT", "ADDRESSES", "CONTAINER"], ...rows]));
  });
}
