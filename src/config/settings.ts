import {
  absolutePath,
  bool,
  bytes,
  cpus,
  durationFrom,
  integer,
  linger,
  list,
  oneOf,
  optional,
  parsed,
  text,
  timeLimit,
  userDirectory,
  variables,
} from "./kinds.ts";
import { parseCpuset, parseVariableName } from "./parse.ts";
import {
  formatDevice,
  formatPortRange,
  formatUlimit,
  formatVolume,
  type Listen,
  type PortRange,
  parseCgroupParent,
  parseClientRule,
  parseDevice,
  parseEngine,
  parseGpus,
  parseListen,
  parseNetwork,
  parsePortRange,
  parseUlimit,
  parseVolume,
  parseWords,
} from "./parse-container.ts";
import { type Setting, setting } from "./setting.ts";

export type { Flag, Setting } from "./setting.ts";

const joinBehind = (lower: string, higher: string): string => `${lower}:${higher}`;
const joinBefore = (lower: string, higher: string): string => `${higher}:${lower}`;
const replace = (_lower: string, higher: string): string => higher;

/**
 * All settings. The key is what the files say; the environment variable follows from it ({@link variableOf}).
 * Types, help, checks, `gangway config show` and the reference in the documentation are all made from this table.
 */
export const settings = {
  engine: setting({
    kind: optional(
      text(
        "SOCKET",
        "a unix socket, such as unix:///run/docker.sock or unix:///run/user/%U/podman/podman.sock (%U: the uid, %u: the user's name, %h: the home directory)",
        parseEngine,
      ),
      "automatic",
    ),
    default: undefined,
    defaultText: "$DOCKER_HOST, else the engine found on this host",
    flag: { name: "engine" },
    doc: "The container engine's socket, which every node looks for on its own host. In a file it stands behind $DOCKER_HOST.",
  }),
  udiImagePath: setting({
    kind: optional(absolutePath, "automatic"),
    default: undefined,
    defaultText: "beside the program, else /opt/udiImage, else /usr/lib/gangway/udiImage",
    flag: { name: "udi-image" },
    doc: "The tree that is mounted at /opt/udiImage in every job container.",
  }),
  runDirectory: setting({
    kind: optional(userDirectory, "automatic"),
    default: undefined,
    defaultText: "$XDG_RUNTIME_DIR/gangway, /run/user/UID/gangway, /dev/shm/gangway-UID",
    doc: "Where the private files of running jobs lie: a directory in memory that is the user's alone; tried first.",
  }),
  stateDirectory: setting({
    kind: optional(userDirectory, "automatic"),
    default: undefined,
    defaultText: "$XDG_STATE_HOME/gangway, else ~/.local/state/gangway",
    doc: "Where the records of ended detached jobs are kept.",
  }),
  cacheDirectory: setting({
    kind: optional(userDirectory, "automatic"),
    default: undefined,
    defaultText: "$XDG_CACHE_HOME/gangway, else ~/.cache/gangway",
    doc: "Where what was learnt of images is kept.",
  }),
  pull: setting({
    kind: oneOf("missing", "always", "never"),
    default: "missing",
    flag: { name: "pull" },
    doc: "When an image is pulled.",
  }),
  network: setting({
    kind: optional(text("NETWORK", '"bridge", "host", "none", or the name of a network', parseNetwork), "automatic"),
    default: undefined,
    defaultText: "bridge; host where the engine is rootless",
    flag: { name: "network" },
    doc: "The network of the job containers.",
  }),
  rendezvousPorts: setting({
    kind: optional(
      parsed<PortRange>("FIRST-LAST", "a range of TCP ports", parsePortRange, formatPortRange),
      "automatic",
    ),
    default: undefined,
    defaultText: "any that the kernel gives",
    doc: "The TCP ports, on the launcher's host, one of which the job's nodes connect to; for firewalls.",
  }),
  nodeSilence: setting({
    kind: durationFrom(2000),
    default: 20_000,
    doc: "After so long without a word, the launcher and a node on another host take each other for dead.",
  }),
  startCommand: setting({
    kind: optional(text("WORDS", "words with %h for the host, such as oarsh %h", parseWords), "automatic"),
    default: undefined,
    defaultText: "the manager's own launcher, else ssh",
    doc: "How a process is started on another host of a job: this program's words, then the process's.",
  }),
  nodeProgram: setting({
    kind: optional(absolutePath, "automatic"),
    default: undefined,
    defaultText: "the same path as here",
    doc: "Where Gangway's program lies on the other hosts of a job.",
  }),
  imagesMayDiffer: setting({
    kind: bool,
    default: false,
    flag: { name: "images-may-differ", bare: true },
    doc: "Launch although an image of the same name is another on some hosts.",
  }),
  port: setting({
    kind: optional(integer(0, 65_535), "automatic"),
    default: undefined,
    defaultText: "chosen by the system",
    flag: { name: "port" },
    doc: "The TCP port of the job's sshd; 0 lets the kernel choose.",
  }),
  listen: setting({
    kind: parsed<Listen>("ADDRESS", '"any", "none", or an IP address', parseListen, (value) =>
      typeof value === "string" ? value : value.address,
    ),
    default: "any",
    flag: { name: "listen", negated: "none" },
    doc: "The address sshd listens on over TCP; none leaves the unix socket alone.",
  }),
  maxConnections: setting({
    kind: integer(1, 65_535),
    default: 1024,
    flag: { name: "max-connections" },
    doc: "How many TCP connections a node's sshd holds at once.",
  }),
  maxPerSource: setting({
    kind: integer(1, 65_535),
    default: 256,
    flag: { name: "max-per-source" },
    doc: "How many of these may come from one address.",
  }),
  allowSessions: setting({
    kind: bool,
    default: true,
    siteOnly: true,
    doc: "Whether jobs may have an sshd at all.",
  }),
  keyLifetime: setting({
    kind: timeLimit,
    default: 24 * 3_600_000,
    doc: "How long `gangway key authorize` has a key signed for, where --for says nothing.",
  }),
  maxKeyLifetime: setting({
    kind: timeLimit,
    default: 30 * 24 * 3_600_000,
    siteOnly: true,
    doc: "The longest time a key is signed for.",
  }),
  clients: setting({
    kind: list({
      placeholder: "NAME=WORDS",
      written: "NAME=WORDS, such as \"mosh=mosh --ssh='ssh -F %F' %h\"",
      parse: parseClientRule,
      format: ({ name, command }) => `${name}=${command}`,
      identity: ({ name }) => name,
    }),
    default: [],
    doc: "How `gangway ssh --ssh NAME` (and condor_ssh_to_job's -ssh) calls a client that does not take -F FILE behind its name: %F the configuration file, %h the job's name, %i its key, %k its known hosts, %u the user, %x a ProxyCommand.",
  }),
  auditSyslog: setting({
    kind: bool,
    default: false,
    siteOnly: true,
    doc: "Whether the end of each session is told to syslog as well (by logger, authpriv.info, tag gangway).",
  }),
  linger: setting({
    kind: linger,
    default: "none",
    flag: { name: "linger" },
    doc: "After the command's end: cut the sessions, wait for them all, or wait so long at most.",
  }),
  wlm: setting({
    kind: oneOf("auto", "none", "flux", "slurm", "htcondor", "pbs", "lsf", "oar", "sge"),
    default: "auto",
    flag: { name: "wlm" },
    doc: "The workload manager that is asked for the job's id and nodes; auto: the one whose job this is.",
  }),
  slots: setting({
    kind: integer(1, 65_535),
    default: 2,
    flag: { name: "slots" },
    doc: "Slots of a virtual node in the hostsfile and for mpirun.",
  }),
  mountHome: setting({
    kind: bool,
    default: true,
    flag: { name: "mount-home", negated: "false", bare: true },
    doc: "Mount the home directory at the same path.",
  }),
  mountWorkdir: setting({
    kind: bool,
    default: true,
    flag: { name: "mount-workdir", negated: "false", bare: true },
    doc: "Mount the current directory at the same path.",
  }),
  volumes: setting({
    kind: list({
      placeholder: "SOURCE:TARGET[:OPTIONS]",
      written: "SOURCE:TARGET[:ro,rslave,…]",
      parse: parseVolume,
      format: formatVolume,
      identity: (volume) => volume.target,
    }),
    default: [],
    flag: { name: "volume", short: "v" },
    doc: "Files and directories of the host to be mounted; options: ro, rw, [r]private, [r]shared, [r]slave.",
  }),
  siteEnv: setting({
    kind: variables(replace),
    default: {},
    doc: "Variables set in every job, after the image's and the user's own.",
  }),
  siteEnvAppend: setting({
    kind: variables(joinBehind),
    default: {},
    doc: "Values put behind a variable's, after a colon.",
  }),
  siteEnvPrepend: setting({
    kind: variables(joinBefore),
    default: {},
    doc: "Values put before a variable's, with a colon between.",
  }),
  siteEnvUnset: setting({
    kind: list({
      placeholder: "NAME",
      written: "the NAME of a variable",
      parse: parseVariableName,
      format: (name) => name,
      identity: (name) => name,
    }),
    default: [],
    doc: "Variables taken out of every job's environment.",
  }),
  shell: setting({
    kind: optional(absolutePath, "automatic"),
    default: undefined,
    defaultText: "the account's, where the image has it; else one that the image has; else ours",
    flag: { name: "shell" },
    doc: "The login shell of sessions, by its path in the container.",
  }),
  cpus: setting({
    kind: optional(cpus, "none"),
    default: undefined,
    defaultText: "no limit but the job's own",
    flag: { name: "cpus" },
    doc: "Cpu time a container may use, in cpus.",
  }),
  cpuset: setting({
    kind: optional(text("LIST", "a list of cpus such as 0-3,8", parseCpuset), "none"),
    default: undefined,
    defaultText: "every cpu the job has",
    flag: { name: "cpuset-cpus" },
    doc: "The cpus a container may run on.",
  }),
  memory: setting({
    kind: optional(bytes, "none"),
    default: undefined,
    defaultText: "no limit but the job's own",
    flag: { name: "memory", short: "m" },
    doc: "Memory a container may use.",
  }),
  shmSize: setting({
    kind: optional(bytes, "none"),
    default: undefined,
    defaultText: "the engine's",
    flag: { name: "shm-size" },
    doc: "Size of /dev/shm.",
  }),
  pids: setting({
    kind: optional(integer(1, 4_194_304), "none"),
    default: undefined,
    defaultText: "no limit",
    flag: { name: "pids-limit" },
    doc: "Processes and threads a container may have.",
  }),
  ulimits: setting({
    kind: list({
      placeholder: "NAME=SOFT[:HARD]",
      written: "NAME=SOFT[:HARD]",
      parse: parseUlimit,
      format: formatUlimit,
      identity: (ulimit) => ulimit.name,
    }),
    default: [],
    flag: { name: "ulimit" },
    doc: "Resource limits of processes, such as nofile=1024:2048 or memlock=unlimited.",
  }),
  gpus: setting({
    kind: optional(text("GPUS", '"all", a count, or "device=ID,…"', parseGpus), "none"),
    default: undefined,
    defaultText: "none",
    flag: { name: "gpus" },
    doc: "GPUs the containers get, as docker run has it.",
  }),
  devices: setting({
    kind: list({
      placeholder: "/dev/X[:/dev/Y[:rwm]]",
      written: "/dev/X[:/dev/Y[:rwm]]",
      parse: parseDevice,
      format: formatDevice,
      identity: (device) => device.containerPath,
    }),
    default: [],
    flag: { name: "device" },
    doc: "Devices of the host the containers get.",
  }),
  cgroupParent: setting({
    kind: optional(text("CGROUP", "an absolute path or NAME.slice", parseCgroupParent), "none"),
    default: undefined,
    defaultText: "the engine's",
    flag: { name: "cgroup-parent" },
    doc: "The cgroup the containers are put under.",
  }),
  stepLimits: setting({
    kind: oneOf("auto", "copy", "require", "none"),
    default: "auto",
    siteOnly: true,
    doc: "How containers are kept within what the workload manager gave the job: by cgroups below the job's where that can be, else by a copy of its limits; copy: always so; require: a machine that is the job's alone is no excuse; none: not at all.",
  }),
  timeLimit: setting({
    kind: optional(timeLimit, "none"),
    default: undefined,
    defaultText: "no limit but the job's own",
    flag: { name: "time-limit" },
    doc: "After this time the job is ended.",
  }),
  prepareTimeout: setting({
    kind: timeLimit,
    default: 600_000,
    flag: { name: "prepare-timeout" },
    doc: "How long every node may take to have its image and its container made.",
  }),
  upTimeout: setting({
    kind: timeLimit,
    default: 60_000,
    flag: { name: "up-timeout" },
    doc: "How long every node may take from there until its sshd answers.",
  }),
};

export type SettingKey = keyof typeof settings;
export type Values = { readonly [K in SettingKey]: (typeof settings)[K] extends Setting<infer T> ? T : never };

/** In the order of the table. */
export const settingKeys = Object.keys(settings) as SettingKey[];

export function isSettingKey(key: string): key is SettingKey {
  return Object.hasOwn(settings, key);
}

/** The setting of a key, where its own type does not matter. */
export function settingOf(key: SettingKey): Setting<unknown> {
  return settings[key] as Setting<unknown>;
}

/** The environment variable of a setting: `udiImagePath` is GANGWAY_UDI_IMAGE_PATH. */
export function variableOf(key: SettingKey): string {
  return `GANGWAY_${key.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}
