import { hostname } from "node:os";
import { isatty } from "node:tty";
import { Command } from "commander";
import type { Allocation } from "../allocation/allocation.ts";
import { UsageError } from "../config/errors.ts";
import type { Config } from "../config/load.ts";
import type { SettingKey } from "../config/settings.ts";
import { allocate, surroundingsOf } from "../job/allocate.ts";
import { environmentGiven } from "../job/allocation-environment.ts";
import { underFreeId } from "../job/free-id.ts";
import { launchIds, randomJobId } from "../job/id.ts";
import { Launcher } from "../job/launcher.ts";
import { StderrReporter } from "../job/reporter.ts";
import { imageOf, parseRuntimeLine } from "../job/runtime-command.ts";
import { OWN_VIEW, RuntimeEngine } from "../job/runtime-engine.ts";
import type { JobSpec } from "../job/spec.ts";
import { needsOthers, refuseTasks } from "../job/spread.ts";
import { ThisHost } from "../job/this-host.ts";
import { checkJobId } from "../udi/names.ts";
import {
  addSettings,
  configure,
  givenSettings,
  hostPart,
  type Owner,
  ownerOf,
  runBasesOf,
  stateOf,
} from "./context.ts";
import { launchElsewhere } from "./run.ts";
import { currentDirectory, defined, wholeNumber } from "./run-options.ts";

/** What a runtime leaves to us; the rest of a container is its own affair. */
const SETTINGS: readonly SettingKey[] = [
  "udiImagePath",
  "runDirectory",
  "wlm",
  "slots",
  "port",
  "listen",
  "linger",
  "maxConnections",
  "maxPerSource",
  "keyLifetime",
  "maxKeyLifetime",
  "timeLimit",
  "prepareTimeout",
  "upTimeout",
  "rendezvousPorts",
  "nodeSilence",
];

interface AttachOptions {
  readonly nodes?: string;
  readonly hosts?: string;
  readonly hostfile?: string;
  readonly name?: string;
  readonly accounts?: boolean;
  readonly everywhere?: boolean;
}

export function command(): Command {
  const attach = new Command("gangway attach-runtime")
    .description(
      "Starts a container by a runtime without an engine, such as Apptainer, with our init as its program; then ssh, scp, rsync and all commands of gangway reach it as any job.",
    )
    .usage("[OPTION…] -- RUNTIME [ARGUMENT…] /opt/udiImage/libexec/init -- COMMAND [ARGUMENT…]")
    .argument("<words...>", "the runtime's command line; what it has to bind it is told by APPTAINER_BIND and the like")
    .passThroughOptions()
    .option("-N, --nodes <COUNT>", "so many containers on this machine, virtual nodes: node1, node2, …")
    .option("--hosts <LIST>", "the nodes, such as n[01-04],big7; reached by your own ssh")
    .option("--hostfile <FILE>", "the nodes in a file, a line HOST, HOST slots=4 or HOST:4 each")
    .option("--name <NAME>", "the job's id, instead of the workload manager's or a random one")
    .option("--everywhere", "run the command on every node of several hosts; the worst exit code counts")
    .option("--accounts", "bind an /etc/passwd and /etc/group of ours, for an image without them");
  addSettings(attach, SETTINGS);
  return attach.action(async (words: string[], _options: unknown, self: Command) => {
    process.exitCode = await attachRuntime(words, self);
  });
}

async function attachRuntime(line: readonly string[], self: Command): Promise<number> {
  const options = self.opts<AttachOptions>();
  const { words, command } = parseRuntimeLine(line);
  if (process.getuid?.() === 0) {
    throw new UsageError("a job never runs as root", { hint: "call gangway attach-runtime as the job's user" });
  }
  const config = await configure(givenSettings(self));
  const owner = ownerOf(undefined);
  const allocation = allocationFor(options, config, owner);
  if (needsOthers(allocation, hostname())) refuseTasks(allocation, process.env);
  const ids = idsFor(options, allocation);
  return await underFreeId(ids, runBasesOf(config, owner), owner.identity, async (id) => {
    const spec = specOf({ words, command, options, config, owner, allocation, id });
    return await launch(spec, config, owner);
  });
}

function allocationFor({ nodes, hosts, hostfile }: AttachOptions, { values }: Config, owner: Owner): Allocation {
  const virtual = nodes === undefined ? undefined : wholeNumber("--nodes", nodes);
  const request = { wlm: values.wlm, slots: values.slots, ...defined({ virtual, hosts, hostfile }) };
  return allocate(request, surroundingsOf(owner.identity));
}

function idsFor({ name }: AttachOptions, { job }: Allocation): Iterable<string> {
  if (name !== undefined) return [checkJobId(name)];
  return job === undefined ? [randomJobId()] : launchIds(job);
}

async function launch(spec: JobSpec, config: Config, owner: Owner): Promise<number> {
  const reporter = new StderrReporter(isatty(2));
  const { id: job, allocation, runtime } = spec;
  const note = (text: string) => reporter.note(text);
  const part = hostPart({ config, owner, job, nodes: allocation.nodes.length, note });
  // Nothing is known of the image, so nothing is kept of it.
  const context = { reporter, stateDirectory: stateOf(config, owner), ...part, cacheDirectory: undefined };
  if (spec.several) return await launchElsewhere(spec, config, context);
  if (runtime === undefined) throw new TypeError("a launch by a runtime without one");
  const engine = new RuntimeEngine(runtime, "own");
  try {
    const launcher = new Launcher(spec, {
      ...context,
      hosts: (place, nodes, { signal }) =>
        new ThisHost(spec, nodes, place, { ...context, engine, view: OWN_VIEW, signal }),
    });
    return await launcher.run();
  } finally {
    engine.close();
  }
}

interface Request {
  readonly words: readonly string[];
  readonly command: readonly string[];
  readonly options: AttachOptions;
  readonly config: Config;
  readonly owner: Owner;
  readonly allocation: Allocation;
  readonly id: string;
}

/** What is the runtime's to decide is left out: image, mounts, limits, devices, accounts. */
function specOf({ words, command, options, config, owner, allocation, id }: Request): JobSpec {
  const { values } = config;
  const { listen } = values;
  const several = needsOthers(allocation, hostname());
  const here = currentDirectory();
  if (options.everywhere === true && !several) {
    throw new UsageError("--everywhere: on one host the command's output is this terminal's, or file's, alone", {
      hint: "leave it out, or name several hosts",
    });
  }
  if (!values.allowSessions) {
    throw new UsageError("this site allows no sessions (allowSessions): there is nothing to attach", {
      hint: "start the runtime by itself",
    });
  }
  return {
    id,
    runtime: { words, accounts: options.accounts === true },
    image: imageOf(words),
    pull: "never",
    command,
    entrypoint: [],
    account: owner.account,
    allocation,
    several,
    everywhere: options.everywhere === true,
    network: "host",
    ...defined({ port: values.port, timeLimitMs: values.timeLimit }),
    ...(typeof listen === "string" ? {} : { listenAddress: listen.address }),
    listen: listen !== "none",
    sshd: true,
    environment: {
      // A runtime hands its own environment on.
      caller: [],
      clear: false,
      envFile: [],
      env: [],
      allocation: environmentGiven(allocation, values.wlm, surroundingsOf(owner.identity)),
      term: "",
      site: { set: {}, prepend: {}, append: {}, unset: [] },
    },
    workdir: here,
    callerDirectory: here,
    mountHome: false,
    mountWorkdir: false,
    volumes: [],
    tmpfs: {},
    readOnlyRoot: false,
    limits: { ulimits: [] },
    devices: [],
    // The command has the launcher's own terminal, and nobody stands between.
    tty: false,
    stdin: several,
    linger: values.linger,
    maxConnections: values.maxConnections,
    maxPerSource: values.maxPerSource,
    prepareTimeoutMs: values.prepareTimeout,
    // A runtime pulls and unpacks its image when it is started.
    upTimeoutMs: values.prepareTimeout + values.upTimeout,
    heldBack: {},
    keys: { usualMs: values.keyLifetime, mostMs: values.maxKeyLifetime },
    auditSyslog: values.auditSyslog,
  };
}
