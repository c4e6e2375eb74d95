import type { NumberSample, PluginStatus, RouteInfo } from "../../core/plugin/mod.ts";
import type { CloudflaredConfig } from "./config.ts";
import { describeFailure } from "./failure.ts";
import type { Naming } from "./names.ts";
import type { Tunnel } from "./tunnel.ts";
import type { Tunnels } from "./tunnels.ts";

/** So many tunnels are told of one by one, those with the most to tell first. */
const MAX_TOLD = 200;

const ORDER = ["ready", "starting", "restarting", "failed", "stopped"] as const;

/** One entry of `details.processes`. */
export interface ProcessReport {
  readonly serverName: string;
  readonly hostname: string;
  readonly state: string;
  readonly references: number;
  /** Since the program was started. */
  readonly ageSeconds?: number;
  readonly restarts: number;
  readonly pid?: number;
  readonly port?: number;
  readonly lastFailure?: string;
}

export function statusOf(tunnels: Tunnels): PluginStatus {
  const { all, programFailure } = tunnels;
  const failed = all.filter(({ state }) => state === "failed");
  const reason = programFailure
    ? describeFailure(programFailure)
    : failed.length > 0
    ? `${failed.length} of ${all.length} tunnels failed`
    : undefined;
  const now = tunnels.tools.now();
  return {
    // Without the program nothing works at all; the failure of one tunnel concerns that one.
    ready: programFailure === undefined,
    ...(reason !== undefined && { reason }),
    details: {
      processes: told(all).map((tunnel) => processReport(tunnel, now)),
      tunnels: all.length,
      stopping: count(tunnels, "stopping"),
    },
  };
}

export function routesOf(
  { names, hostname }: CloudflaredConfig,
  naming: Naming,
  tunnels: Tunnels,
): RouteInfo[] {
  const targets = Map.groupBy(told(tunnels.all), ({ serverName }) => naming.patternFor(serverName));
  return names.map((match) => ({
    match,
    action: `cloudflared access tcp, host name ${hostname}`,
    targets: (targets.get(match) ?? []).map((tunnel) => ({
      target: tunnel.hostname,
      healthy: tunnel.state !== "failed",
      connections: tunnel.references,
    })),
  }));
}

export function metricsOf(tunnels: Tunnels): NumberSample[] {
  const processes = (["starting", "ready", "stopping"] as const).map((state) =>
    gauge("cloudflared_processes", "Processes of the program.", { state }, count(tunnels, state))
  );
  const references = tunnels.all.reduce((sum, { references }) => sum + references, 0);
  return [
    ...processes,
    gauge("cloudflared_references", "Open connections through tunnels.", {}, references),
    ...tunnels.counters.samples(),
  ];
}

function processReport(tunnel: Tunnel, now: number): ProcessReport {
  const { serverName, hostname, state, references, restarts, session, lastFailure } = tunnel;
  return {
    serverName,
    hostname,
    state,
    references,
    restarts,
    ...(session && {
      pid: session.pid,
      port: session.port,
      ageSeconds: Math.floor((now - session.startedAt) / 1000),
    }),
    ...(lastFailure && { lastFailure: describeFailure(lastFailure) }),
  };
}

function told(all: readonly Tunnel[]): Tunnel[] {
  return all.toSorted((a, b) =>
    ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || b.references - a.references
  )
    .slice(0, MAX_TOLD);
}

function count({ sessions }: Tunnels, state: string): number {
  return [...sessions].filter((session) => session.state === state).length;
}

function gauge(name: string, help: string, labels: Record<string, string>, value: number): NumberSample {
  return { name, help, type: "gauge", labels, value };
}
