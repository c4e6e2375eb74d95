import { resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of the gateway's own code, which plugins import from. */
const CORE = new URL("../", import.meta.url);

/**
 * The folders that a worker must read to import a plugin: the core's and the module's own. Code and nothing else
 * belongs there; the permission ends once the module is loaded (see `sealCode`).
 */
export function codeFolders(...modules: readonly string[]): string[] {
  const folders = [CORE, ...modules.map((module) => new URL("./", module))].map((folder) =>
    fileURLToPath(folder)
  );
  return [...new Set(folders)].map((folder) => folder.replace(/\/$/, ""));
}

/**
 * Those of the code folders that a worker gives up once its module is loaded: not what it was granted to read as
 * well. Revoking a folder would end the grant of one around it, too.
 */
export function foldersToSeal(folders: readonly string[], granted: readonly string[] | boolean): string[] {
  if (typeof granted === "boolean") return granted ? [] : [...folders];
  return folders.filter((folder) => !granted.some((path) => isWithin(folder, resolve(path))));
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}
