import type { NumberSample, PluginStatus, RouteInfo } from "../../core/plugin/mod.ts";
import type { AccessSource } from "./access_source.ts";
import type { MtlsConfig } from "./config.ts";
import { counter, type Counters, gauge } from "./counters.ts";
import { patternOf } from "./names.ts";
import type { Policy } from "./policy.ts";

/** How many connections were let in and are there. */
interface Open {
  readonly size: number;
}

/** Ready is who can let somebody in: without a database that is nobody. */
export function statusOf({ config, trust }: Policy, source: AccessSource, open: Open): PluginStatus {
  const { state } = source.database;
  return {
    ready: state.up,
    ...(state.up ? {} : { reason: `The database is down, so nobody gets in: ${state.reason}` }),
    details: {
      database: {
        up: state.up,
        kind: config.database.kind,
        ...(config.database.kind === "postgres" && { address: config.database.addresses[0] }),
        ...(state.up && { listening: state.listening }),
        queries: source.queries,
      },
      cache: { hits: source.hits, misses: source.misses },
      openConnections: open.size,
      cas: trust.cas(),
      crls: trust.crls(),
    },
  };
}

export function routesOf({ domain, proxyProtocol, targetTls }: MtlsConfig): RouteInfo[] {
  const header = proxyProtocol === "off" ? "" : `, PROXY header ${proxyProtocol}`;
  const tls = targetTls ? " over TLS" : "";
  return [{
    match: patternOf(domain),
    action: `client certificate, then the host of the database${tls}${header}`,
  }];
}

export function metricsOf(counters: Counters, source: AccessSource, open: Open): NumberSample[] {
  return [
    ...counters.samples(),
    gauge("mtls_database_up", "1 while the database answers.", source.database.state.up ? 1 : 0),
    gauge("mtls_open_connections", "Connections that were let in and are open.", open.size),
    counter("mtls_queries_total", "Questions sent to the database.", {}, source.queries),
    counter("mtls_cache_hits_total", "Decisions without a query of their own.", {}, source.hits),
    counter("mtls_cache_misses_total", "Decisions that needed a query.", {}, source.misses),
  ];
}
