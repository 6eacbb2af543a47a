import { homedir } from "node:os";
import type { Command } from "commander";
import { expandEngineRule, isPerUser } from "../config/engine-rule.ts";
import { UsageError } from "../config/errors.ts";
import { flagDeclarations } from "../config/flags.ts";
import { callerIdentity, type Identity } from "../config/identity.ts";
import { type Config, type Flags, flagsFrom, loadConfig } from "../config/load.ts";
import {
  cacheDirectory,
  findRunBases,
  findUdiImage,
  hasUdiImage,
  openRunBase,
  type Places,
  stateDirectory,
} from "../config/paths.ts";
import { type SettingKey, variableOf } from "../config/settings.ts";
import type { Engine } from "../engine/types.ts";
import type { EngineView } from "../job/engine-view.ts";
import type { HostSettings } from "../job/node-protocol.ts";
import { type Account, readAccount } from "../udi/accounts.ts";
import { packedUdiImage, unpackUdiImage } from "../udi/unpack.ts";

/**
 * The configuration as this call sees it.
 *
 * @param variables what a launcher elsewhere was told about its hosts: it counts as variables do
 */
export async function configure(flags: Flags, variables: HostSettings = {}): Promise<Config> {
  const named: Record<string, string> = {};
  for (const key of ["engine", "runDirectory", "udiImagePath", "cacheDirectory"] as const) {
    const value = variables[key];
    if (value !== undefined) named[variableOf(key)] = value;
  }
  return await loadConfig({
    env: { ...process.env, ...named },
    flags,
    uid: process.getuid?.() ?? 0,
    home: process.env.HOME ?? homedir(),
    ...workingDirectory(),
  });
}

/** Nothing where the current directory has been removed: most commands do not need one. */
function workingDirectory(): { cwd?: string } {
  try {
    return { cwd: process.cwd() };
  } catch {
    return {};
  }
}

/** Puts the settings' flags on a command, with the help that their table has. */
export function addSettings(command: Command, keys: readonly SettingKey[]): Command {
  for (const { key, flags, documentation, repeats } of flagDeclarations()) {
    if (!keys.includes(key)) continue;
    if (repeats) command.option(flags, documentation, collectValues);
    else command.option(flags, documentation);
  }
  return command;
}

export function collectValues(value: string, previous: readonly string[] | undefined): string[] {
  return [...(previous ?? []), value];
}

/**
 * The settings that were really given on the command line: commander's `--no-x` makes a default of true for `x`.
 */
export function givenSettings(command: Command): Flags {
  const options = command.opts<Record<string, unknown>>();
  return flagsFrom(
    Object.fromEntries(Object.entries(options).filter(([name]) => command.getOptionValueSource(name) === "cli")),
  );
}

/** The user a job belongs to: the caller, or whom root names. */
export interface Owner {
  readonly account: Account;
  readonly identity: Identity;
  readonly places: Places;
}

/** @throws UsageError when somebody but root names another user */
export function ownerOf(user: string | undefined): Owner {
  const caller = callerIdentity();
  if (user !== undefined && caller.uid !== 0 && user !== String(caller.uid)) {
    const own = readAccount(undefined);
    if (user !== own.name) {
      throw new UsageError(`--user ${user}: only root can act for another user`, {
        hint: "leave it out: you are meant",
      });
    }
  }
  const account = readAccount(user !== undefined && /^\d+$/.test(user) ? Number(user) : user);
  const identity: Identity =
    account.uid === caller.uid
      ? caller
      : { uid: account.uid, gid: account.gid, groups: account.groups.map((group) => group.gid) };
  return { account, identity, places: { user: identity, home: account.home, env: process.env } };
}

/** Of who calls, where no job is concerned: that may be root as well. */
export function callersPlaces(): Places {
  const user = callerIdentity();
  return user.uid === 0 ? { user, home: homedir(), env: process.env } : ownerOf(undefined).places;
}

/** What a session needs to know where root enters a job that is another user's; nothing where it is the caller's own. */
export function foreignTo(
  { account, identity }: Owner,
  udiImage: () => string,
): { foreign: { name: string; identity: Identity; udiImage: string } } | Record<string, never> {
  if (account.uid === process.getuid?.()) return {};
  return { foreign: { name: account.name, identity, udiImage: udiImage() } };
}

/** The uid whose jobs a command deals with: root, naming nobody, sees everybody's. */
export function visibleUid(user: string | undefined): number | undefined {
  if (user !== undefined) return ownerOf(user).account.uid;
  const uid = process.getuid?.() ?? 0;
  return uid === 0 ? undefined : uid;
}

/**
 * The engine that flag or variable name, else $DOCKER_HOST, else a file, else the one that is found. What speaks to
 * engines is loaded here: who reaches a job on this host needs none.
 *
 * @param user whom root acts for, where somebody was named
 * @param foreignMs how long all that is asked of another user's own engine may take; undefined: as long as it takes
 * @throws EngineError when what is named is no unix socket
 * @throws UsageError when root names nobody, and each user has an engine of their own
 */
export async function connectEngine(config: Config, user?: string, foreignMs?: number): Promise<Engine> {
  const { resolveEndpoint } = await import("../engine/endpoint.ts");
  const { connect } = await import("../engine/engine.ts");
  const named = config.values.engine;
  const byHand = config.origins("engine").some(({ kind }) => kind === "flag" || kind === "variable");
  const { socket, as } = named === undefined ? {} : engineOfUser(named, user, config.origin("engine"));
  const endpoint = resolveEndpoint({
    env: process.env,
    uid: process.getuid?.() ?? 0,
    ...(socket === undefined ? {} : byHand ? { flag: socket } : { configured: socket }),
  });
  if (as === undefined || endpoint.socketPath !== socket) return connect(endpoint);
  return connect({ ...endpoint, as, ...(foreignMs === undefined ? {} : { limitMs: foreignMs }) });
}

/**
 * The engine for what is put into containers that run: as {@link connectEngine}, or one that is reached over TLS, where
 * nothing can be mounted, and so no job be launched.
 *
 * @throws EngineError, UsageError
 */
export async function connectForeign(config: Config) {
  const { resolveForeignEndpoint } = await import("../engine/foreign-endpoint.ts");
  const { ForeignContainers } = await import("../engine/foreign.ts");
  const named = config.values.engine;
  const byHand = config.origins("engine").some(({ kind }) => kind === "flag" || kind === "variable");
  const { socket } = named === undefined ? {} : engineOfUser(named, undefined, config.origin("engine"));
  return new ForeignContainers(
    await resolveForeignEndpoint({
      env: process.env,
      uid: process.getuid?.() ?? 0,
      home: process.env.HOME ?? homedir(),
      ...(socket === undefined ? {} : byHand ? { flag: socket } : { configured: socket }),
    }),
  );
}

/** A user's own engine where the rule names one for each; the rule itself where it names one for all. */
function engineOfUser(rule: string, user: string | undefined, origin: string): { socket?: string; as?: Identity } {
  if (!isPerUser(rule)) return { socket: expandEngineRule(rule, { uid: 0, name: "", home: "" }) };
  if (user === undefined && process.getuid?.() === 0) {
    throw new UsageError(`each user has an engine of their own here (${origin}: ${rule})`, {
      hint: "name whose you mean: --user USER",
    });
  }
  const { account, identity } = ownerOf(user);
  const socket = expandEngineRule(rule, account);
  return account.uid === process.getuid?.() ? { socket } : { socket, as: identity };
}

/** What root asks of a user's own engine is short; whether it answers is that user's to say. */
export const FOREIGN_MS = 60_000;

/** Runs with an engine, and frees it whatever happens. @param foreignMs as of {@link connectEngine} */
export async function withEngine<T>(
  config: Config,
  user: string | undefined,
  work: (engine: Engine) => Promise<T>,
  foreignMs: number = FOREIGN_MS,
): Promise<T> {
  const engine = await connectEngine(config, user, foreignMs);
  try {
    return await work(engine);
  } finally {
    engine.close();
  }
}

/** The tree for the containers. That of an npm package is unpacked when it is first asked for. */
export function udiImageOf(config: Config): string {
  const path = config.values.udiImagePath;
  const program = import.meta.dirname;
  if (path !== undefined) return findUdiImage({ program, configured: { path, origin: config.origin("udiImagePath") } });
  const archive = packedUdiImage(program);
  if (archive === undefined || hasUdiImage(program)) return findUdiImage({ program });
  const caller = { user: callerIdentity(), home: process.env.HOME ?? homedir(), env: process.env };
  return unpackUdiImage(archive, cacheDirectory(caller, config.values.cacheDirectory));
}

export function cacheOf(config: Config, { places }: Owner): string {
  return cacheDirectory(places, config.values.cacheDirectory);
}

export function stateOf(config: Config, { places }: Owner): string {
  return stateDirectory(places, config.values.stateDirectory);
}

export function runBasesOf(config: Config, { places }: Owner): readonly string[] {
  return findRunBases(places, config.values.runDirectory);
}

/** How an engine sees the files of this process. */
export async function viewOf(config: Config, engine: Engine): Promise<EngineView> {
  const { viewOfEngine } = await import("../job/engine-view.ts");
  return viewOfEngine(engine.endpoint.socketPath, udiImageOf(config));
}

export interface HostPartRequest {
  readonly config: Config;
  readonly owner: Owner;
  readonly job: string;
  /** How many of the job's will be on this host. */
  readonly nodes: number;
  readonly note: (text: string) => void;
  /** Of the engine that has to see the run directory; without one nothing is mounted. */
  readonly view?: EngineView;
}

/** Where things lie on this host for a launch. */
export function hostPart({ config, owner, job, nodes, note, view }: HostPartRequest) {
  const configured = config.values.runDirectory;
  const objection = (path: string) => (view?.pathOf(path) === undefined && view !== undefined ? UNSEEN : undefined);
  const { path, passedOver } = openRunBase({ ...owner.places, configured, job, nodes, objection });
  if (configured !== undefined) for (const reason of passedOver) note(`passed over ${reason}`);
  return {
    udiImage: udiImageOf(config),
    runBase: path,
    cacheDirectory: cacheOf(config, owner),
    identity: owner.identity,
  };
}

const UNSEEN = "the engine does not see it (the job has mounts of its own, and it lies in one)";

/** An engine, how it sees our files, and where things lie for it. */
export interface EngineHere {
  readonly engine: Engine;
  readonly view: EngineView;
  readonly part: ReturnType<typeof hostPart>;
}

/**
 * Connects the engine for a launch: its containers are to have no more than the workload manager gave to what runs here.
 *
 * @throws GangwayError where that cannot be kept to, on a machine that others have a part of
 */
export async function connectWithinStep(request: HostPartRequest): Promise<EngineHere> {
  const { config, owner, nodes, note } = request;
  const { withinStep } = await import("../job/step-engine.ts");
  const { surroundingsOf } = await import("../job/allocate.ts");
  const connected = await connectEngine(config, String(owner.account.uid));
  let engine = connected;
  try {
    engine = await withinStep(connected, {
      policy: config.values.stepLimits,
      surroundings: surroundingsOf(owner.identity),
      identity: owner.identity,
      containers: nodes,
      // For an engine that is started here: it sees what this process sees.
      runBase: () => hostPart({ ...request, note: () => undefined }).runBase,
      udiImage: udiImageOf(config),
      note,
    });
    const view = await viewOf(config, engine);
    return { engine, view, part: hostPart({ ...request, view }) };
  } catch (error) {
    engine.close();
    throw error;
  }
}
