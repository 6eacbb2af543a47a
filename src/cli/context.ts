import { homedir } from "node:os";
import type { Command } from "commander";
import { UsageError } from "../config/errors.ts";
import { flagDeclarations } from "../config/flags.ts";
import { callerIdentity, type Identity } from "../config/identity.ts";
import { type Config, type Flags, flagsFrom, loadConfig } from "../config/load.ts";
import { cacheDirectory, findRunBases, findUdiImage, type Places, stateDirectory } from "../config/paths.ts";
import type { SettingKey } from "../config/settings.ts";
import type { Engine } from "../engine/types.ts";
import { type Account, readAccount } from "../udi/accounts.ts";

/** The configuration as this call sees it. */
export async function configure(flags: Flags): Promise<Config> {
  return await loadConfig({
    env: process.env,
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
 * @throws EngineError when what is named is no unix socket
 */
export async function connectEngine(config: Config): Promise<Engine> {
  const { resolveEndpoint } = await import("../engine/endpoint.ts");
  const { connect } = await import("../engine/engine.ts");
  const named = config.values.engine;
  const byHand = config.origins("engine").some(({ kind }) => kind === "flag" || kind === "variable");
  return connect(
    resolveEndpoint({
      env: process.env,
      uid: process.getuid?.() ?? 0,
      ...(named === undefined ? {} : byHand ? { flag: named } : { configured: named }),
    }),
  );
}

/** Runs with an engine, and frees it whatever happens. */
export async function withEngine<T>(config: Config, work: (engine: Engine) => Promise<T>): Promise<T> {
  const engine = await connectEngine(config);
  try {
    return await work(engine);
  } finally {
    engine.close();
  }
}

export function udiImageOf(config: Config): string {
  const path = config.values.udiImagePath;
  return findUdiImage({
    program: import.meta.dirname,
    ...(path === undefined ? {} : { configured: { path, origin: config.origin("udiImagePath") } }),
  });
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
