import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { chownSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { inPart } from "../whole.ts";

/** A container engine of the test rig, and how an ordinary user reaches it. */
export interface RigEngine {
  readonly name: "docker" | "podman" | "rootless";
  readonly endpoint: string;
  /** What the user's processes need in their environment for it. */
  readonly env: Readonly<Record<string, string>>;
  /** Whether virtual nodes get networks, and addresses, of their own. */
  readonly bridged: boolean;
}

function variable(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === "") throw new Error(`${name} is not set: run the tests by \`make test\``);
  return value;
}

/** The installed program under test, where every account can read it. */
export const INSTALL = variable("GANGWAY_TEST_INSTALL");
export const GANGWAY = join(INSTALL, "bin/gangway");
export const UDI_IMAGE = join(INSTALL, "lib/gangway/udiImage");

export interface TestUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
  readonly runtime: string;
}

function account(name: string): TestUser {
  const line = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .find((entry) => entry.startsWith(`${name}:`));
  const fields = line?.split(":") ?? [];
  if (fields.length < 7) throw new Error(`there is no account ${name}: run test/rig/accounts.sh`);
  return {
    name,
    uid: Number(fields[2]),
    gid: Number(fields[3]),
    home: fields[5] ?? "/",
    runtime: join(variable("GANGWAY_TEST_XDG"), name),
  };
}

export const USER = account(variable("GANGWAY_TEST_USER"));
export const OTHER = account(variable("GANGWAY_TEST_OTHER_USER"));
export const MANY = account(variable("GANGWAY_TEST_MANY_USER"));

export const DOCKER: RigEngine = { name: "docker", endpoint: variable("GANGWAY_TEST_DOCKER"), env: {}, bridged: true };
export const PODMAN: RigEngine = { name: "podman", endpoint: variable("GANGWAY_TEST_PODMAN"), env: {}, bridged: true };
export const ROOTLESS: RigEngine = {
  name: "rootless",
  endpoint: variable("GANGWAY_TEST_PODMAN_ROOTLESS"),
  env: {},
  bridged: false,
};
export const ENGINES: readonly RigEngine[] = [DOCKER, PODMAN, ROOTLESS];

/** Where root's Podman is not expected to do anything that the user's does not: they are one program. */
export const DIFFERENT_ENGINES = inPart(ENGINES, (engine) => engine !== PODMAN);

/** Images of images/, as they are called in every engine of the rig. */
export const IMAGES = {
  bare: "gangway-test/bare",
  debian: "gangway-test/debian",
  scratch: "gangway-test/scratch",
  foreign: "gangway-test/foreign",
  locked: "gangway-test/locked",
  mpich: "gangway-test/mpich",
  openmpi5: "gangway-test/openmpi5",
} as const;

export interface RunOptions {
  readonly user?: TestUser;
  readonly engine?: RigEngine;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string | Buffer;
}

export interface RunResult {
  /** 128+n where a signal ended it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly bytes: Buffer;
}

/** The whole environment of a user's process: nothing of the test runner's. */
export function environmentOf(options: RunOptions): Record<string, string> {
  const user = options.user ?? USER;
  return {
    PATH: process.env.PATH ?? "/usr/bin:/bin",
    HOME: user.home,
    USER: user.name,
    LOGNAME: user.name,
    SHELL: "/bin/bash",
    LANG: "C.UTF-8",
    XDG_RUNTIME_DIR: user.runtime,
    DOCKER_HOST: (options.engine ?? DOCKER).endpoint,
    ...(options.engine ?? DOCKER).env,
    ...options.env,
  };
}

/** argv of a program run as an ordinary user, with the groups that the account has. */
export function asUserArgv(user: TestUser, argv: readonly string[]): string[] {
  const ids = [`--reuid=${user.uid}`, `--regid=${user.gid}`, "--init-groups", "--inh-caps=-all"];
  return ["setpriv", ...ids, "--", ...argv];
}

/** Starts a program as the test user. */
export function start(argv: readonly string[], options: RunOptions = {}) {
  const [program = "", ...words] = asUserArgv(options.user ?? USER, argv);
  return spawn(program, words, {
    cwd: options.cwd ?? (options.user ?? USER).home,
    env: environmentOf(options),
    stdio: ["pipe", "pipe", "pipe"],
  });
}

const SIGNALS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGKILL: 9,
  SIGPIPE: 13,
  SIGTERM: 15,
};

/** Runs a program as the test user to its end. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return await outcomeOf(start(argv, options), options.input);
}

/** Hands a program that was started its input, and waits for its end. */
export async function outcomeOf(
  child: ChildProcessWithoutNullStreams,
  input: string | Uint8Array = "",
): Promise<RunResult> {
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  const code = await new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (exit, signal) => resolve(exit ?? 128 + (SIGNALS[signal ?? ""] ?? 0)));
  });
  const bytes = Buffer.concat(out);
  return { code, stdout: bytes.toString("utf8"), stderr: Buffer.concat(err).toString("utf8"), bytes };
}

/** Runs `gangway …` as the test user. */
export async function gangway(words: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return await run([GANGWAY, ...words], options);
}

/** Runs work in a fresh directory that belongs to a user. */
export async function inDirectory<T>(work: (path: string) => Promise<T>, user: TestUser = USER): Promise<T> {
  const path = mkdtempSync("/tmp/gangway-test-");
  chownSync(path, user.uid, user.gid);
  try {
    return await work(path);
  } finally {
    // A mount that was taken away just now may still be in a container that ends.
    rmSync(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

/** Asks again and again until the answer is yes. */
export async function eventually(what: string, seconds: number, ask: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  while (!(await ask())) {
    if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
