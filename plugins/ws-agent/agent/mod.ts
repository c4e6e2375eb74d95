/**
 * An agent as a library: exposes local services through a gateway.
 *
 * @module
 */
export { Agent, type AgentOptions } from "./agent.ts";
export type { AgentEnd, AgentEvent, AgentStatus, RequestSeen, ServicePublic } from "./events.ts";
export { formatGateway, type GatewayAddress, parseGateway } from "./gateway_address.ts";
export type { LinkTimes } from "./link.ts";
export { type AgentNetwork, type NetworkStream, systemNetwork } from "./network.ts";
export type { StreamTimes } from "./public_streams.ts";
export type { AgentService, AgentSettings, Credentials, GatewayTls } from "./settings.ts";
export { formatTarget, parseTarget, type Target } from "./target.ts";
