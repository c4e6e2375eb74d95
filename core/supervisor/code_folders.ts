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
