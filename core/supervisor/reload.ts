import { isDeepStrictEqual } from "node:util";
import { diffConfig } from "../config/diff.ts";
import type { CheckedPlugin } from "./plugins.ts";
import type { Prepared } from "./supervisor.ts";

/** What a reload puts in place, and what it must leave. */
export interface ReloadPlan {
  readonly prepared: Prepared;
  /** What needs a restart, in words of the config. */
  readonly needRestart: readonly string[];
}

/**
 * Takes from a new config what can change while the gateway runs. Sockets, the set of plugins and what a plugin was
 * granted stay as they were: a running worker gets no wider permissions. Pure.
 */
export function planReload(old: Prepared, next: Prepared): ReloadPlan {
  const diff = diffConfig(old.config, next.config);
  const kept: string[] = [];
  const plugins = old.plugins.map((plugin): CheckedPlugin => {
    const fresh = next.plugins.find(({ name }) => name === plugin.name);
    if (!fresh || diff.pluginSetChanged) return plugin;
    if (isDeepStrictEqual(plugin.permissions, fresh.permissions)) return fresh;
    kept.push(`plugins.${plugin.name} (other permissions)`);
    return plugin;
  });
  const { listeners, log, admin } = old.config;
  return {
    prepared: {
      plugins,
      config: {
        ...next.config,
        listeners: diff.listenersChanged ? listeners : next.config.listeners,
        admin: diff.adminAddressChanged ? admin : next.config.admin,
        log,
        plugins: diff.pluginSetChanged ? old.config.plugins : next.config.plugins,
      },
    },
    needRestart: [...diff.needsRestart, ...kept],
  };
}
