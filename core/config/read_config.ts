import { messageOf } from "../errors.ts";
import { type ConfigResult, parseConfig, type ParseOptions } from "./parse_config.ts";
import { problemAt } from "./problem.ts";

/**
 * Reads and checks a config file; the only place here that touches the disk.
 *
 * @param file As the user named it, absolute or relative to the working directory.
 */
export async function readConfig(file: string, options: ParseOptions): Promise<ConfigResult> {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await Deno.readFile(file));
  } catch (error) {
    return { ok: false, problems: [problemAt({ file }, [], readFault(error))] };
  }
  return parseConfig({ text, file }, options);
}

function readFault(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "There is no such file";
  if (error instanceof Deno.errors.PermissionDenied) return "No permission to read this file";
  if (error instanceof TypeError) return "Not UTF-8 text";
  return `Can't be read: ${messageOf(error)}`;
}
