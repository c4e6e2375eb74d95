import { codeFolders, foldersToSeal } from "./code_folders.ts";
import { ManagedWorker } from "./managed_worker.ts";
import type { CheckedPlugin } from "./plugins.ts";
import type { GatewayState, PluginUnit } from "./state.ts";
import type { Wiring } from "./wiring.ts";

/** Plans an isolated plugin's worker, which has what the plugin was granted and, until it is loaded, its code. */
export function planPluginUnit(state: GatewayState, wiring: Wiring, plugin: CheckedPlugin): PluginUnit {
  const folders = codeFolders(plugin.module);
  const granted = plugin.permissions.read;
  let used = state.prepared;
  const unit: PluginUnit = {
    hooks: { dialed: false, closed: false, adopt: false },
    worker: new ManagedWorker({
      name: `plugin:${plugin.name}`,
      entry: new URL("../plugin/worker.ts", import.meta.url),
      permissions: {
        ...plugin.permissions,
        read: granted === true ? true : [...folders, ...(Array.isArray(granted) ? granted : [])],
      },
      methods: state.logMethods(),
      times: state.times,
      setUp: async (rpc) => {
        used = state.prepared;
        unit.hooks = await rpc.call("start", {
          name: plugin.name,
          module: plugin.module,
          ...sectionOf(state, plugin),
          logLevel: state.config.log.level,
          codeFolders: foldersToSeal(folders, granted),
        });
      },
      begin: async (rpc) => {
        if (used !== state.prepared) { // a reload came between
          const { config, files } = sectionOf(state, plugin);
          await rpc.call("reload", config, files);
        }
        wiring.wireAll();
      },
      down: () => {
        for (const plane of state.planes) plane.rpc?.notify("disconnectPlugin", plugin.name);
      },
    }, state.log),
  };
  return unit;
}

/** As it is now: a reload may have changed it. */
function sectionOf(state: GatewayState, plugin: CheckedPlugin): Pick<CheckedPlugin, "config" | "files"> {
  const { config, files } = state.plugins.find(({ name }) => name === plugin.name) ?? plugin;
  return { config, files };
}
