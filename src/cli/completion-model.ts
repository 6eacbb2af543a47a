import type { Command, Option } from "commander";

/** What stands in a place of the command line, as far as a shell can help with it. */
export type Value =
  | { readonly kind: "choices"; readonly words: readonly string[] }
  /** `jobs`: ids of running jobs; `nodes`: these and JOB.NODE; `text`: nothing that could be offered. */
  | { readonly kind: "files" | "directories" | "users" | "jobs" | "nodes" | "text" };

export interface OptionModel {
  /** `-i`, `--image` */
  readonly names: readonly string[];
  readonly summary: string;
  /** Undefined: it takes none. */
  readonly value?: Value;
}

export interface CommandModel {
  /** `["key", "list"]` */
  readonly path: readonly string[];
  readonly summary: string;
  readonly options: readonly OptionModel[];
  readonly operands: readonly Value[];
  /** The last operand may come again and again. */
  readonly variadic: boolean;
  /** What follows the first operand is another program's: no options are offered there. */
  readonly passThrough: boolean;
  readonly subcommands: readonly CommandModel[];
}

/** By which the program may be called as well (scripts/entry.cjs), each for the command of that name. */
export const OTHER_NAMES = ["condor_ssh_to_job", "shifter"] as const;

const SIGNALS = "TERM INT HUP QUIT KILL USR1 USR2 STOP CONT".split(" ");
const HELP: OptionModel = { names: ["-h", "--help"], summary: "what there is to say" };

function isChoice(word: string): boolean {
  return /^[a-z]+$/.test(word);
}

/** By the word that stands for the value in the help: `FILE`, `missing|always|never`, `SOURCE:TARGET[:OPTIONS]`. */
function valueNamed(placeholder: string, choices: readonly string[] | undefined): Value {
  const words = choices ?? placeholder.split("|").filter(isChoice);
  if (words.length > 0) return { kind: "choices", words };
  if (placeholder === "SIGNAL") return { kind: "choices", words: SIGNALS };
  if (placeholder === "USER") return { kind: "users" };
  if (/^DIRECTORY\b/.test(placeholder)) return { kind: "directories" };
  return { kind: /^(FILE|PATH|SOCKET|SOURCE|FROM|\/)/.test(placeholder) ? "files" : "text" };
}

function optionOf(option: Option): OptionModel {
  const names = [option.short, option.long].filter((name) => name !== undefined);
  const placeholder = /[<[](.+)[>\]]$/.exec(option.flags)?.[1];
  const value = placeholder === undefined ? undefined : valueNamed(placeholder, option.argChoices);
  return { names, summary: option.description, ...(value === undefined ? {} : { value }) };
}

/** A job, with its nodes where the text that explains the place says so. */
function jobValue(text: string): Value {
  return { kind: /JOB(\.|\[\.)NODE/.test(text) ? "nodes" : "jobs" };
}

function operandOf(argument: Command["registeredArguments"][number], usage: string): Value {
  const name = argument.name();
  if (argument.argChoices !== undefined) return { kind: "choices", words: argument.argChoices };
  if (["job", "jobs", "host", "words"].includes(name)) return jobValue(`${usage} ${argument.description}`);
  return { kind: name === "file" || name === "command" ? "files" : "text" };
}

/** What a command's own definition says of it. */
export function modelOf(command: Command, path: readonly string[], summary: string): CommandModel {
  const help = command.createHelp();
  const usage = command.usage();
  const operands = command.registeredArguments.map((argument) => operandOf(argument, usage));
  const variadic = command.registeredArguments.at(-1)?.variadic === true;
  return {
    path,
    summary,
    options: [
      ...help
        .visibleOptions(command)
        .filter(({ long }) => long !== "--help")
        .map(optionOf),
      HELP,
    ],
    operands,
    variadic,
    passThrough: variadic && command.registeredArguments.at(-1)?.name() === "command",
    subcommands: command.commands.map((each) => modelOf(each, [...path, each.name()], each.description())),
  };
}

/**
 * The same of a command that reads its words by itself, as ssh does: by its help, whose first line is its usage. HTCondor's
 * long options have one dash.
 */
export function modelOfHelp(help: string, path: readonly string[], summary: string): CommandModel {
  const options = [
    ...help.matchAll(/^ {2}(?:(-\w), | {4})?(--?[A-Za-z][a-z-]*)(?:\[[=:]\S+\]| (\S+))? {2,}(\S.*)$/gm),
  ].map(([, short, long = "", placeholder, text = ""]): OptionModel => {
    // "socket, tcp or ssh; without it …"
    const words = text.split(";")[0]?.split(/, | or /) ?? [];
    const choices = words.length > 1 && words.every(isChoice) ? words : undefined;
    const value = placeholder === undefined ? undefined : valueNamed(placeholder, choices);
    const names = [...(short === undefined ? [] : [short]), long];
    return { names, summary: text, ...(value === undefined ? {} : { value }) };
  });
  const ofJob = /\b(?:JOB|CLUSTER)\b/.test(help.split("\n", 1)[0] ?? "");
  return {
    path,
    summary,
    options,
    operands: [...(ofJob ? [jobValue(help)] : []), { kind: "files" }],
    variadic: true,
    passThrough: true,
    subcommands: [],
  };
}

/** A command and all below it. */
export function withSubcommands(command: CommandModel): readonly CommandModel[] {
  return [command, ...command.subcommands.flatMap(withSubcommands)];
}
