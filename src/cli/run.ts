import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { Command } from "commander";
import type { Allocation } from "../allocation/allocation.ts";
import { GangwayError, LAUNCHER_FAILED, reasonOf, UsageError } from "../config/errors.ts";
import type { Config } from "../config/load.ts";
import { normalPath } from "../config/parse.ts";
import { openRunBase } from "../config/paths.ts";
import { settingKeys } from "../config/settings.ts";
import { allocate, surroundingsOf } from "../job/allocate.ts";
import { openOutputFile, type Report, reportToParent, startDetached } from "../job/detach.ts";
import { underFreeId } from "../job/free-id.ts";
import { launchIds, randomJobId } from "../job/id.ts";
import { Launcher } from "../job/launcher.ts";
import { checkTarget } from "../job/mounts.ts";
import { StderrReporter } from "../job/reporter.ts";
import type { JobSpec } from "../job/spec.ts";
import { type EnvSetting, parseEnvFile, parseEnvSetting } from "../udi/environment.ts";
import { checkJobId } from "../udi/names.ts";
import {
  addSettings,
  cacheOf,
  collectValues,
  configure,
  connectEngine,
  givenSettings,
  type Owner,
  ownerOf,
  runBasesOf,
  stateOf,
  udiImageOf,
} from "./context.ts";
import { print } from "./output.ts";

interface RunOptions {
  readonly image?: string;
  readonly nodes?: string;
  readonly hosts?: string;
  readonly hostfile?: string;
  readonly name?: string;
  readonly user?: string;
  readonly env?: readonly string[];
  readonly envFile?: readonly string[];
  readonly clearenv?: boolean;
  readonly entrypoint?: string;
  readonly workdir?: string;
  readonly tmpfs?: readonly string[];
  readonly readOnly?: boolean;
  readonly detach?: boolean;
  readonly output?: string;
  readonly tty?: boolean;
  readonly stdin: boolean;
  readonly sshd: boolean;
  readonly heldBack?: readonly string[];
  readonly detachedAs?: string;
}

export function command(): Command {
  const run = new Command("gangway run")
    .description("Starts a job: its container on every node with an sshd in each, then the command on the head.")
    .usage("[OPTION…] --image IMAGE [--] COMMAND [ARGUMENT…]")
    .argument("[command...]", "the command, executed as it stands; without one the image's own")
    .passThroughOptions()
    .option("-i, --image <IMAGE>", "the image every node's container is made of")
    .option("-N, --nodes <COUNT>", "so many virtual nodes on this machine: node1, node2, …")
    .option("--hosts <LIST>", "the nodes, such as n[01-04],big7; only this machine can be named yet")
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
    .option("--entrypoint <COMMAND>", "instead of the image's ENTRYPOINT; empty: none")
    .option("-w, --workdir <DIRECTORY>", "where the command starts; else here, where that is mounted")
    .option("--tmpfs <TARGET[:OPTIONS]>", "an empty directory in memory. May be repeated.", collectValues)
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
  const reporter = new StderrReporter(process.stderr.isTTY === true && !detached);
  try {
    const config = await configure(givenSettings(self));
    const owner = ownerOf(options.user);
    const allocation = allocationFor(options, config, owner);
    const exitCode = await underFreeId(
      idsFor(options, allocation),
      runBasesOf(config, owner),
      owner.identity,
      async (id) => {
        const spec = specOf(words, options, config, owner, self, allocation, id);
        if (options.detach === true && !detached) return await detach(id, options, owner);
        return await launch(spec, config, owner, reporter);
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
  return { running: false, exitCode, message, ...(hint === undefined ? {} : { hint }) };
}

async function launch(spec: JobSpec, config: Config, owner: Owner, reporter: StderrReporter): Promise<number> {
  const engine = await connectEngine(config);
  try {
    const { path, passedOver } = openRunBase({
      ...owner.places,
      configured: config.values.runDirectory,
      job: spec.id,
      nodes: spec.allocation.nodes.length,
    });
    if (config.values.runDirectory !== undefined)
      for (const reason of passedOver) reporter.note(`passed over ${reason}`);
    const launcher = new Launcher(spec, {
      engine,
      udiImage: udiImageOf(config),
      runBase: path,
      cacheDirectory: cacheOf(config, owner),
      stateDirectory: stateOf(config, owner),
      identity: owner.identity,
      reporter,
      ...(spec.outputFile === undefined ? {} : { onRunning: () => reportToParent({ running: true }) }),
    });
    return await launcher.run();
  } finally {
    engine.close();
  }
}

/** Starts this very command line once more, behind us, with the output in a file. */
async function detach(id: string, options: RunOptions, owner: Owner): Promise<number> {
  const output = openOutputFile(outputFile(options, id), owner.identity);
  const argv = [...process.argv.slice(1, 3), "--detached-as", id, ...process.argv.slice(3)];
  const exitCode = await startDetached(argv, output);
  if (exitCode === 0) print(`${id}\n`);
  return exitCode;
}

function outputFile(options: RunOptions, id: string): string {
  return resolve((options.output ?? "gangway-%j.out").replaceAll("%j", id));
}

function specOf(
  words: readonly string[],
  options: RunOptions,
  config: Config,
  owner: Owner,
  self: Command,
  allocation: Allocation,
  id: string,
): JobSpec {
  const { values } = config;
  if (options.image === "t" && process.argv.includes("-it")) {
    throw new UsageError("-it is read as the image t: -i names the image here", {
      hint: "leave it out: the command has a terminal and standard input by default",
    });
  }
  if (options.image === undefined || options.image === "") {
    throw new UsageError("no image was named", { hint: "gangway run --image IMAGE -- COMMAND" });
  }
  if (options.output !== undefined && options.detach !== true) {
    throw new UsageError("--output belongs to --detach", { hint: "without it, redirect standard output" });
  }
  const detachedAs = options.detachedAs;
  const listen = values.listen;
  return {
    id,
    image: options.image,
    pull: values.pull,
    command: words,
    ...(options.entrypoint === undefined ? {} : { entrypoint: options.entrypoint === "" ? [] : [options.entrypoint] }),
    account: owner.account,
    allocation,
    ...defined({ network: values.network, port: values.port }),
    ...(typeof listen === "string" ? {} : { listenAddress: listen.address }),
    listen: listen !== "none",
    sshd: options.sshd && values.allowSessions,
    environment: {
      clear: options.clearenv === true,
      envFile: (options.envFile ?? []).flatMap(readEnvFile),
      env: (options.env ?? []).map((setting) => parseEnvSetting(setting, process.env)),
      term: process.env.TERM ?? "",
      site: {
        set: values.siteEnv,
        prepend: values.siteEnvPrepend,
        append: values.siteEnvAppend,
        unset: values.siteEnvUnset,
      },
    },
    ...defined({ workdir: options.workdir === undefined ? undefined : absolute(options.workdir) }),
    callerDirectory: currentDirectory(),
    mountHome: values.mountHome,
    mountWorkdir: values.mountWorkdir,
    volumes: values.volumes,
    tmpfs: Object.fromEntries((options.tmpfs ?? []).map(parseTmpfs)),
    readOnlyRoot: options.readOnly === true,
    limits: {
      ...defined({
        nanoCpus: values.cpus === undefined ? undefined : Math.round(values.cpus * 1e9),
        cpusetCpus: values.cpuset,
        memoryBytes: values.memory,
        shmBytes: values.shmSize,
        pids: values.pids,
        cgroupParent: values.cgroupParent,
      }),
      ulimits: values.ulimits,
    },
    devices: values.devices,
    ...defined({ gpus: values.gpus, shell: values.shell, timeLimitMs: values.timeLimit }),
    tty: wantsTerminal(options, self),
    stdin: options.stdin && detachedAs === undefined,
    linger: values.linger,
    maxConnections: values.maxConnections,
    maxPerSource: values.maxPerSource,
    prepareTimeoutMs: values.prepareTimeout,
    upTimeoutMs: values.upTimeout,
    ...(detachedAs === undefined ? {} : { outputFile: outputFile(options, id) }),
    keys: { usualMs: values.keyLifetime, mostMs: values.maxKeyLifetime },
    auditSyslog: values.auditSyslog,
    heldBack: Object.fromEntries((options.heldBack ?? []).map(parseHeldBack)),
  };
}

/** The entries of an object that have a value. */
function defined<T extends object>(object: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

function wantsTerminal(options: RunOptions, self: Command): boolean {
  const terminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
  if (self.getOptionValueSource("tty") !== "cli") return terminal && process.stderr.isTTY === true && !options.detach;
  if (options.tty === true && !terminal) {
    throw new UsageError("--tty: standard input and output are no terminal", {
      hint: "leave --tty out, or use script(1)",
    });
  }
  return options.tty === true;
}

function currentDirectory(): string {
  try {
    return process.cwd();
  } catch (error) {
    throw new GangwayError("the current directory does not exist any more", {
      hint: "change to another",
      cause: error,
    });
  }
}

const START_WITH_SLASH = "write a path that starts with /";

function wholeNumber(flag: string, text: string): number {
  if (!/^\d{1,9}$/.test(text))
    throw new UsageError(`${flag} ${text}: not a whole number`, { hint: "write digits alone" });
  return Number(text);
}

function absolute(path: string): string {
  if (!path.startsWith("/")) {
    throw new UsageError(`--workdir ${path}: not an absolute path in the container`, { hint: START_WITH_SLASH });
  }
  return path;
}

function readEnvFile(file: string): EnvSetting[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new UsageError(`--env-file ${file}: ${reasonOf(error)}`, { hint: "name a file you can read", cause: error });
  }
  return parseEnvFile(text, file, process.env);
}

function parseTmpfs(text: string): [string, string] {
  const colon = text.indexOf(":");
  const target = colon === -1 ? text : text.slice(0, colon);
  if (!target.startsWith("/")) {
    throw new UsageError(`--tmpfs ${text}: not an absolute path in the container`, { hint: START_WITH_SLASH });
  }
  const path = normalPath(target);
  checkTarget(`--tmpfs ${text}`, path);
  return [path, colon === -1 ? "" : text.slice(colon + 1)];
}

function parseHeldBack(text: string): [string, number] {
  const [node = "", milliseconds = ""] = text.split("=");
  return [node, wholeNumber("--held-back", milliseconds)];
}
