import { type CommandModel, type OptionModel, OTHER_NAMES, type Value, withSubcommands } from "./completion-model.ts";

function quote(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}

/** What `complete` is told of a value: -x is no file names and required. */
function wordsFor(value: Value): string {
  switch (value.kind) {
    case "choices":
      return `-x -a ${quote(value.words.join(" "))}`;
    case "jobs":
    case "nodes":
      return `-x -a '(command gangway completion --list ${value.kind} 2>/dev/null)'`;
    case "users":
      return "-x -a '(__fish_complete_users)'";
    case "directories":
      return "-x -a '(__fish_complete_directories)'";
    case "files":
      return "-r -F";
    case "text":
      return "-x";
  }
}

function optionLine(at: string, { names, summary, value }: OptionModel): string {
  const words = names.map((name) => {
    if (name.startsWith("--")) return `-l ${name.slice(2)}`;
    // Of one letter, or long as in older programs.
    return `${name.length === 2 ? "-s" : "-o"} ${name.slice(1)}`;
  });
  const given = value === undefined ? "" : ` ${wordsFor(value)}`;
  return `complete -c gangway -n ${at} ${words.join(" ")}${given} -d ${quote(summary)}`;
}

function commandLines(command: CommandModel): string[] {
  const route = command.path.join(" ");
  const at = quote(`__gangway_at ${route}`);
  const first = command.operands[0];
  const help = first === undefined || first.kind === "text" ? "-f" : wordsFor(first).replace("-r ", "");
  const below = command.subcommands.map(
    ({ path, summary }) =>
      `complete -c gangway -n ${quote(`__gangway_only ${route}`)} -f -a ${quote(path.at(-1) ?? "")} -d ${quote(summary)}`,
  );
  const only = command.passThrough && first?.kind !== "files" ? quote(`__gangway_only ${route}`) : at;
  return [
    ...below,
    ...(command.subcommands.length > 0 ? [] : [`complete -c gangway -n ${only} ${help}`]),
    ...command.options.map((option) => optionLine(at, option)),
  ];
}

/** For ~/.config/fish/completions/gangway.fish, or to be sourced. */
export function renderFish(commands: readonly CommandModel[]): string {
  const names = commands.map(
    ({ path, summary }) => `complete -c gangway -n __gangway_only -f -a ${quote(path.join(" "))} -d ${quote(summary)}`,
  );
  return `# Made by \`gangway completion fish\`. In ~/.config/fish/config.fish: gangway completion fish | source
complete -c gangway -e
# Whether these commands are called, and no other program's words begin.
function __gangway_at
    set -l words (commandline -opc)
    set -e words[1]
    contains -- -- $words; and return 1
    for name in $argv
        test "$words[1]" = "$name"; or return 1
        set -e words[1]
    end
    return 0
end
# The same, and no word but options follows.
function __gangway_only
    __gangway_at $argv; or return 1
    set -l words (commandline -opc)
    set -e words[1]
    for name in $argv
        set -e words[1]
    end
    for word in $words
        string match -q -- '-*' $word; or return 1
    end
    return 0
end
complete -c gangway -n __gangway_only -s h -l help -d 'what there is to say'
complete -c gangway -n __gangway_only -s V -l version -d 'the version'
${[...names, ...commands.flatMap(withSubcommands).flatMap(commandLines)].join("\n")}
# By these names the program is the command of that name.
${OTHER_NAMES.map((name) => `complete -c ${name} -w ${quote(`gangway ${name}`)}`).join("\n")}
`;
}
