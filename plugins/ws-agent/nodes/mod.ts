/**
 * Node-to-node tunnels: ports of other gateways that lead here.
 *
 * @module
 */
export { NodeTunnelManager, type NodeTunnelManagerOptions } from "./manager.ts";
export type { NodeTunnel, NodeTunnelState, NodeTunnelStatus } from "./node_tunnel.ts";
export { type OwnPorts, refuseCircles, whyCircular } from "./own_ports.ts";
