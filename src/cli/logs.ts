import { closeSync, constants, readSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { EngineError, JobError, reasonOf } from "../config/errors.ts";
import { asUser, type Identity } from "../config/identity.ts";
import { openOwnFile } from "../config/own-file.ts";
import { readEnd } from "../job/ended.ts";
import type { JobSummary } from "../job/jobs.ts";
import { checkJobId } from "../udi/names.ts";
import { addSettings, configure, givenSettings, ownerOf, stateOf } from "./context.ts";
import { jobsHere } from "./jobs-here.ts";
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
  const owner = (uid?: number) => ownerOf(uid === undefined || uid === process.getuid?.() ? options.user : String(uid));
  const ended = () => readEnd(stateOf(config, owner()), id, owner().identity);
  const find = async (): Promise<JobSummary | undefined> => {
    const jobs = await jobsHere(config, options.user).catch((error: unknown) => {
      // Of an ended one the record says it all.
      if (error instanceof EngineError && ended() !== undefined) return [];
      throw error;
    });
    return jobs.find((job) => job.job === id);
  };
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
  const source = open(file, owner(running?.uid).identity);
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
}

/** In the name of the job's user, whatever root's own rights are: label and record are that user's word. */
function open(file: string, identity: Identity): number {
  try {
    return asUser(identity, () => openOwnFile(file, undefined, constants.O_RDONLY));
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
