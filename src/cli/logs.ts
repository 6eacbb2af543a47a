import { closeSync, openSync, readSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { JobError, reasonOf } from "../config/errors.ts";
import { readEnd } from "../job/ended.ts";
import { type JobSummary, listJobs } from "../job/jobs.ts";
import { checkJobId } from "../udi/names.ts";
import { addSettings, configure, givenSettings, ownerOf, stateOf, visibleUid, withEngine } from "./context.ts";
import { print } from "./output.ts";

const CHUNK = 64 * 1024;
const POLL_MS = 200;

export function command(): Command {
  const logs = new Command("gangway logs")
    .description("What a detached job has printed.")
    .argument("<job>", "the job's id")
    .option("-u, --user <USER>", "whose job it is (root only)")
    .option("-f, --follow", "go on until the job ends");
  addSettings(logs, ["engine"]);
  return logs.action(async (id: string, _options: unknown, self: Command) => await printLog(checkJobId(id), self));
}

async function printLog(id: string, self: Command): Promise<void> {
  const options = self.opts<{ user?: string; follow?: boolean }>();
  const config = await configure(givenSettings(self));
  const ended = () => readEnd(stateOf(config, ownerOf(options.user)), id);
  await withEngine(config, async (engine) => {
    const find = async (): Promise<JobSummary | undefined> =>
      (await listJobs(engine, visibleUid(options.user))).find((job) => job.job === id);
    const running = await find();
    const file = running?.outputFile ?? ended()?.outputFile;
    if (file === undefined) {
      throw new JobError(
        running === undefined
          ? `no job "${id}" is known`
          : `job ${id} is not detached: its output is where it was started`,
        { hint: "`gangway ps` lists the running jobs; of ended ones only the detached are known, for a week" },
      );
    }
    const source = open(file);
    try {
      copy(source);
      while (options.follow === true && (await find()) !== undefined) {
        await sleep(POLL_MS);
        copy(source);
      }
      copy(source);
    } finally {
      closeSync(source);
    }
  });
}

function open(file: string): number {
  try {
    return openSync(file, "r");
  } catch (error) {
    throw new JobError(`the job's output cannot be read: ${reasonOf(error)}`, { cause: error });
  }
}

function copy(source: number): void {
  const buffer = Buffer.alloc(CHUNK);
  for (let read = readSync(source, buffer); read > 0; read = readSync(source, buffer)) {
    print(buffer.subarray(0, read));
  }
}
