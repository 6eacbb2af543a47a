import { type CommandModel, OTHER_NAMES, type Value, withSubcommands } from "./completion-model.ts";

/** What bash's and zsh's functions have in common: look-ups in the shape of `case`, which both read alike. */

/** In single quotes, for any shell of the Bourne family. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function kindOf(value: Value): string {
  return value.kind === "choices" ? `choices ${value.words.join(" ")}` : value.kind;
}

function lookUp(name: string, key: string, cases: readonly (readonly [readonly string[], string])[]): string {
  const lines = cases.map(([keys, reply]) => `    ${keys.map(quote).join("|")}) REPLY=${quote(reply)} ;;`);
  return [`${name}() {`, "  REPLY=", `  case "${key}" in`, ...lines, "  esac", "}"].join("\n");
}

/** Functions that set REPLY: the kind of value of an option, of an operand; what a command's options and subcommands are. */
export function lookUps(commands: readonly CommandModel[]): string {
  const all = commands.flatMap(withSubcommands);
  const name = ({ path }: CommandModel) => path.join(" ");
  const values = all.flatMap((command) =>
    command.options.flatMap(({ names, value }) =>
      value === undefined ? [] : [[names.map((option) => `${name(command)} ${option}`), kindOf(value)] as const],
    ),
  );
  const operands = all.flatMap((command) =>
    command.operands.map((value, index) => {
      const more = command.variadic && index === command.operands.length - 1;
      return [[`${name(command)} ${index}`, ...(more ? [`${name(command)} more`] : [])], kindOf(value)] as const;
    }),
  );
  const flags = all.map(
    (command) => [[name(command)], command.options.flatMap(({ names }) => names).join(" ")] as const,
  );
  const below = all
    .filter(({ subcommands }) => subcommands.length > 0)
    .map((command) => [[name(command)], command.subcommands.map(({ path }) => path.at(-1)).join(" ")] as const);
  const passing = all.filter(({ passThrough }) => passThrough).map((command) => [[name(command)], "yes"] as const);
  return [
    lookUp("__gangway_value", "$1 $2", values),
    lookUp("__gangway_operand", "$1 $2", operands),
    lookUp("__gangway_flags", "$1", flags),
    lookUp("__gangway_below", "$1", below),
    lookUp("__gangway_passes", "$1", passing),
  ].join("\n");
}

/** Needs nothing of the package bash-completion. */
export function renderBash(commands: readonly CommandModel[]): string {
  const names = [...commands.map(({ path }) => path.join(" ")), "--help", "--version"].join(" ");
  return `# Made by \`gangway completion bash\`. In ~/.bashrc: source <(gangway completion bash)
${lookUps(commands)}
__gangway_offer() { # WORD KIND
  local IFS=$' \\t\\n'
  case $2 in
    choices*) COMPREPLY=($(compgen -W "\${2#choices}" -- "$1")) ;;
    jobs|nodes) COMPREPLY=($(compgen -W "$(command gangway completion --list "$2" 2>/dev/null)" -- "$1")) ;;
    users) COMPREPLY=($(compgen -u -- "$1")) ;;
    # readline's own, which knows how to quote.
    files) compopt -o default 2>/dev/null ;;
    directories) compopt -o dirnames 2>/dev/null ;;
  esac
}
_gangway() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} path=\${COMP_WORDS[1]} at=2 operands=0 behind= REPLY
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then __gangway_offer "$cur" ${quote(`choices ${names}`)}; return; fi
  __gangway_below "$path"
  if [ -n "$REPLY" ]; then
    if [ "$COMP_CWORD" -eq 2 ]; then __gangway_offer "$cur" "choices $REPLY --help"; return; fi
    path="$path \${COMP_WORDS[2]}" at=3
  fi
  # To readline --option=value is three words.
  if [ "$cur" = = ]; then cur=; elif [ "$prev" = = ]; then prev=\${COMP_WORDS[COMP_CWORD-2]}; fi
  __gangway_passes "$path"
  local passes=$REPLY
  while [ "$at" -lt "$COMP_CWORD" ]; do
    case \${COMP_WORDS[at]} in
      --) behind=yes; break ;;
      =) at=$((at + 1)) ;;
      -*)
        __gangway_value "$path" "\${COMP_WORDS[at]}"
        if [ -n "$REPLY" ] && [ "\${COMP_WORDS[at+1]}" != = ]; then at=$((at + 1)); fi ;;
      *)
        operands=$((operands + 1))
        if [ -n "$passes" ]; then behind=yes; break; fi ;;
    esac
    at=$((at + 1))
  done
  if [ -n "$behind" ]; then __gangway_offer "$cur" files; return; fi
  __gangway_value "$path" "$prev"
  if [ -n "$REPLY" ]; then __gangway_offer "$cur" "$REPLY"; return; fi
  case $cur in
    -*) __gangway_flags "$path"; __gangway_offer "$cur" "choices $REPLY" ;;
    *)
      __gangway_operand "$path" "$operands"
      [ -n "$REPLY" ] || __gangway_operand "$path" more
      __gangway_offer "$cur" "$REPLY" ;;
  esac
}
complete -F _gangway gangway
# By these names the program is the command of that name.
_gangway_named() {
  COMP_WORDS=(gangway "\${COMP_WORDS[0]##*/}" "\${COMP_WORDS[@]:1}")
  COMP_CWORD=$((COMP_CWORD + 1))
  _gangway
}
complete -F _gangway_named ${OTHER_NAMES.join(" ")}
`;
}
