import type { GatewayAddress } from "../agent/gateway_address.ts";
import type { Target } from "../agent/target.ts";

/** A port of another gateway that leads to a place beside this one. */
export interface NodeTunnel {
  /** Unique among the tunnels of this node; what the far gateway knows the service by. */
  readonly name: string;
  /** The far gateway's endpoint for agents. */
  readonly to: GatewayAddress;
  readonly ports: {
    /** Where connections go: a port of this machine, or another place that it reaches. */
    readonly local: Target;
    /** The port that the far gateway opens, one that its policy allows; 0: it assigns one. */
    readonly remote: number;
  };
  /** What is shown to the far gateway. */
  readonly token: string;
  /** CAs that its certificate may lead to beside those of the runtime, PEM. */
  readonly ca?: string | undefined;
}

/**
 * How a node tunnel is. `stopped`: not wanted now. `connecting`: on its way, or between two attempts. `refused`: connected, and
 * the far gateway does not give the port; it is asked again. `failed`: trying again makes no sense.
 */
export type NodeTunnelState = "stopped" | "connecting" | "connected" | "refused" | "failed";

/** A node tunnel, as it is right now. Plain data. */
export interface NodeTunnelStatus {
  readonly name: string;
  /** This node, and the far gateway's endpoint. */
  readonly from: string;
  readonly to: string;
  readonly local: string;
  /** As the far gateway has opened it; before that, as it is asked for. */
  readonly remotePort: number;
  readonly state: NodeTunnelState;
  /** Why it is not connected. It comes from the far side: fit to be shown, and not to be acted on. */
  readonly reason?: string;
  /** The round trip to the far gateway, in milliseconds; absent while there is none. */
  readonly latencyMs?: number;
  /** Connections that are open. */
  readonly connections: number;
  /** Bytes of the connection to the far gateway that stands, from it and to it. */
  readonly bytesIn: number;
  readonly bytesOut: number;
}
