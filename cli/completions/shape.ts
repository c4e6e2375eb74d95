import type { Command, Help } from "commander";

/** What may follow an option, or stand as a command's argument. */
export type ValueShape =
  | { readonly kind: "file" }
  | { readonly kind: "choice"; readonly choices: readonly string[] }
  | { readonly kind: "text"; readonly name: string };

/** An option of a command. */
export interface OptionShape {
  /** With their dashes, the short one first: `-c`, `--config`. */
  readonly names: readonly string[];
  readonly description: string;
  /** Absent: it takes no value. */
  readonly value?: ValueShape;
}

/** What a shell has to know of one command. */
export interface CommandShape {
  /** The words that lead to it, behind the program's name: `["token", "create"]`; none for the program itself. */
  readonly path: readonly string[];
  readonly description: string;
  readonly options: readonly OptionShape[];
  /** Its first argument. */
  readonly argument?: ValueShape;
  /** The names of the commands below it. */
  readonly commands: readonly string[];
}

/** The program and every command below it, each before its own; read from the definitions that parse the command line. */
export function commandShapes(program: Command): CommandShape[] {
  return shapesBelow(program, [], program.createHelp());
}

function shapesBelow(command: Command, path: readonly string[], help: Help): CommandShape[] {
  const [argument] = command.registeredArguments;
  const own: CommandShape = {
    path,
    description: command.description(),
    options: help.visibleOptions(command).map((option) => ({
      names: [option.short, option.long].filter((name) => name !== undefined),
      description: option.description,
      ...(option.required && { value: valueOf(option.flags, option.argChoices) }),
    })),
    ...(argument && { argument: valueOf(`<${argument.name()}>`, argument.argChoices) }),
    commands: command.commands.map((one) => one.name()),
  };
  return [own, ...command.commands.flatMap((one) => shapesBelow(one, [...path, one.name()], help))];
}

/** By what stands in angle brackets: a `<file>` is one wherever it is asked for. */
function valueOf(flags: string, choices: readonly string[] | undefined): ValueShape {
  if (choices !== undefined) return { kind: "choice", choices };
  const [, name = "value"] = /<([^>]+)>/.exec(flags) ?? [];
  return name === "file" ? { kind: "file" } : { kind: "text", name };
}

/** The key by which the scripts know a command: its words with spaces between, empty for the program. */
export function keyOf({ path }: CommandShape): string {
  return path.join(" ");
}

/** Every way to write an option of a command that takes a value, as `KEY NAME`. */
export function valueKeys(shape: CommandShape, takes: (value: ValueShape) => boolean): string[] {
  return shape.options.flatMap(({ names, value }) =>
    value !== undefined && takes(value) ? names.map((name) => `${keyOf(shape)} ${name}`) : []
  );
}
