/**
 * Routes that stand in the config: by server name, by protocol, to one or several targets. See
 * `docs/plugins/static.md`.
 *
 * @module
 */
import { Dialer } from "../../core/data_plane/dial.ts";
import { definePlugin, parseHostPort, type PluginDefinition } from "../../core/plugin/mod.ts";
import { type StaticConfig, staticConfig } from "./config.ts";
import { explain } from "./explain.ts";
import type { HealthCheckTools } from "./health_check.ts";
import { StaticPlugin } from "./plugin.ts";

/** Checks dial as clients' connections do, so that both fail for the same reasons. */
function systemTools(): HealthCheckTools {
  const dialer = new Dialer();
  return {
    connect: (target, signal) => dialer.dial(parseHostPort(target), signal),
    after(ms, task) {
      const timer = setTimeout(task, ms);
      return () => clearTimeout(timer);
    },
  };
}

const definition: PluginDefinition<StaticConfig> = definePlugin({
  config: staticConfig,
  start: (config, { log }) => new StaticPlugin(config, log, systemTools()),
  terminates: ({ routes }) =>
    routes.flatMap(({ terminate, sni = [] }) => terminate ? sni.filter((name) => name !== "*") : []),
  explain,
});

export default definition;
