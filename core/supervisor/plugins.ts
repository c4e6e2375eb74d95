import type { GatewayConfig, PluginConfig } from "../config/config.ts";
import type { ConfigIssue } from "../config/issues.ts";
import { resolvePermissions, type WorkerPermissions } from "../config/permissions.ts";
import type { PlanePlugin } from "../data_plane/methods.ts";
import type { PluginTraits } from "../plugin/host.ts";
import type { PluginFiles } from "../plugin/contract.ts";
import { inspectPlugin } from "./inspector.ts";
import { readPluginFiles } from "./plugin_files.ts";

/** A plugin whose section was checked, and whose grants are known. */
export interface CheckedPlugin {
  readonly name: string;
  readonly module: string;
  readonly isolation: "inline" | "worker";
  /** As its own schema gave it out, defaults filled in. */
  readonly config: unknown;
  readonly traits: PluginTraits;
  /** What stands in the files that its section names. */
  readonly files: PluginFiles;
  /** Where those files are. */
  readonly watched: readonly string[];
  /** Its declaration's, with the templates filled in. An inline plugin has the data plane's instead. */
  readonly permissions: WorkerPermissions;
}

/** What is wrong with one plugin's section, or with what it would be granted. */
export interface PluginIssues {
  readonly name: string;
  readonly issues: readonly ConfigIssue[];
}

/**
 * Checks every plugin of a config, each in a worker of its own without permissions.
 *
 * @param folder That of the config file.
 */
export async function checkPlugins(
  config: GatewayConfig,
  folder: string,
): Promise<{ readonly plugins: readonly CheckedPlugin[]; readonly faults: readonly PluginIssues[] }> {
  const checked = await Promise.all(config.plugins.map((plugin) => checkPlugin(plugin, folder)));
  return {
    plugins: checked.flatMap((one) => "config" in one ? [one] : []),
    faults: checked.flatMap((one) => "issues" in one ? [one] : []),
  };
}

async function checkPlugin(
  { name, declaration, section }: PluginConfig,
  folder: string,
): Promise<CheckedPlugin | PluginIssues> {
  const { module, isolation } = declaration;
  const inspection = await inspectPlugin(name, module, section);
  if (!inspection.ok) return { name, issues: inspection.issues };
  const { config, traits } = inspection;
  const { permissions, problems } = resolvePermissions(declaration.permissions, config);
  const { files, paths, issues } = await readPluginFiles(traits.files ?? [], folder, section);
  if (problems.length + issues.length > 0) return { name, issues: [...problems, ...issues] };
  return { name, module, isolation, config, traits, files, watched: paths, permissions };
}

/** What a data plane needs to know of a plugin. */
export function forPlane({ name, traits, isolation, module, config, files }: CheckedPlugin): PlanePlugin {
  return isolation === "inline"
    ? { name, traits, isolation, module, config, files }
    : { name, traits, isolation };
}
