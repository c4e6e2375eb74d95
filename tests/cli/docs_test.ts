import assert from "node:assert/strict";
import { EXIT } from "../../cli/exit_codes.ts";
import { everyCommand, MAY_RUN_COMMANDS } from "./run_cli.ts";

const ignore = !MAY_RUN_COMMANDS;

async function readDocs(page: string): Promise<string> {
  return await Deno.readTextFile(new URL(`../../docs/${page}`, import.meta.url));
}

/** What stands below a heading, up to the next one. */
function section(docs: string, heading: string): string {
  return docs.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? "";
}

/** The first cells of all rows of the tables in a text, without their backquotes. */
function firstCells(text: string): string[] {
  return Array.from(text.matchAll(/^\| `([^`]+)` /gm), ([, cell = ""]) => cell);
}

Deno.test({
  name: "docs/cli.md has a section for every command, with every option and no other",
  ignore,
  async fn() {
    const docs = await readDocs("cli.md");
    const headings = Array.from(docs.matchAll(/^## ([a-z]+)$/gm), ([, heading]) => heading);
    const commands = await everyCommand();
    assert.deepEqual(headings.toSorted(), commands.map((command) => command.name()));
    for (const command of commands) {
      const documented = firstCells(section(docs, command.name())).filter((cell) => cell.startsWith("-"));
      const all = [command, ...command.commands];
      const options = all.flatMap(({ options }) => options.map(({ flags }) => flags));
      assert.deepEqual(documented, options, command.name());
      for (const argument of all.flatMap(({ registeredArguments }) => registeredArguments)) {
        assert.ok(section(docs, command.name()).includes(`<${argument.name()}>`), argument.name());
      }
    }
  },
});

Deno.test({
  name: "docs/cli.md explains every exit code",
  ignore,
  async fn() {
    const [head = ""] = (await readDocs("cli.md")).split(/^## /m);
    assert.deepEqual(firstCells(head).map(Number), Object.values(EXIT));
  },
});
