/**
 * An agent as a library: exposes services through a gateway from inside a program. See `docs/agent-library.md`.
 *
 * @module
 */
export { type FaultCode, GatewayError } from "../../../../core/errors.ts";
export type { ServiceProtocol } from "../../control/messages.ts";
export type { HostPort } from "../../../../core/net/address.ts";
export { Agent } from "./agent.ts";
export type { AgentEnd, AgentEvent, AgentStatus, RequestSeen, ServicePublic } from "../events.ts";
export type { AcceptConnection } from "../in_process/admission.ts";
export type { ClientAddress, PublicConnection, ServedConnection } from "../in_process/handler.ts";
export type { FetchHandler } from "../in_process/http_handler.ts";
export type { ConnectionStream, StreamHandler } from "../in_process/stream_handler.ts";
export type {
  AgentOptions,
  FetchService,
  PublicSide,
  ServiceOptions,
  StreamService,
  TargetService,
} from "./options.ts";
