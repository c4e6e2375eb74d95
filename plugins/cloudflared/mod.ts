/**
 * Tunnels of Cloudflare Access, started when a client asks for their name. See `docs/plugins/cloudflared.md`.
 *
 * @module
 */
import { definePlugin, type PluginDefinition } from "../../core/plugin/mod.ts";
import { type CloudflaredConfig, cloudflaredConfig } from "./config.ts";
import { explain } from "./explain.ts";
import { CloudflaredPlugin } from "./plugin.ts";
import { systemTools } from "./tools.ts";

/** A program that does not listen in time is the plugin's to tell, so the gateway waits a little longer. */
const AFTER_STARTUP_MS = 1000;

const definition: PluginDefinition<CloudflaredConfig> = definePlugin({
  config: cloudflaredConfig,
  start: (config, { log }) => new CloudflaredPlugin(config, log, systemTools()),
  names: ({ names }) => names,
  routeTimeoutMs: ({ startupTimeoutMs }) => startupTimeoutMs + AFTER_STARTUP_MS,
  explain,
});

export default definition;
