import { hostname } from "node:os";
import { isatty } from "node:tty";
import { Command } from "commander";
import type { Allocation } from "../allocation/allocation.ts";
import { GangwayError, JobTakenError, LAUNCHER_FAILED, reasonOf, UsageError } from "../config/errors.ts";
import type { Config } from "../config/load.ts";
import { settingKeys } from "../config/settings.ts";
import { allocate, surroundingsOf } from "../job/allocate.ts";
import { openOutputFile, type Report, reportToParent, startDetached } from "../job/detach.ts";
import { underFreeId } from "../job/free-id.ts";
import { launchIds, randomJobId } from "../job/id.ts";
import { type LaunchContext, Launcher } from "../job/launcher.ts";
import { onEnoughNodes } from "../job/min-nodes.ts";
import type { HostSettings } from "../job/node-protocol.ts";
import { StderrReporter } from "../job/reporter.ts";
import type { JobSpec } from "../job/spec.ts";
import { needsOthers, refuseTasks } from "../job/spread.ts";
import { untilClosed } from "../job/step-engine.ts";
import { ThisHost } from "../job/this-host.ts";
import { checkJobId } from "../udi/names.ts";
import {
  addSettings,
  collectValues,
  configure,
  connectWithinStep,
  givenSettings,
  hostPart,
  type Owner,
  ownerOf,
  runBasesOf,
  stateOf,
} from "./context.ts";
import { print } from "./output.ts";
import { defined, outputFile, type RunOptions, specOf, wholeNumber } from "./run-options.ts";

declare const GANGWAY_VERSION: string;

export function command(): Command {
  const run = new Command("gangway run")
    .description("Starts a job: its container on every node with an sshd in each, then the command on the head.")
    .usage("[OPTION…] --image IMAGE [--] COMMAND [ARGUMENT…]")
    .argument("[command...]", "the command, executed as it stands; without one the image's own")
    .passThroughOptions()
    .option("-i, --image <IMAGE>", "the image every node's container is made of")
    .option("-N, --nodes <COUNT>", "so many virtual nodes on this machine: node1, node2, …")
    .option("--hosts <LIST>", "the nodes, such as n[01-04],big7; reached by your own ssh")
    .option("--hostfile <FILE>", "the nodes in a file, a line HOST, HOST slots=4 or HOST:4 each")
    .option("--name <NAME>", "the job's id, instead of the workload manager's or a random one")
    .option("-u, --user <USER>", "whose job it is (root only, and then needed)")
    .option(
      "-e, --env <NAME[=VALUE]>",
      "set a variable; NAME alone takes the caller's value. May be repeated.",
      collectValues,
    )
    .option("--env-file <FILE>", "set the variables in a file, a line NAME=VALUE each. May be repeated.", collectValues)
    .option("-E, --clearenv", "leave out the image's own variables")
    .option(
      "--caller-env",
      "pass your own variables on, beneath the image's; those of this host and secrets by name stay",
    )
    .option("--entrypoint <COMMAND>", "instead of the image's ENTRYPOINT; empty: none")
    .option(
      "-w, --workdir <DIRECTORY>",
      "where the command starts (empty: the image's place); else here, where that is mounted",
    )
    .option("--tmpfs <TARGET[:OPTIONS]>", "an empty directory in memory. May be repeated.", collectValues)
    .option("--everywhere", "run the command on every node, its lines labelled by node; the worst exit code counts")
    .option("--min-nodes <COUNT>", "go on without nodes that fail before the start, as long as so many are left")
    .option("--read-only", "the image's own files cannot be written")
    .option("-d, --detach", "return when the command runs, and print the job's id; output goes to gangway-JOB.out")
    .option("-o, --output <FILE>", "with --detach: where output goes; %j stands for the job's id")
    .option("-t, --tty", "a terminal for the command (the default, where the launcher has one on all three streams)")
    .option("-T, --no-tty", "no terminal for the command")
    .option("-n, --no-stdin", "do not read standard input")
    .option("--no-sshd", "no sshd, no sessions: just the containers");
  run.addOption(
    run.createOption("--held-back <NODE=MS>", "open a node's sockets late").argParser(collectValues).hideHelp(),
  );
  run.addOption(run.createOption("--detached-as <ID>", "the launcher behind --detach").hideHelp());
  addSettings(run, settingKeys);
  return run.action(async (words: string[], _options: unknown, self: Command) => {
    process.exitCode = await runCommand(words, self);
  });
}

async function runCommand(words: readonly string[], self: Command): Promise<number> {
  const options = self.opts<RunOptions>();
  const detached = options.detachedAs !== undefined;
  const reporter = new StderrReporter(isatty(2) && !detached);
  try {
    const config = await configure(givenSettings(self));
    const owner = ownerOf(options.user);
    const allocation = allocationFor(options, config, owner);
    if (needsOthers(allocation, hostname())) refuseTasks(allocation, process.env);
    const exitCode = await underFreeId(
      idsFor(options, allocation),
      runBasesOf(config, owner),
      owner.identity,
      async (id) => {
        const spec = specOf(words, options, config, owner, self, allocation, id);
        if (options.detach === true && !detached) return await detach(id, options, owner);
        const start = async (part: JobSpec) => await launch(part, config, owner, reporter);
        return options.minNodes === undefined
          ? await start(spec)
          : await onEnoughNodes(spec, wholeNumber("--min-nodes", options.minNodes), reporter, start);
      },
    );
    if (detached) reportToParent({ running: false, exitCode });
    return exitCode;
  } catch (error) {
    if (detached) reportToParent(failureReport(error));
    throw error;
  }
}

function allocationFor({ nodes, hosts, hostfile }: RunOptions, { values }: Config, { identity }: Owner): Allocation {
  const virtual = nodes === undefined ? undefined : wholeNumber("--nodes", nodes);
  return allocate(
    { wlm: values.wlm, slots: values.slots, ...defined({ virtual, hosts, hostfile }) },
    surroundingsOf(identity),
  );
}

/** What the user chose, else the manager's, as many as it takes, else a random one. */
function idsFor({ name, detachedAs }: RunOptions, { job }: Allocation): Iterable<string> {
  if (detachedAs !== undefined) return [detachedAs];
  if (name !== undefined) return [checkJobId(name)];
  return job === undefined ? [randomJobId()] : launchIds(job);
}

function failureReport(error: unknown): Report {
  if (!(error instanceof GangwayError)) {
    const stack = error instanceof Error ? error.stack : undefined;
    return { running: false, exitCode: LAUNCHER_FAILED, message: `the launcher failed: ${stack ?? reasonOf(error)}` };
  }
  const { message, hint, exitCode } = error;
  const taken = error instanceof JobTakenError;
  return { running: false, exitCode, message, taken, ...(hint === undefined ? {} : { hint }) };
}

async function launch(spec: JobSpec, config: Config, owner: Owner, reporter: StderrReporter): Promise<number> {
  const common = {
    reporter,
    stateDirectory: stateOf(config, owner),
    ...(spec.outputFile === undefined ? {} : { onRunning: () => reportToParent({ running: true }) }),
  };
  const { id: job, allocation } = spec;
  const place = { config, owner, job, nodes: allocation.nodes.length, note: (text: string) => reporter.note(text) };
  if (spec.several) return await launchElsewhere(spec, config, { ...common, ...hostPart(place) });
  const { engine, view, part } = await connectWithinStep(place);
  try {
    const context = { ...common, ...part };
    const launcher = new Launcher(spec, {
      ...context,
      hosts: (place, nodes, { signal }) => new ThisHost(spec, nodes, place, { ...context, engine, view, signal }),
    });
    return await launcher.run();
  } finally {
    engine.close();
    await untilClosed(engine);
  }
}

/** The nodes are on several hosts: nothing but the launch itself is done in this process. */
export async function launchElsewhere(
  spec: JobSpec,
  config: Config,
  context: Omit<LaunchContext, "hosts">,
): Promise<number> {
  if (process.getuid?.() !== spec.account.uid) {
    throw new UsageError("--user: root cannot launch a job of several hosts for another user", {
      hint: "call gangway as that user, in the user's allocation",
    });
  }
  const { rendezvousPorts: ports, nodeSilence: silenceMs, startCommand, nodeProgram, imagesMayDiffer } = config.values;
  const { keepHeapSmall } = await import("../job/heap.ts");
  keepHeapSmall(spec.allocation.nodes.length);
  const { FarHosts } = await import("../job/far-hosts.ts");
  const { starterFor } = await import("../job/starting.ts");
  const starter = starterFor(spec.allocation, startCommand, config.origin("startCommand"));
  const program = nodeProgram ?? process.argv[1] ?? "gangway";
  const far = { ...context, starter, version: GANGWAY_VERSION, program: [program], ports, silenceMs, imagesMayDiffer };
  const launcher = new Launcher(spec, {
    ...context,
    hosts: (place, nodes, upward) =>
      new FarHosts(spec, nodes, place, { ...far, upward, settings: hostSettings(config) }),
  });
  return await launcher.run();
}

const ABOUT_HOSTS = ["engine", "runDirectory", "udiImagePath", "cacheDirectory"] as const;

/** What the user said, by hand or in a file of the user's, of the host itself: the other hosts may not know it. */
function hostSettings({ values, origins }: Config): HostSettings {
  const said = ABOUT_HOSTS.filter((key) => origins(key).some(({ kind }) => kind !== "default" && kind !== "site"));
  return defined(Object.fromEntries(said.map((key) => [key, values[key]])));
}

/** Starts this very command line once more, behind us, with the output in a file. */
async function detach(id: string, options: RunOptions, owner: Owner): Promise<number> {
  const output = openOutputFile(outputFile(options, id), owner.identity);
  const argv = [...process.argv.slice(1, 3), "--detached-as", id, ...process.argv.slice(3)];
  const exitCode = await startDetached(argv, output);
  if (exitCode === 0) print(`${id}\n`);
  return exitCode;
}
