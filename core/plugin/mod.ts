/**
 * Everything that a plugin's module imports from Postern: see `docs/writing-a-plugin.md`.
 *
 * @module
 */

/** The schema library that a plugin describes its section of the config with, and fields that Postern adds to it. */
export { z } from "zod";
export { cidr, duration, type FieldRange, hostPort, size } from "../config/fields.ts";
export { namePattern } from "../config/name_field.ts";
export { formatHostPort, type HostPort, isAddress, parseCidrs, parseHostPort } from "../net/address.ts";
export { canonicalName, type NamePattern, NameTable, parseNamePattern } from "../names.ts";
export { type ByteStream, closeQuietly, isLending, type LendingStream, writeAll } from "../byte_stream.ts";
export { BufferPool } from "../data_plane/buffers.ts";
export { encodeProxyV2, parseProxyHeader, TLV, type Tlv } from "../data_plane/preface/proxy_protocol.ts";
export { type FaultCode, GatewayError, messageOf } from "../errors.ts";
export type { Log, LogFields, LogLevel } from "../log.ts";
export type {
  ClaimOptions,
  ClaimResult,
  Lease,
  LeaseSession,
  LeaseValue,
  NodeId,
  OpenResult,
  Registry,
  RegistryWatcher,
  SessionId,
  SessionInfo,
} from "../registry/registry.ts";
export { childEnvironment } from "./child_environment.ts";
export {
  type ClientHelloInfo,
  type ClosedEvent,
  type ConnectionId,
  type ConnectionInfo,
  type Decision,
  definePlugin,
  type DialEvent,
  type Endpoint,
  type Explanation,
  type Forward,
  type Handle,
  type Handover,
  type Open,
  type Plugin,
  type PluginContext,
  type PluginDefinition,
  type PluginFiles,
  type Protocol,
  type Reject,
  type RejectReason,
  type Terminate,
  type TerminatedTls,
  type UpstreamTls,
} from "./contract.ts";
export { type DatagramSocket, type PlaneContext, type PluginListener } from "./plane_context.ts";
export {
  type MetricSample,
  type NumberSample,
  type PluginStatus,
  type RouteInfo,
  type TunnelRow,
  type TunnelServiceRow,
} from "./reports.ts";
