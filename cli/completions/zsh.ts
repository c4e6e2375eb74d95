import type { CommandShape, OptionShape, ValueShape } from "./shape.ts";

/** A completion script for zsh: for a file `_postern` in a folder of `$fpath`, or to be sourced. */
export function zshCompletions(program: string, shapes: readonly CommandShape[]): string {
  return `#compdef ${program}
# zsh completion for ${program}; made by: ${program} completions zsh

${shapes.toReversed().map((shape) => functionOf(program, shape, shapes)).join("\n\n")}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _${program} "$@"
else
  compdef _${program} ${program}
fi
`;
}

function functionOf(program: string, shape: CommandShape, shapes: readonly CommandShape[]): string {
  const name = functionName(program, shape.path);
  const specs = shape.options.map(optionSpec);
  if (shape.commands.length === 0) {
    const args = shape.argument ? [`'1:${argumentAction(shape.argument)}'`] : [];
    return `${name}() {\n  _arguments -s -S ${[...specs, ...args].join(" \\\n    ")}\n}`;
  }
  const below = shape.commands.map((word) => [word, [...shape.path, word]] as const);
  const described = below.map(([word, path]) => quote(`${word}:${descriptionOf(path, shapes)}`));
  const cases = below.map(([word, path]) => `        ${word}) ${functionName(program, path)} ;;`);
  // What stands where a command could, and is none: the service of "access".
  if (shape.argument) cases.push(`        *) _arguments -S ${specs.join(" \\\n          ")} ;;`);
  return `${name}() {
  local curcontext=$curcontext state line
  typeset -A opt_args
  _arguments -C -S ${specs.join(" \\\n    ")} \\
    '1: :->command' '*:: :->rest'
  case $state in
    command)
      local -a commands=(
        ${described.join("\n        ")}
      )
      _describe command commands
      ;;
    rest)
      case $line[1] in
${cases.join("\n")}
      esac
      ;;
  esac
}`;
}

function functionName(program: string, path: readonly string[]): string {
  return ["", program, ...path].join("_");
}

function descriptionOf(path: readonly string[], shapes: readonly CommandShape[]): string {
  return shapes.find((shape) => shape.path.join(" ") === path.join(" "))?.description ?? "";
}

/** `'(-c --config)'{-c,--config}'[the config]:file:_files'`. Every option may come again: some are repeatable. */
function optionSpec({ names, description, value }: OptionShape): string {
  const text = `[${description.replaceAll(/[[\]\\]/g, "\\$&")}]${value ? `:${argumentAction(value)}` : ""}`;
  const [first = ""] = names;
  return names.length === 1 ? quote(`*${first}${text}`) : `'*'{${names.join(",")}}${quote(text)}`;
}

function argumentAction(value: ValueShape): string {
  switch (value.kind) {
    case "file":
      return "file:_files";
    case "choice":
      return `choice:(${value.choices.join(" ")})`;
    case "text":
      return `${value.name.replaceAll(":", "\\:")}: `;
  }
}

/** Single quotes, in which only their own kind has a meaning. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
