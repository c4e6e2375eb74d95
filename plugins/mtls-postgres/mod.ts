/**
 * Lets clients in by their certificates, to the hosts that a PostgreSQL database says they may reach. See
 * `docs/plugins/mtls-postgres.md`.
 *
 * @module
 */
import { definePlugin, type PluginDefinition } from "../../core/plugin/mod.ts";
import { SYSTEM_CLOCK } from "./clock.ts";
import { filesOf, type MtlsConfig, mtlsConfig } from "./config.ts";
import { explain } from "./explain.ts";
import { patternOf, selfTestName } from "./names.ts";
import { openDatabase } from "./open_database.ts";
import { MtlsPlugin } from "./plugin.ts";

/** Beside the database's answer: reading a certificate takes far less. */
const MARGIN_MS = 1000;
const MIN_ROUTE_TIMEOUT_MS = 5000;

const definition: PluginDefinition<MtlsConfig> = definePlugin({
  config: mtlsConfig,
  start: (config, context) => MtlsPlugin.start(config, context, { clock: SYSTEM_CLOCK, openDatabase }),
  names: ({ domain }) => [patternOf(domain)],
  files: filesOf,
  terminates: ({ domain }) => [patternOf(domain)],
  mutualTls: ({ domain }) => [selfTestName(domain)],
  routeTimeoutMs({ database }) {
    if (database.kind === "embedded") return MIN_ROUTE_TIMEOUT_MS;
    return Math.max(MIN_ROUTE_TIMEOUT_MS, 2 * database.queryTimeoutMs + MARGIN_MS); // a connection, and a query
  },
  explain,
});

export default definition;
