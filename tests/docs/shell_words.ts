/**
 * The commands in a block of shell, as words. It knows what examples use: quotes, comments, lines that go on behind a
 * backslash, and what ends a command (`|`, `;`, `>`); a variable stays as it is written.
 */
export function shellCommands(block: string): string[][] {
  const lines = block.replaceAll(/\\\n/g, " ").split("\n");
  return lines.flatMap((line) => commandsOf(line.replace(/^\$ /, "")));
}

function commandsOf(line: string): string[][] {
  const commands: string[][] = [[]];
  for (
    const [token] of line.matchAll(/\s#.*$|^#.*$|[|;&]+|>+\s*\S+|(?:'[^']*'|"[^"]*"|[^\s'"|;&>#]|(?<=\S)#)+/g)
  ) {
    if (/^\s*#/.test(token)) break;
    if (/^[|;&]/.test(token)) commands.push([]);
    else if (!token.startsWith(">")) commands.at(-1)?.push(token.replaceAll(/'([^']*)'|"([^"]*)"/g, "$1$2"));
  }
  return commands.filter((words) => words.length > 0);
}

/** The words behind the program's name, if a command runs `postern`; what stands before it may set variables. */
export function posternWords(words: readonly string[]): string[] | undefined {
  const rest = [...words];
  if (rest[0] === "sudo") rest.splice(0, 3); // sudo -u postern
  while (/^\w+=/.test(rest[0] ?? "")) rest.shift();
  if (rest[0] === "postern") return rest.slice(1);
  if (rest[0] !== "deno" || rest[1] !== "task") return undefined;
  const task = rest.slice(2).filter((word, i, all) =>
    i > all.findIndex((one) => !one.startsWith("-")) || !word.startsWith("-")
  );
  if (task[0] === "postern") return task.slice(1);
  return task[0] === "gateway" || task[0] === "agent" ? task : undefined;
}
