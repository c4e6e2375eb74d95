import type { MetricSample, PluginStatus, RouteInfo, TunnelRow } from "../../core/plugin/mod.ts";
import { printable } from "./auth/printable.ts";
import type { AuthRefusal } from "./auth/grant.ts";
import { type Counters, gauge } from "./counters.ts";
import { hostOfKey, portOfKey, udpPortOfKey } from "./names.ts";
import type { NodeTunnelState, NodeTunnelStatus } from "./nodes/node_tunnel.ts";
import { AGENT_KINDS } from "./session/agent_speech.ts";
import type { TunnelSession } from "./session/session.ts";
import type { UdpCounters } from "./udp/udp_counters.ts";
import type { Sessions } from "./session/sessions.ts";

/** What there is to tell of, in one data plane. */
export interface Reported {
  readonly sessions: Sessions;
  readonly counters: Counters;
  readonly authFailures: ReadonlyMap<AuthRefusal["reason"], number>;
  /** Agents that are not in yet. */
  readonly arrivals: number;
  /** Public connections that wait for an agent to come back. */
  readonly waiting: number;
  /** Accesses to private services that are granted. */
  readonly accesses: number;
  readonly openPorts: readonly number[];
  readonly udpPorts: readonly number[];
  readonly udpFlows: number;
  readonly udpCounters: UdpCounters;
  /** Empty where another data plane has them. */
  readonly nodeTunnels: readonly NodeTunnelStatus[];
}

/** Agents may come at any time, so it is ready as soon as it runs. */
export function statusOf(
  { sessions, arrivals, waiting, openPorts, udpPorts, udpFlows, nodeTunnels }: Reported,
): PluginStatus {
  const open = openOf(sessions);
  return {
    ready: true,
    details: {
      tunnels: open.length,
      services: open.reduce((sum, { services }) => sum + services.size, 0),
      streams: streamsOf(open),
      ports: openPorts.length,
      udpPorts: udpPorts.length,
      udpFlows,
      arriving: arrivals,
      waiting,
      ...(nodeTunnels.length > 0 && { nodeTunnels }),
    },
  };
}

export function tunnelsOf(sessions: Sessions): TunnelRow[] {
  return openOf(sessions).map((session) => session.row());
}

/** Public names and ports, and the tunnels behind each. */
export function routesOf(sessions: Sessions): RouteInfo[] {
  return [...sessions.keys()].map(([key, serving]) => {
    const [service] = serving.values();
    return {
      match: matchOf(key),
      action: `${service?.protocol} tunnel to "${service?.asked.name}"`,
      targets: [...serving.keys()].map(({ id, grant, streams, takesStreams }) => ({
        target: `${printable(grant.owner, 100)}@${id.slice(0, 8)}`,
        healthy: takesStreams,
        connections: streams,
      })),
    };
  });
}

function matchOf(key: string): string {
  const port = portOfKey(key);
  const udpPort = udpPortOfKey(key);
  return hostOfKey(key) ??
    (udpPort !== undefined ? `UDP port ${udpPort}` : port === undefined ? key : `port ${port}`);
}

export function metricsOf(
  { sessions, counters, authFailures, waiting, accesses, udpFlows, udpCounters, nodeTunnels }: Reported,
): MetricSample[] {
  const open = openOf(sessions);
  return [
    ...AGENT_KINDS.map((agent) => {
      const ofKind = open.filter(({ voice }) => voice.kind === agent);
      return gauge("tunnels_active", "Agents' connections that are open.", ofKind.length, { agent });
    }),
    gauge("tunnel_streams_active", "Public connections and requests that tunnels carry.", streamsOf(open)),
    gauge("tunnel_waiting", "Public connections that wait for an agent to come back.", waiting),
    gauge("tunnel_accesses_active", "Accesses to private services that are granted now.", accesses),
    gauge("udp_flows", "Sources that talk to udp services.", udpFlows),
    ...udpCounters.samples(),
    ...counters.samples(authFailures),
    ...nodeTunnelMetrics(nodeTunnels),
  ];
}

const STATES: readonly NodeTunnelState[] = ["connected", "connecting", "refused", "failed", "stopped"];

/** Nothing where there is none. Names come from the config. */
function nodeTunnelMetrics(tunnels: readonly NodeTunnelStatus[]): MetricSample[] {
  return tunnels.flatMap(({ name, state }) =>
    STATES.map((one): MetricSample => ({
      type: "gauge",
      name: "node_tunnel_state",
      help: "1 for the state that a tunnel to another gateway is in.",
      labels: { name, state: one },
      value: one === state ? 1 : 0,
    }))
  );
}

function openOf(sessions: Sessions): TunnelSession[] {
  return [...sessions.all()].filter(({ opened }) => opened);
}

function streamsOf(sessions: readonly TunnelSession[]): number {
  return sessions.reduce((sum, { streams }) => sum + streams, 0);
}
