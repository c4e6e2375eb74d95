/**
 * Lets agents behind NAT dial out, and gives their services public addresses. See `docs/plugins/ws-agent.md`.
 *
 * @module
 */
import { definePlugin, GatewayError, type PluginDefinition } from "../../core/plugin/mod.ts";
import { createAuthenticator } from "./auth/mod.ts";
import { SYSTEM_CLOCK } from "./clock.ts";
import { filesOf, type WsAgentConfig, wsAgentConfig } from "./config.ts";
import { explain } from "./explain.ts";
import { serveHttp } from "./http/mod.ts";
import { WsAgentPlugin } from "./plugin.ts";
import { openYamux } from "./yamux/mod.ts";

/** Beside the wait for an agent that was just lost. */
const ROUTE_TIMEOUT_MS = 5000;

const definition: PluginDefinition<WsAgentConfig> = definePlugin({
  config: wsAgentConfig,
  start(config, { name, log, files, plane }) {
    if (plane === undefined) {
      throw new GatewayError(
        "plugin-failed",
        `Plugin "${name}" carries bytes itself: its isolation is inline`,
      );
    }
    return new WsAgentPlugin(config, {
      name,
      log,
      plane,
      files,
      clock: SYSTEM_CLOCK,
      authenticator: createAuthenticator(config, files, { log, clock: SYSTEM_CLOCK }),
      openYamux,
      serveHttp,
      newId: () => crypto.randomUUID(),
    });
  },
  files: filesOf,
  // Without TLS there is something in front that has the certificates.
  terminates: ({ domain, endpoint, plainEndpoint, plainHttp }) => [
    ...(plainEndpoint ? [] : [endpoint]),
    ...(plainHttp ? [] : [`*.${domain}`]),
  ],
  ports: ({ ports }) => ports,
  routeTimeoutMs: ({ reconnectGraceMs }) => reconnectGraceMs + ROUTE_TIMEOUT_MS,
  explain,
});

export default definition;
