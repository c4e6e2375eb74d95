import type { Command } from "commander";
import { runCli } from "../../cli/cli.ts";
import { granted } from "../support/permissions.ts";

/** Whether this run may read configs and inspect plugins, as the commands do. */
export const MAY_RUN_COMMANDS: boolean = granted("read", "write", "env", "run", "sys", "ffi", "net");

/** What a command printed, and how it ended. */
export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs one command line in this process: a process of its own costs half a second each.
 *
 * What it writes is caught by standing in for both outputs, so one at a time, and only for commands that end.
 */
export async function runHere(...args: readonly string[]): Promise<CliResult> {
  const stdout = catchOutput(Deno.stdout);
  const stderr = catchOutput(Deno.stderr);
  try {
    const code = await runCli(args);
    return { code, stdout: stdout.text(), stderr: stderr.text() };
  } finally {
    stdout.restore();
    stderr.restore();
  }
}

function catchOutput(output: { writeSync(data: Uint8Array): number }): { text(): string; restore(): void } {
  const { writeSync } = output;
  const decoder = new TextDecoder();
  let text = "";
  output.writeSync = (data) => {
    text += decoder.decode(data, { stream: true });
    return data.length;
  };
  return { text: () => text, restore: () => void (output.writeSync = writeSync) };
}

/** Every command, by the files of `cli/commands/`: `status.ts` exports `statusCommand`. */
export async function everyCommand(): Promise<Command[]> {
  const folder = new URL("../../cli/commands/", import.meta.url);
  const files = (await Array.fromAsync(Deno.readDir(folder), ({ name }) => name)).toSorted();
  return await Promise.all(files.map(async (file) => {
    const name = file.replace(/\.ts$/, "");
    const module: Record<string, unknown> = await import(new URL(file, folder).href);
    const make = module[`${name}Command`];
    if (typeof make !== "function") throw new Error(`cli/commands/${file} exports no ${name}Command`);
    return make() as Command;
  }));
}
