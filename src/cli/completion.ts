import { Command, Option } from "commander";
import { UsageError } from "../config/errors.ts";
import { localJobs } from "../job/local-jobs.ts";
import { renderBash } from "./completion-bash.ts";
import { renderFish } from "./completion-fish.ts";
import { type CommandModel, modelOf, modelOfHelp } from "./completion-model.ts";
import { renderZsh } from "./completion-zsh.ts";
import { configure, ownerOf, runBasesOf } from "./context.ts";
import { COMMANDS } from "./main.ts";
import { print } from "./output.ts";

const RENDERERS: Readonly<Record<string, (commands: readonly CommandModel[]) => string>> = {
  bash: renderBash,
  zsh: renderZsh,
  fish: renderFish,
};

const WHICH = "bash, zsh or fish; such as: source <(gangway completion bash)";

export function command(): Command {
  const completion = new Command("gangway completion")
    .description("A script that completes gangway's command lines: source <(gangway completion bash)")
    .addArgument(new Command().createArgument("[shell]", "for which shell").choices(Object.keys(RENDERERS)))
    // What the scripts ask when Tab is pressed: from directories alone, no engine.
    .addOption(new Option("--list <WHAT>", "the running jobs").choices(["jobs", "nodes"]).hideHelp());
  return completion.action(async (shell: string | undefined, { list }: { list?: string }) => {
    if (list !== undefined) print((await runningNames(list === "nodes")).map((name) => `${name}\n`).join(""));
    else if (shell === undefined) throw new UsageError("for which shell?", { hint: WHICH });
    else print(RENDERERS[shell]?.(await commandModels()) ?? "");
  });
}

async function commandModels(): Promise<CommandModel[]> {
  const visible = Object.entries(COMMANDS).filter(([, { hidden }]) => hidden === undefined);
  return await Promise.all(
    visible.map(async ([name, { summary, load }]) => {
      const module = await load();
      return "help" in module ? modelOfHelp(module.help, [name], summary) : modelOf(module.command(), [name], summary);
    }),
  );
}

/** Ids of the caller's jobs on this host; with nodes also JOB.NODE, where there are several. */
async function runningNames(withNodes: boolean): Promise<string[]> {
  const owner = ownerOf(undefined);
  const jobs = localJobs(owner.identity, runBasesOf(await configure({}), owner));
  return jobs.flatMap((job) => {
    if (job.state === "gone") return [];
    const nodes = withNodes && job.state === "running" && job.nodes.length > 1 ? job.nodes : [];
    return [job.id, ...nodes.map(({ name }) => `${job.id}.${name}`)];
  });
}
