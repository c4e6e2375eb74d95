import { type CommandShape, keyOf, valueKeys, type ValueShape } from "./shape.ts";

/** A completion script for fish, 3.0 and newer. */
export function fishCompletions(program: string, shapes: readonly CommandShape[]): string {
  return `# fish completion for ${program}; made by: ${program} completions fish
function __${program}_at --description 'Whether the words so far lead to this command'
    set -l at ''
    set -l value no
    set -l words (commandline -opc)
    for word in $words[2..-1]
        if test $value = yes
            set value no
            continue
        end
        switch "$at $word"
${shapes.filter(({ path }) => path.length > 0).map(step).join("\n")}
            case ${shapes.flatMap((shape) => valueKeys(shape, () => true)).map(quote).join(" ")}
                set value yes
        end
    end
    test "$at" = "$argv[1]"
end
complete -c ${program} -f
${shapes.flatMap((shape) => completions(program, shape, shapes)).join("\n")}
`;
}

function step({ path }: CommandShape): string {
  const above = path.slice(0, -1).join(" ");
  return `            case ${quote(`${above} ${path.at(-1)}`)}\n                set at ${
    quote(path.join(" "))
  }`;
}

function completions(program: string, shape: CommandShape, shapes: readonly CommandShape[]): string[] {
  const start = `complete -c ${program} -n ${quote(`__${program}_at ${quote(keyOf(shape))}`)}`;
  const commands = shape.commands.map((word) => {
    const below = shapes.find((other) => keyOf(other) === [...shape.path, word].join(" "));
    return `${start} -a ${quote(word)} -d ${quote(below?.description ?? "")}`;
  });
  const argument = shape.argument?.kind === "choice"
    ? [`${start} -a ${quote(shape.argument.choices.join(" "))}`]
    : [];
  const options = shape.options.map(({ names, description, value }) => {
    const flags = names.map((name) => name.startsWith("--") ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`);
    return [start, ...flags, ...valueFlags(value), "-d", quote(description)].join(" ");
  });
  return [...commands, ...argument, ...options];
}

/** `-r`: a value follows; `-x`: and it is no file. */
function valueFlags(value: ValueShape | undefined): string[] {
  switch (value?.kind) {
    case undefined:
      return [];
    case "file":
      return ["-r", "-F"];
    case "choice":
      return ["-x", "-a", quote(value.choices.join(" "))];
    case "text":
      return ["-x"];
  }
}

/** Single quotes, in which a backslash stands before their own kind and itself. */
function quote(text: string): string {
  return `'${text.replaceAll(/['\\]/g, "\\$&")}'`;
}
