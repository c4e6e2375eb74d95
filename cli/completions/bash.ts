import { type CommandShape, keyOf, valueKeys } from "./shape.ts";

/**
 * A completion script for bash, 3.2 and newer: no more of it than what macOS has.
 *
 * It goes through the words before the cursor, to know the command that they lead to and whether the last one is an
 * option that waits for its value. bash makes a word of its own of the `=` in `--option=value`.
 */
export function bashCompletions(program: string, shapes: readonly CommandShape[]): string {
  return `# bash completion for ${program}; made by: ${program} completions bash
_${program}() {
  local current=\${COMP_WORDS[COMP_CWORD]} at="" option="" words="" files="" word
  local -i i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ -n $option ]]; then
      [[ $word == "=" ]] || option=""
      continue
    fi
    case "$at $word" in
${shapes.filter(({ path }) => path.length > 0).map(step).join("\n")}
${arm(shapes.flatMap((shape) => valueKeys(shape, () => true)), "option=$word")}
    esac
  done
  [[ $current != "=" ]] || current=""
  if [[ -n $option ]]; then
    case "$at $option" in
${arm(shapes.flatMap((shape) => valueKeys(shape, ({ kind }) => kind === "file")), "files=yes")}
${shapes.flatMap(choiceArms).join("\n")}
    esac
  elif [[ $current == -* ]]; then
    case "$at" in
${shapes.map((shape) => `      ${quote(keyOf(shape))}) words=${quote(optionNames(shape))} ;;`).join("\n")}
    esac
  else
    case "$at" in
${shapes.flatMap(wordArm).join("\n")}
    esac
  fi
  COMPREPLY=()
  while IFS= read -r word; do
    COMPREPLY+=("$word")
  done < <(if [[ -n $files ]]; then compgen -f -- "$current"; else compgen -W "$words" -- "$current"; fi)
  [[ -z $files ]] || compopt -o filenames 2>/dev/null || true
}
complete -F _${program} ${program}
`;
}

/** From the command above to this one. */
function step({ path }: CommandShape): string {
  const above = path.slice(0, -1).join(" ");
  return `      ${quote(`${above} ${path.at(-1)}`)}) at=${quote(path.join(" "))} ;;`;
}

function arm(patterns: readonly string[], then: string): string {
  return `      ${patterns.map(quote).join(" | ")}) ${then} ;;`;
}

function choiceArms(shape: CommandShape): string[] {
  return shape.options.flatMap(({ names, value }) =>
    value?.kind === "choice"
      ? [arm(names.map((name) => `${keyOf(shape)} ${name}`), `words=${quote(value.choices.join(" "))}`)]
      : []
  );
}

function wordArm(shape: CommandShape): string[] {
  const words = [...shape.commands, ...(shape.argument?.kind === "choice" ? shape.argument.choices : [])];
  return words.length === 0 ? [] : [`      ${quote(keyOf(shape))}) words=${quote(words.join(" "))} ;;`];
}

function optionNames({ options }: CommandShape): string {
  return options.flatMap(({ names }) => names).join(" ");
}

/** Names of commands and options hold nothing that a shell would look at within double quotes. */
function quote(text: string): string {
  return `"${text}"`;
}
