import type { Command } from "commander";

/** A piece of a manual page. Texts are as they are to be read, without markup. */
export type Block =
  | { readonly kind: "paragraph"; readonly text: string }
  /** Kept line by line, such as examples. */
  | { readonly kind: "lines"; readonly lines: readonly string[] }
  /** A word to be looked up, such as an option with its argument, and what it means. */
  | { readonly kind: "entry"; readonly term: string; readonly text: string };

export interface Section {
  readonly title: string;
  readonly blocks: readonly Block[];
}

/** The manual page of one command. */
export interface Manual {
  /** `gangway-ssh-config` */
  readonly name: string;
  /** One line. */
  readonly summary: string;
  /** Command lines. */
  readonly usage: readonly string[];
  readonly sections: readonly Section[];
}

function entry(term: string, text: string): Block {
  return { kind: "entry", term, text };
}

function section(title: string, blocks: readonly Block[]): Section[] {
  return blocks.length === 0 ? [] : [{ title, blocks }];
}

function optionsOf(command: Command): Block[] {
  return command
    .createHelp()
    .visibleOptions(command)
    .filter(({ long }) => long !== "--help")
    .map(({ flags, description }) => entry(flags.replace(/[<>]/g, ""), description));
}

function argumentsOf(command: Command): Block[] {
  return command.registeredArguments
    .filter(({ description }) => description !== "")
    .map((argument) => entry(argument.name(), argument.description));
}

function usageOf(command: Command, name: string): string {
  return `${name} ${command.usage().replace(/[<>]/g, "")}`;
}

/** A command below another: its own usage, operands and options. */
function subcommand(command: Command, above: string): Section {
  return {
    title: `${above} ${command.name()}`,
    blocks: [
      { kind: "lines", lines: [usageOf(command, `${above} ${command.name()}`)] },
      { kind: "paragraph", text: command.description() },
      ...argumentsOf(command),
      ...optionsOf(command),
    ],
  };
}

/** What a command's own definition says of it. */
export function manualOf(command: Command, name: string, summary: string): Manual {
  const spoken = `gangway ${name}`;
  const usage =
    command.commands.length === 0
      ? [usageOf(command, spoken)]
      : command.commands.map((each) => usageOf(each, `${spoken} ${each.name()}`));
  return {
    name: `gangway-${name}`,
    summary,
    usage,
    sections: [
      ...section("description", [{ kind: "paragraph", text: command.description() }]),
      ...section("operands", argumentsOf(command)),
      ...section("options", optionsOf(command)),
      ...command.commands.map((each) => subcommand(each, spoken)),
    ],
  };
}

/**
 * The same of a command that reads its words by itself: of its help, whose first line is its usage. Unindented lines that
 * follow each other are a paragraph, indented ones that begin with a dash an option with its meaning behind two blanks or
 * more, which may go on below it; other indented ones stay as they are.
 */
export function manualOfHelp(help: string, name: string, summary: string): Manual {
  const [first = "", ...rest] = help.trimEnd().split("\n");
  const blocks: Block[] = [];
  let before = "";
  for (const line of rest) {
    if (line.trim() !== "") readLine(line, before.trim() !== "", blocks);
    before = line;
  }
  return {
    name: `gangway-${name}`,
    summary,
    usage: [first.replace(/^Usage: /, "")],
    sections: section("description", blocks),
  };
}

/** @param follows whether the line before it was none of blanks: then what began there may go on */
function readLine(line: string, follows: boolean, blocks: Block[]): void {
  const last = follows ? blocks.at(-1) : undefined;
  const [, option, meaning = ""] = /^ {2,}(-.*?)(?: {2,}(\S.*))?$/.exec(line) ?? [];
  if (option !== undefined) blocks.push(entry(option, meaning));
  else if (last?.kind === "entry" && /^ {4,}/.test(line)) blocks[blocks.length - 1] = extended(last, line);
  else if (line.startsWith(" ") && last?.kind === "lines") {
    blocks[blocks.length - 1] = { kind: "lines", lines: [...last.lines, line.slice(2)] };
  } else if (line.startsWith(" ")) blocks.push({ kind: "lines", lines: [line.slice(2)] });
  else if (last?.kind === "paragraph") blocks[blocks.length - 1] = extended(last, line);
  else blocks.push({ kind: "paragraph", text: line });
}

function extended<T extends { readonly text: string }>(block: T, line: string): T {
  return { ...block, text: `${block.text} ${line.trim()}`.trim() };
}
