import { Argument, Command } from "commander";
import { bashCompletions } from "../completions/bash.ts";
import { fishCompletions } from "../completions/fish.ts";
import { powershellCompletions } from "../completions/powershell.ts";
import { type CommandShape, commandShapes } from "../completions/shape.ts";
import { zshCompletions } from "../completions/zsh.ts";
import { print } from "../print.ts";

const SHELLS = {
  bash: bashCompletions,
  zsh: zshCompletions,
  fish: fishCompletions,
  powershell: powershellCompletions,
} as const satisfies Record<string, (program: string, shapes: readonly CommandShape[]) => string>;

/** `postern completions SHELL`: a script that completes commands, options and their values. */
export function completionsCommand(): Command {
  const command = new Command("completions")
    .description("prints a script by which a shell completes this command line")
    .addArgument(new Argument("<shell>", "the shell").choices(Object.keys(SHELLS)))
    .addHelpText(
      "after",
      "\nExamples:" +
        "\n  deno task postern completions bash > ~/.local/share/bash-completion/completions/postern" +
        "\n  postern completions zsh > ~/.zfunc/_postern    (a folder of $fpath)" +
        "\n  postern completions fish > ~/.config/fish/completions/postern.fish" +
        "\n  postern completions powershell >> $PROFILE" +
        "\n\nThey complete a program that is called postern.",
    );
  return command.action((shell: keyof typeof SHELLS) => {
    const program = command.parent ?? command;
    print(SHELLS[shell](program.name(), commandShapes(program)));
  });
}
