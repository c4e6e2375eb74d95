import { isAbsolute, join } from "node:path";
import type { ConfigIssue } from "../config/issues.ts";
import type { ConfigPath } from "../config/path.ts";
import { messageOf } from "../errors.ts";
import type { PluginFiles } from "../plugin/contract.ts";

/** Certificates, revocation lists and tokens are smaller; what is handed to workers must be bounded. */
const MAX_FILE_BYTES = 2 ** 20;

/** What stands in the files that a plugin's section names, or why it cannot be had. */
export interface ReadFiles {
  readonly files: PluginFiles;
  /** Where they are, to be watched. */
  readonly paths: readonly string[];
  readonly issues: readonly ConfigIssue[];
}

/**
 * Reads files for a plugin, which then needs no permission to do so itself.
 *
 * @param names As written in the config.
 * @param folder That of the config file.
 * @param section The plugin's, as written: where in it a file is named is where what is wrong with it is told.
 */
export async function readPluginFiles(
  names: readonly string[],
  folder: string,
  section: unknown,
): Promise<ReadFiles> {
  const unique = [...new Set(names)];
  const paths = unique.map((name) => isAbsolute(name) ? name : join(folder, name));
  const read = await Promise.all(paths.map(readText));
  return {
    files: Object.fromEntries(unique.map((name, i) => [name, read[i]?.text ?? ""])),
    paths,
    issues: read.flatMap(({ fault }, i) =>
      fault === undefined
        ? []
        : [{ path: pathOf(section, unique[i]) ?? [], message: `${JSON.stringify(unique[i])}: ${fault}` }]
    ),
  };
}

/** Where a text stands first; `undefined`: nowhere, as one that a default has named. */
function pathOf(value: unknown, text: unknown): ConfigPath | undefined {
  if (value === text) return [];
  if (typeof value !== "object" || value === null) return undefined;
  for (const [key, inner] of Object.entries(value)) {
    const path = pathOf(inner, text);
    if (path !== undefined) return [Array.isArray(value) ? Number(key) : key, ...path];
  }
  return undefined;
}

async function readText(path: string): Promise<{ readonly text?: string; readonly fault?: string }> {
  try {
    const { size, isFile } = await Deno.stat(path); // first, or a pipe would be waited for, and a disk read whole
    if (!isFile) return { fault: "It is not a file" };
    if (size > MAX_FILE_BYTES) return { fault: `It has ${size} bytes; at most ${MAX_FILE_BYTES} are read` };
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(await Deno.readFile(path)) };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return { fault: "There is no such file" };
    if (error instanceof Deno.errors.PermissionDenied) return { fault: "No permission to read this file" };
    if (error instanceof TypeError) return { fault: "Not UTF-8 text" };
    return { fault: `It can't be read: ${messageOf(error)}` };
  }
}
