import type { z } from "zod";
import type { ByteStream } from "../byte_stream.ts";
import type { Log } from "../log.ts";
import type { NodeId } from "../registry/registry.ts";
import type { PlaneContext } from "./plane_context.ts";
import type { MetricSample, PluginStatus, RouteInfo, TunnelRow } from "./reports.ts";

/** Unique among all connections of one gateway since it started; the same in every log line from accept to close. */
export type ConnectionId = string;

/** An IP address, never a name; IPv4-mapped IPv6 is written as IPv4. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** What the first bytes show. `postgres` stays `postgres` when TLS follows its SSLRequest. */
export type Protocol = "tls" | "postgres" | "http" | "ssh" | "other";

/** What a TLS client asked for in its ClientHello (RFC 8446 §4.1.2). Nothing in it is authenticated. */
export interface ClientHelloInfo {
  /** Canonical server name (see `core/names.ts`), or absent when the client sent none. */
  readonly serverName?: string;
  /** Protocol names offered by ALPN (RFC 7301), in the client's order. */
  readonly alpn: readonly string[];
  /** Versions offered, as on the wire: `0x0303` is TLS 1.2, `0x0304` TLS 1.3. */
  readonly versions: readonly number[];
}

/** What the gateway's own TLS handshake with the client established. */
export interface TerminatedTls {
  /** `TLSv1.2` or `TLSv1.3`. */
  readonly version: string;
  /** The protocol agreed by ALPN, or absent. */
  readonly alpn?: string;
  /**
   * The client's certificate chain in DER, leaf first. Present only when the decision asked for a certificate
   * and the chain leads to one of its CAs; never trust anything else.
   */
  readonly clientCertificates?: readonly Uint8Array[];
}

/** Everything known about a connection when a plugin is asked. Plain data: it crosses worker boundaries. */
export interface ConnectionInfo {
  readonly id: ConnectionId;
  /** The listener's address as written in the config; on one that a plugin opened, the plugin's word. */
  readonly listener: string;
  /** Present on a listener of `kind: http`, which takes plain HTTP only. */
  readonly listenerKind?: "http";
  /** The public client: from the PROXY header of a trusted peer, else the same as `peer`. */
  readonly source: Endpoint;
  /** Where the public client connected to: from the PROXY header of a trusted peer, else our own address. */
  readonly destination: Endpoint;
  /** Who the TCP connection is from: the client itself or a load balancer. */
  readonly peer: Endpoint;
  readonly protocol: Protocol;
  /** Present when the client opened with TLS, directly or behind a PostgreSQL SSLRequest. */
  readonly tls?: ClientHelloInfo;
  /** Present when this plugin answered `terminate` and is asked again behind the handshake. */
  readonly terminated?: TerminatedTls;
  /** Present when another data plane handed the connection over: it must not be handed over again. */
  readonly handedOver?: {
    readonly from: NodeId;
    /** What {@link PlaneContext.openOn} was given; absent for a `handover` decision. */
    readonly purpose?: string;
  };
}

/** Why a connection is turned away. The core answers in the client's protocol: see `core/data_plane/reject.ts`. */
export type RejectReason =
  | "unknown_name"
  | "no_server_name"
  | "forbidden"
  | "bad_certificate"
  | "unavailable"
  | "timeout"
  | "over_limit"
  | "not_supported";

/** Dial one of these, and relay. */
export interface Forward {
  readonly kind: "forward";
  /** `host:port`, IPv6 in brackets; several are tried in this order until one connects. */
  readonly to: string | readonly string[];
  /**
   * The PROXY header that the upstream gets first. `pass` sends on exactly the bytes that the client's proxy
   * sent, and nothing when there was none. @default "off"
   */
  readonly proxyProtocol?: "off" | "v1" | "v2" | "pass";
  /** TLVs for a v2 header, type 0xE0–0xEF (the range for custom use in HAProxy's proxy-protocol.txt §2.2). */
  readonly tlvs?: readonly { readonly type: number; readonly value: Uint8Array }[];
  /**
   * Speaks TLS to the upstream, behind the PROXY header; a PostgreSQL upstream is sent an SSLRequest first. Only for
   * clients whose own TLS was terminated, or that have none.
   */
  readonly tls?: UpstreamTls;
  /** While the target refuses, it is tried again for this long, in milliseconds, within `connectTimeout`. @default 0 */
  readonly retryMs?: number;
  /** The target comes from outside of the config: it must not be the gateway's own admin side. @default false */
  readonly keepOffAdmin?: boolean;
}

/** TLS towards an upstream. Its certificate is verified, always. */
export interface UpstreamTls {
  /** What it is asked for by SNI, and must have a certificate for. @default the host of the target */
  readonly serverName?: string;
  /** The CAs that its certificate must lead to, PEM, and no others. @default those of the runtime (Mozilla's, or `DENO_TLS_CA_STORE`) */
  readonly ca?: string;
}

/** Finish the TLS handshake here, with a certificate for the name that the client asked for. */
export interface Terminate {
  readonly kind: "terminate";
  /** What happens behind the handshake. Absent: the same plugin is asked again, with `terminated` filled in. */
  readonly then?: Forward | Handle | Open | Reject;
  /** ALPN protocols in the gateway's order of preference; none agreed means a `no_application_protocol` alert. */
  readonly alpn?: readonly string[];
  /** @default "TLSv1.2" */
  readonly minVersion?: "TLSv1.2" | "TLSv1.3";
  /** Asks for (`request`) or insists on (`require`) a client certificate that leads to one of `ca` (PEM). */
  readonly clientCertificate?: { readonly mode: "request" | "require"; readonly ca: string };
}

/** The plugin takes the byte stream itself. Inline plugins only. */
export interface Handle {
  readonly kind: "handle";
}

/**
 * Relay to a stream that the plugin opens itself, as that of a tunnel: see `Plugin.open`. All else is as for `forward`:
 * deadlines, half-close, idle timeout, counts. Inline plugins only.
 */
export interface Open {
  readonly kind: "open";
  /** For log and status, in the place of an address: `app@3f2a`. */
  readonly target: string;
}

/** Hand the connection over to another data plane as it came, still encrypted. Inline plugins only. */
export interface Handover {
  readonly kind: "handover";
  readonly node: NodeId;
}

/** Turn the client away, with an answer that its protocol understands. */
export interface Reject {
  readonly kind: "reject";
  readonly reason: RejectReason;
  /** For the log, never for the client. */
  readonly detail?: string;
}

/** Where a connection goes. Plain data: it crosses worker boundaries. */
export type Decision = Forward | Terminate | Handle | Open | Handover | Reject;

/** One attempt to reach an upstream. */
export interface DialEvent {
  readonly connection: ConnectionId;
  /** The entry of {@link Forward.to} that was tried. */
  readonly target: string;
  readonly ms: number;
  /** Absent when it connected. */
  readonly failure?: string;
}

/** How a connection ended. */
export interface ClosedEvent {
  readonly connection: ConnectionId;
  /** Client to upstream, without the PROXY header. */
  readonly bytesIn: number;
  /** Upstream to client. */
  readonly bytesOut: number;
  readonly ms: number;
  /**
   * `ok`, or what ended it: `client_reset`, `idle_timeout`, `connect_failed`, `tls_no_certificate`, `drained`,
   * `closed_by_admin`, …; `no_answer` when the upstream of a TLS client hung up without a byte;
   * `abandoned` when the decision came too late to be carried out; `plane_lost` when the data plane crashed; or the
   * word that the plugin ended it with.
   */
  readonly result: string;
  /** What is known beyond that of a TLS handshake that failed, for the log. */
  readonly detail?: string;
}

/** What `explain` prints: one line a step, and what it comes to. */
export interface Explanation {
  readonly steps: readonly string[];
  readonly decision?: Decision;
}

/** A routing plugin at work. Everything but `route` is optional. It runs inline or in a worker of its own. */
export interface Plugin {
  /**
   * Where this connection goes, or `undefined` when it is not this plugin's.
   *
   * @param options.signal Aborted when the client has left or the time for an answer is over.
   */
  route(
    connection: ConnectionInfo,
    options: { readonly signal: AbortSignal },
  ): Decision | undefined | Promise<Decision | undefined>;
  /** Takes the byte stream after a `handle` decision; closing it is the plugin's duty. Inline plugins only. */
  handle?(
    stream: ByteStream,
    connection: ConnectionInfo,
    options: { readonly signal: AbortSignal },
  ): Promise<void>;
  /**
   * Opens the stream that the client is relayed to after an `open` decision; closing it is the core's duty. What it
   * throws is told to the client as an upstream that cannot be reached. Inline plugins only.
   *
   * @param options.signal Aborted when the connection ends or `connectTimeout` is over.
   */
  open?(connection: ConnectionInfo, options: { readonly signal: AbortSignal }): Promise<ByteStream>;
  /** An attempt to reach a target that this plugin named has ended. */
  dialed?(event: DialEvent): void;
  /**
   * A connection that this plugin decided on has ended. Called once for each, or for each answer when the last one came
   * too late; never for `undefined`.
   */
  closed?(event: ClosedEvent): void;
  /**
   * These connections are open by the decisions of an instance of this plugin that has crashed, and it will not be asked
   * about them. Called for each data plane, with some at a time. Isolated plugins only; each still ends with `closed`.
   */
  adopt?(connections: readonly ConnectionInfo[]): void;
  /**
   * Takes a new config, or files that have changed, without losing state. Absent: a new instance is started and this
   * one disposed.
   */
  reload?(config: unknown, files: PluginFiles): void | Promise<void>;
  status?(): PluginStatus | Promise<PluginStatus>;
  routes?(): readonly RouteInfo[] | Promise<readonly RouteInfo[]>;
  metrics?(): readonly MetricSample[] | Promise<readonly MetricSample[]>;
  /** The agents that are connected here. */
  tunnels?(): readonly TunnelRow[];
  /** Ends a tunnel. False when there is none with this id. */
  closeTunnel?(id: string): boolean;
  /**
   * The gateway is about to end: whoever can go elsewhere is to be told. Connections that are open may end by themselves
   * until {@link Symbol.asyncDispose}.
   */
  drain?(): void;
  [Symbol.asyncDispose]?(): Promise<void>;
}

/** From `first` to `last`, both included. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** What stands in the files that a plugin's config names: UTF-8 text by path, as written in the config. */
export type PluginFiles = Readonly<Record<string, string>>;

/** What the gateway lends to a plugin. */
export interface PluginContext {
  /** The plugin's word in the config. */
  readonly name: string;
  readonly log: Log;
  /** Those of `PluginDefinition.files`. The plugin itself needs no permission to read them. */
  readonly files: PluginFiles;
  /**
   * Ends a connection that this plugin decided on, wherever it is; harmless when it has ended already.
   *
   * @param result What is logged and counted as its end: a word of the plugin's own such as `access_revoked`, in
   * lower-case letters and underscores.
   */
  endConnection(connection: ConnectionId, result: string): void;
  /** Inline plugins only: what the data plane lends to them. */
  readonly plane?: PlaneContext;
}

/** The default export of a plugin's module. Importing it needs no permission; `start` does the work. */
export interface PluginDefinition<Config = unknown> {
  /** Checks the plugin's section of the config and fills in defaults. Runs without any permission. */
  readonly config: z.ZodType<Config>;
  start(config: Config, context: PluginContext): Plugin | Promise<Plugin>;
  /**
   * The server names that this plugin may take, as patterns (`db.example.com`, `*.example.com`, `*`). The gateway
   * asks it about no other connection, and while it is down refuses just these. Absent: it is asked about every
   * connection, and while it is down those that no plugin before it took are refused.
   */
  names?(config: Config): readonly string[];
  /** The longest that `route` may take, in milliseconds. @default 5000 */
  routeTimeoutMs?(config: Config): number;
  /**
   * The files that the config names, seen from the config file's folder. The gateway reads them as text of at most
   * 1 MiB each, does not start without one, and calls `reload` when one changes.
   */
  files?(config: Config): readonly string[];
  /**
   * One server name for each of the plugin's policies under which nobody may get in without a client certificate
   * that leads to the policy's CAs. The gateway proves it, against itself, before it accepts anybody.
   */
  mutualTls?(config: Config): readonly string[];
  /** Server names for which TLS is to be terminated, or patterns (`*.example.com`): those without a certificate are logged. */
  terminates?(config: Config): readonly string[];
  /**
   * The ports that the plugin may open itself, see {@link PlaneContext.listen}: `explain` asks it about connections to them,
   * whose `listener` is the plugin's word, and `check` tells when something else is to listen there.
   */
  ports?(config: Config): PortRange;
  /** What `route` would answer, and why, without doing it. Runs without any permission. */
  explain?(config: Config, connection: ConnectionInfo): Explanation;
}

/** Types a plugin's definition; use it as `export default definePlugin({ config: …, start(config) { … } })`. */
export function definePlugin<Config>(definition: PluginDefinition<Config>): PluginDefinition<Config> {
  return definition;
}
