import { type CommandShape, keyOf, valueKeys } from "./shape.ts";

/**
 * A completion script for PowerShell, 5.1 and newer. Where it has nothing to say, as for the name of a file,
 * PowerShell completes files by itself.
 */
export function powershellCompletions(program: string, shapes: readonly CommandShape[]): string {
  return `# PowerShell completion for ${program}; made by: ${program} completions powershell
Register-ArgumentCompleter -Native -CommandName '${program}' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $steps = ${table(shapes.filter(({ path }) => path.length > 0).map(step))}
    $words = ${table(shapes.flatMap(wordsOf))}
    $options = ${table(shapes.map((shape) => [keyOf(shape), list(optionNames(shape))]))}
    $choices = ${table(shapes.flatMap(choicesOf))}
    $takesValue = ${list(shapes.flatMap((shape) => valueKeys(shape, () => true)))}
    $at = ''
    $option = ''
    foreach ($element in @($commandAst.CommandElements | Select-Object -Skip 1)) {
        if ($element.Extent.EndOffset -ge $cursorPosition) { break }
        $word = $element.Extent.Text
        if ($option -ne '') { $option = '' }
        elseif ($steps.ContainsKey("$at $word")) { $at = $steps["$at $word"] }
        elseif ($takesValue -ccontains "$at $word") { $option = $word }
    }
    if ($option -ne '') { $found = $choices["$at $option"] }
    elseif ($wordToComplete.StartsWith('-')) { $found = $options[$at] }
    else { $found = $words[$at] }
    $found | Where-Object { $_ -and $_.StartsWith($wordToComplete) } | ForEach-Object {
        [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
    }
}
`;
}

type Entry = readonly [key: string, value: string];

function step({ path }: CommandShape): Entry {
  return [`${path.slice(0, -1).join(" ")} ${path.at(-1)}`, quote(path.join(" "))];
}

function wordsOf(shape: CommandShape): Entry[] {
  const words = [...shape.commands, ...(shape.argument?.kind === "choice" ? shape.argument.choices : [])];
  return words.length === 0 ? [] : [[keyOf(shape), list(words)]];
}

function choicesOf(shape: CommandShape): Entry[] {
  return shape.options.flatMap(({ names, value }) =>
    value?.kind === "choice"
      ? names.map((name): Entry => [`${keyOf(shape)} ${name}`, list(value.choices)])
      : []
  );
}

function optionNames({ options }: CommandShape): string[] {
  return options.flatMap(({ names }) => names);
}

function table(entries: readonly Entry[]): string {
  return `@{\n${entries.map(([key, value]) => `        ${quote(key)} = ${value}\n`).join("")}    }`;
}

function list(words: readonly string[]): string {
  return `@(${words.map(quote).join(", ")})`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
