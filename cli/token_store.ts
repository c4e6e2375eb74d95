import { dirname } from "node:path";
import { messageOf } from "../core/errors.ts";
import { formatProblem } from "../core/config/problem.ts";
import { readTokenFile, type TokenEntry } from "../plugins/ws-agent/auth/token_file.ts";
import { CommandError } from "./command_error.ts";
import { EXIT } from "./exit_codes.ts";
import { lockFolderOf, readIfThere, writePrivateFile } from "./private_file.ts";

/** A token file as it is: its text, and what the gateway makes of it. */
export interface StoredTokens {
  /** `undefined`: there is no such file. */
  readonly text: string | undefined;
  readonly entries: readonly TokenEntry[];
}

/** @throws {CommandError} It can't be read, or something in it is wrong. */
export async function readTokens(file: string): Promise<StoredTokens> {
  const text = await accessing(file, () => readIfThere(file));
  return { text, entries: text === undefined ? [] : entriesOf(text, file) };
}

/**
 * Changes a token file, while nobody else does.
 *
 * @param edit Gives the new text; `undefined`: nothing is to be changed.
 * @throws {CommandError} As {@link readTokens}, or it can't be written.
 */
export async function changeTokens(
  file: string,
  edit: (stored: StoredTokens) => string | undefined,
): Promise<void> {
  using _lock = await lockTokens(file);
  const text = edit(await readTokens(file));
  if (text !== undefined) await writeTokens(file, text);
}

/** Keeps others from changing a token file until the end of the scope. */
export async function lockTokens(file: string): Promise<Disposable> {
  return await accessing(file, () => lockFolderOf(file));
}

/** Writes what the gateway would take, and nothing else; for who holds the lock. */
export async function writeTokens(file: string, text: string): Promise<void> {
  entriesOf(text, file);
  await accessing(file, () => writePrivateFile(file, text));
}

function entriesOf(text: string, file: string): readonly TokenEntry[] {
  const result = readTokenFile(text, file);
  if (result.ok) return result.entries;
  throw new CommandError(result.problems.map(formatProblem).join("\n"), EXIT.wrongUsage);
}

async function accessing<T>(file: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof CommandError) throw error;
    if (error instanceof Deno.errors.NotFound) {
      throw new CommandError(
        `There is no folder "${dirname(file)}" for "${file}"; make it first`,
        EXIT.wrongUsage,
      );
    }
    throw new CommandError(`Cannot use "${file}": ${messageOf(error)}`, EXIT.couldNotStart, { cause: error });
  }
}
