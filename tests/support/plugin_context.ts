import { SILENT_LOG } from "../../core/log.ts";
import type { PluginContext } from "../../core/plugin/contract.ts";

/** What a plugin is started with, where a test cares for little of it. */
export function pluginContext(more: Partial<PluginContext> = {}): PluginContext {
  return { name: "test", log: SILENT_LOG, files: {}, endConnection: () => {}, ...more };
}
