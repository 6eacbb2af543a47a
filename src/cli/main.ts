import { GangwayError, LAUNCHER_FAILED, STATUS, UsageError } from "../config/errors.ts";
import { printableLines } from "../config/printable.ts";
import { didYouMean } from "../config/suggest.ts";
import { print, ReaderGone } from "./output.ts";

/** A command of `gangway`: its module is loaded only when it is called. */
interface Entry {
  readonly summary: string;
  /** Exit status of a wrong command line (docs/internals.md, section 10); without it 125. */
  readonly usage?: number;
  /** Nobody types it. */
  readonly hidden?: true;
  load(): Promise<Module>;
}

/** What reads its words by itself, as ssh does, has `run`, which returns the exit code, and its help as a text. */
type Module =
  | { command(): import("commander").Command }
  | { readonly help: string; run(words: readonly string[]): Promise<number> };

/** All commands by name; also what `gangway completion` is made of. */
export const COMMANDS: Readonly<Record<string, Entry>> = {
  run: {
    summary: "start a job: its container on every node, an sshd in each, the command on the head",
    load: () => import("./run.ts"),
  },
  "attach-runtime": {
    summary: "start a container by Apptainer or another runtime, and let sessions in",
    load: () => import("./attach-runtime.ts"),
  },
  shell: {
    summary: "a shell or a command in a running job's container",
    usage: STATUS.usage,
    load: () => import("./shell.ts"),
  },
  key: {
    summary: "keys of your own for a running job: authorize, list, revoke",
    usage: STATUS.usage,
    load: () => import("./key.ts"),
  },
  ssh: { summary: "plain ssh into a running job's container", usage: STATUS.usage, load: () => import("./ssh.ts") },
  condor_ssh_to_job: {
    summary: "the same in HTCondor's spelling",
    usage: STATUS.usage,
    load: () => import("./condor-ssh-to-job.ts"),
  },
  inject: {
    summary: "the same sessions in any running container, which Gangway did not start",
    usage: STATUS.usage,
    load: () => import("./inject.ts"),
  },
  proxy: {
    summary: "the way to a job's sshd, for ssh's ProxyCommand",
    usage: STATUS.usage,
    load: () => import("./proxy.ts"),
  },
  shifter: { summary: "a command in an image, in Shifter's own words", usage: 1, load: () => import("./shifter.ts") },
  "ssh-config": {
    summary: "let plain ssh, scp, rsync and editors reach jobs by name",
    usage: STATUS.usage,
    load: () => import("./ssh-config.ts"),
  },
  pac: {
    summary: "a browser's proxy configuration for a session's SOCKS port",
    usage: STATUS.usage,
    load: () => import("./pac.ts"),
  },
  ps: { summary: "the jobs that are running", load: () => import("./ps.ts") },
  inspect: { summary: "everything known about a running job, as JSON", load: () => import("./inspect.ts") },
  hosts: { summary: "a job's nodes, their addresses and ports", load: () => import("./hosts.ts") },
  logs: { summary: "what a detached job has printed", load: () => import("./logs.ts") },
  wait: { summary: "wait for a detached job's end, and end as it did", load: () => import("./wait.ts") },
  stop: { summary: "end a job", load: () => import("./stop.ts") },
  gc: { summary: "remove what killed launchers left", load: () => import("./gc.ts") },
  doctor: {
    summary: "check this installation, or the ways to a job",
    usage: STATUS.usage,
    load: () => import("./doctor.ts"),
  },
  config: { summary: "the settings, and where each came from", load: () => import("./config.ts") },
  node: { summary: "a job's process on one of its hosts", hidden: true, load: () => import("./node.ts") },
  carried: { summary: "a carrier's end on a job's host", hidden: true, load: () => import("./carried.ts") },
  man: { summary: "manual pages", load: () => import("./man.ts") },
  completion: { summary: "what your shell needs to complete all this", load: () => import("./completion.ts") },
};

declare const GANGWAY_VERSION: string;

/** What the program is for, in a sentence. */
export const DESCRIPTION =
  "Starts a batch job's container on every node and puts an OpenSSH server of its own into each.";

function overview(): string {
  const shown = Object.entries(COMMANDS).filter(([, { hidden }]) => hidden === undefined);
  const width = Math.max(...shown.map(([name]) => name.length));
  const lines = shown.map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`);
  return [
    "Usage: gangway COMMAND [OPTION…]",
    "",
    DESCRIPTION,
    "",
    ...lines,
    "",
    "gangway COMMAND --help tells more. The first steps are in README.md.",
    "",
  ].join("\n");
}

/**
 * Runs one command line.
 *
 * @param words behind the program's name
 * @returns the exit code
 */
export async function main(words: readonly string[]): Promise<number> {
  const [name, ...rest] = words;
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    const entry = name === "help" && rest[0] !== undefined ? COMMANDS[rest[0]] : undefined;
    if (entry === undefined) {
      if (name !== undefined) return attempt(() => print(overview()));
      process.stderr.write(overview());
      return LAUNCHER_FAILED;
    }
    return await execute(entry, rest[0] ?? "", ["--help"]);
  }
  if (name === "--version" || name === "-V") {
    return attempt(() => print(`gangway ${GANGWAY_VERSION}\n`));
  }
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (entry === undefined) {
    const [what, hint] = name.startsWith("-")
      ? ["option", "options stand behind the command: see `gangway --help`"]
      : ["command", didYouMean(name, Object.keys(COMMANDS)) ?? "see `gangway --help`"];
    return explain(new UsageError(`there is no ${what} "${name}"`, { hint }));
  }
  return await execute(entry, name, rest);
}

async function execute(entry: Entry, name: string, words: readonly string[]): Promise<number> {
  try {
    const module = await entry.load();
    if ("run" in module) return await module.run(words);
    const parser = module.command();
    process.exitCode = 0;
    for (const each of [parser, ...parser.commands]) {
      each.exitOverride().configureOutput({ writeOut: print, writeErr: () => undefined });
    }
    await parser.parseAsync([...words], { from: "user" });
    return Number(process.exitCode);
  } catch (error) {
    return isCommanderError(error) ? explainUsage(error, name, entry.usage) : explain(error, entry.usage);
  }
}

function attempt(work: () => void): number {
  try {
    work();
    return 0;
  } catch (error) {
    return explain(error);
  }
}

/**
 * One line for what the user did or met; a stack only for our own mistakes.
 *
 * @param usage the exit status of a wrong command line that has none of its own
 */
function explain(error: unknown, usage: number = LAUNCHER_FAILED): number {
  if (error instanceof ReaderGone) return error.exitCode;
  if (error instanceof GangwayError) {
    // A signal ended it.
    if (error.message === "") return error.exitCode;
    const lines = [`gangway: ${error.message}`, ...(error.hint === undefined ? [] : [`  ${error.hint}`])];
    process.stderr.write(lines.map((line) => `${printableLines(line)}\n`).join(""));
    return error instanceof UsageError && error.exitCode === LAUNCHER_FAILED ? usage : error.exitCode;
  }
  process.stderr.write(
    `gangway: this is a mistake of gangway's own, please report it\n${printableLines(stackOf(error))}\n`,
  );
  return LAUNCHER_FAILED;
}

interface CommanderError extends Error {
  readonly code: string;
  readonly exitCode: number;
}

function isCommanderError(error: unknown): error is CommanderError {
  return (
    error instanceof Error && "code" in error && String(error.code).startsWith("commander.") && "exitCode" in error
  );
}

/** What commander says ("error: unknown option '--x'\n(Did you mean --y?)"), in the form of all our messages. */
function explainUsage(error: CommanderError, name: string, usage: number | undefined): number {
  if (error.exitCode === 0) return 0;
  const [what = "", suggestion] = error.message.replace(/^error: /, "").split("\n");
  const more = `see \`gangway ${name} --help\``;
  // The help itself was asked for by leaving something out.
  if (what.startsWith("(")) {
    return explain(new UsageError(`gangway ${name}: something is missing`, { hint: more }), usage);
  }
  const hint = suggestion === undefined ? more : suggestion.replace(/^\(D(.*)\)$/, "d$1");
  return explain(new UsageError(what.replace(/\.$/, ""), { hint }), usage);
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
