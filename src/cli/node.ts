import { UsageError } from "../config/errors.ts";
import type { NodeSurroundings } from "../job/node-agent.ts";
import { runNodeProcess } from "../job/node-process.ts";
import type { HostSettings } from "../job/node-protocol.ts";
import type { Reporter } from "../job/reporter.ts";
import { OWN_VIEW, RuntimeEngine } from "../job/runtime-engine.ts";
import type { JobSpec } from "../job/spec.ts";
import { isAddress } from "../udi/names.ts";
import { configure, connectWithinStep, hostPart, ownerOf } from "./context.ts";
import { print } from "./output.ts";

declare const GANGWAY_VERSION: string;

/** All of them are needed, each with a value. */
const OPTIONS = {
  "--protocol": "NUMBER       of what is said to the launcher",
  "--gangway": "VERSION       the launcher's",
  "--job": "ID                so that a person sees which it is",
  "--uid": "UID               whose job it is",
  "--meet": "ADDRESSES        the launcher's",
  "--port": "PORT             the launcher's",
  "--key": "FINGERPRINT       of the launcher's key",
  "--silence": "MS            after which the other side is taken for dead",
} as const;

type Option = keyof typeof OPTIONS;

export const help = `Usage: gangway node OPTION…

A job's process on one of its hosts; started by a launcher, not by hand.

Options:
${Object.entries(OPTIONS)
  .map(([name, text]) => `  ${name} ${text}\n`)
  .join("")}`;

/** What a launcher starts on each host of a job. Not commander's: it is part of every launch. */
export async function run(words: readonly string[]): Promise<number> {
  if (words.includes("--help") || words.includes("-h")) {
    print(help);
    return 0;
  }
  const value = valuesOf(words);
  const meet = value("--meet");
  const addresses = meet.split(",");
  if (!addresses.every(isAddress)) throw new UsageError(`--meet ${meet}: not a list of addresses`);
  const key = value("--key");
  if (!/^[\w-]{43}$/.test(key)) throw new UsageError(`--key ${key}: not a fingerprint`);
  const number = (flag: Option) => numberOf(flag, value(flag));
  return await runNodeProcess(
    {
      protocol: number("--protocol"),
      launcherVersion: value("--gangway"),
      version: GANGWAY_VERSION,
      uid: number("--uid"),
      addresses,
      port: number("--port"),
      key,
      silenceMs: number("--silence"),
    },
    surroundings,
  );
}

function valuesOf(words: readonly string[]): (flag: Option) => string {
  const values = new Map<string, string>();
  for (let index = 0; index < words.length; index += 2) {
    const [name = "", value] = words.slice(index, index + 2);
    if (!Object.hasOwn(OPTIONS, name)) throw new UsageError(`gangway node has no option ${name}`, HINT);
    if (value === undefined) throw new UsageError(`gangway node: ${name} needs a value`, HINT);
    values.set(name, value);
  }
  return (flag) => {
    const value = values.get(flag);
    if (value === undefined) throw new UsageError(`gangway node: ${flag} is missing`, HINT);
    return value;
  };
}

const HINT = { hint: "a launcher starts it, of the same version" };

function numberOf(flag: string, text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new UsageError(`${flag} ${text}: not a whole number`);
  return Number(text);
}

/** This host, by its own configuration and what the user asked for. */
async function surroundings(settings: HostSettings, spec: JobSpec, reporter: Reporter): Promise<NodeSurroundings> {
  const config = await configure({}, settings);
  const owner = ownerOf(undefined);
  const note = (text: string) => reporter.note(text);
  if (spec.runtime !== undefined) {
    const part = hostPart({ config, owner, job: spec.id, nodes: 1, note });
    return { engine: new RuntimeEngine(spec.runtime, "piped"), view: OWN_VIEW, ...part, cacheDirectory: undefined };
  }
  const { engine, view, part } = await connectWithinStep({ config, owner, job: spec.id, nodes: 1, note });
  return { engine, view, ...part };
}
