import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { resolve } from "node:path";
import { isatty } from "node:tty";
import type { Command } from "commander";
import type { Allocation } from "../allocation/allocation.ts";
import { callerEnvironment } from "../allocation/caller-environment.ts";
import { GangwayError, systemReasonOf, UsageError } from "../config/errors.ts";
import type { Config } from "../config/load.ts";
import { normalPath } from "../config/parse.ts";
import { surroundingsOf } from "../job/allocate.ts";
import { environmentGiven } from "../job/allocation-environment.ts";
import { checkTarget } from "../job/mounts.ts";
import type { JobSpec } from "../job/spec.ts";
import { needsOthers } from "../job/spread.ts";
import { type EnvSetting, parseEnvFile, parseEnvSetting } from "../udi/environment.ts";
import type { Owner } from "./context.ts";

/** The options of `gangway run` that are no settings, as commander has them. */
export interface RunOptions {
  readonly image?: string;
  readonly nodes?: string;
  readonly hosts?: string;
  readonly hostfile?: string;
  readonly name?: string;
  readonly user?: string;
  readonly env?: readonly string[];
  readonly envFile?: readonly string[];
  readonly clearenv?: boolean;
  readonly callerEnv?: boolean;
  readonly entrypoint?: string;
  readonly workdir?: string;
  readonly tmpfs?: readonly string[];
  readonly readOnly?: boolean;
  readonly everywhere?: boolean;
  readonly minNodes?: string;
  readonly detach?: boolean;
  readonly output?: string;
  readonly tty?: boolean;
  readonly stdin: boolean;
  readonly sshd: boolean;
  readonly heldBack?: readonly string[];
  readonly detachedAs?: string;
}

/** Where a detached job's output goes: `%j` stands for the job's id. */
export function outputFile(options: RunOptions, id: string): string {
  return resolve((options.output ?? "gangway-%j.out").replaceAll("%j", id));
}

/**
 * What is to be launched, by the command line, the settings and where the launch is.
 *
 * @param words the command in the container, perhaps none
 * @param self the command, which knows what was said and what is a default
 * @throws UsageError for options that cannot be, or not together; GangwayError for files and directories that cannot be read
 */
export function specOf(
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
    several: needsOthers(allocation, hostname()),
    everywhere: options.everywhere === true,
    ...defined({ network: values.network, port: values.port }),
    ...(typeof listen === "string" ? {} : { listenAddress: listen.address }),
    listen: listen !== "none",
    sshd: options.sshd && values.allowSessions,
    environment: {
      clear: options.clearenv === true,
      caller: options.callerEnv === true ? callerEnvironment(process.env) : [],
      envFile: (options.envFile ?? []).flatMap(readEnvFile),
      env: (options.env ?? []).map((setting) => parseEnvSetting(setting, process.env)),
      allocation: environmentGiven(allocation, values.wlm, surroundingsOf(owner.identity)),
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
export function defined<T extends object>(object: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

function wantsTerminal(options: RunOptions, self: Command): boolean {
  if (options.everywhere === true) {
    if (self.getOptionValueSource("tty") !== "cli" || options.tty !== true) return false;
    throw new UsageError("--tty and --everywhere: one terminal cannot be every node's", {
      hint: "leave one of them out",
    });
  }
  // By number: process.stdin would load what reads it, which has time until the engine is busy.
  const terminal = isatty(0) && isatty(1);
  if (self.getOptionValueSource("tty") !== "cli") return terminal && isatty(2) && !options.detach;
  if (options.tty === true && !terminal) {
    throw new UsageError("--tty: standard input and output are no terminal", {
      hint: "leave --tty out, or use script(1)",
    });
  }
  return options.tty === true;
}

/** @throws GangwayError where it has been removed */
export function currentDirectory(): string {
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

/** @throws UsageError naming the flag, for what is no number of at most nine digits */
export function wholeNumber(flag: string, text: string): number {
  if (!/^\d{1,9}$/.test(text))
    throw new UsageError(`${flag} ${text}: not a whole number`, { hint: "write digits alone" });
  return Number(text);
}

function absolute(path: string): string {
  if (path !== "" && !path.startsWith("/")) {
    throw new UsageError(`--workdir ${path}: not an absolute path in the container`, { hint: START_WITH_SLASH });
  }
  return path;
}

/**
 * The settings in a file of `--env-file`.
 *
 * @throws UsageError where it cannot be read, GangwayError for a line that is none
 */
export function readEnvFile(file: string): EnvSetting[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new UsageError(`--env-file ${file}: ${systemReasonOf(error)}`, {
      hint: "name a file you can read",
      cause: error,
    });
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
