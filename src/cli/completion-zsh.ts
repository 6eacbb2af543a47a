import { lookUps, quote } from "./completion-bash.ts";
import { type CommandModel, OTHER_NAMES, withSubcommands } from "./completion-model.ts";

/** A line of a description: one sentence is enough, and a colon would end the word that it describes. */
function described(word: string, summary: string): string {
  return quote(`${word.replaceAll(":", "\\:")}:${summary}`);
}

/** Both to be sourced and to lie in a directory of fpath under the name _gangway. */
export function renderZsh(commands: readonly CommandModel[]): string {
  const all = commands.flatMap(withSubcommands);
  const options = all.map((command) => {
    const words = command.options.flatMap(({ names, summary }) => names.map((name) => described(name, summary)));
    return `    ${quote(command.path.join(" "))}) reply=(${words.join(" ")}) ;;`;
  });
  const below = all
    .filter(({ subcommands }) => subcommands.length > 0)
    .map(({ path, subcommands }) => {
      const words = subcommands.map((each) => described(each.path.at(-1) ?? "", each.summary));
      return `    ${quote(path.join(" "))}) reply=(${words.join(" ")}) ;;`;
    });
  const names = commands.map(({ path, summary }) => described(path.join(" "), summary));
  return `#compdef gangway ${OTHER_NAMES.join(" ")}
# Made by \`gangway completion zsh\`. In ~/.zshrc, behind compinit: source <(gangway completion zsh)
${lookUps(commands)}
__gangway_described() {
  reply=()
  case "$1" in
    '') reply=(${names.join(" ")}) ;;
${below.join("\n")}
  esac
}
__gangway_options() {
  reply=()
  case "$1" in
${options.join("\n")}
  esac
}
__gangway_offer() { # KIND
  case $1 in
    choices*) compadd -- \${=1#choices} ;;
    jobs|nodes) compadd -- \${(f)"$(command gangway completion --list "$1" 2>/dev/null)"} ;;
    users) _users ;;
    files) _files ;;
    directories) _files -/ ;;
    *) _message 'nothing to offer here' ;;
  esac
}
_gangway() {
  # By another name the program is the command of that name.
  if [[ \${words[1]:t} == (${OTHER_NAMES.join("|")}) ]]; then words=(gangway "\${words[1]:t}" "\${(@)words[2,-1]}"); (( CURRENT += 1 )); fi
  local cur=\${words[CURRENT]} prev=\${words[CURRENT-1]} route=\${words[2]} passes REPLY
  local -i at=3 operands=0 behind=0
  local -a reply
  if (( CURRENT == 2 )); then __gangway_described ''; _describe command reply; return; fi
  __gangway_described "$route"
  if (( $#reply )); then
    if (( CURRENT == 3 )); then _describe command reply; return; fi
    route="$route \${words[3]}" at=4
  fi
  __gangway_passes "$route"; passes=$REPLY
  while (( at < CURRENT )); do
    case \${words[at]} in
      --) behind=1; break ;;
      -*) __gangway_value "$route" "\${words[at]}"; if [[ -n $REPLY ]]; then at+=1; fi ;;
      *) operands+=1; if [[ -n $passes ]]; then behind=1; break; fi ;;
    esac
    at+=1
  done
  if (( behind )); then _files; return; fi
  if [[ $cur == --*=* ]]; then prev=\${cur%%=*}; compset -P '*='; fi
  __gangway_value "$route" "$prev"
  if [[ -n $REPLY ]]; then __gangway_offer "$REPLY"; return; fi
  if [[ $cur == -* ]]; then __gangway_options "$route"; _describe -o option reply; return; fi
  __gangway_operand "$route" "$operands"
  [[ -n $REPLY ]] || __gangway_operand "$route" more
  __gangway_offer "$REPLY"
}
if [[ $funcstack[1] = _gangway ]]; then
  _gangway "$@"
else
  (( $+functions[compdef] )) || { autoload -Uz compinit && compinit -D }
  compdef _gangway gangway ${OTHER_NAMES.join(" ")}
fi
`;
}
