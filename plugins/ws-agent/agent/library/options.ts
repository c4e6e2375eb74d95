import type { AcceptConnection } from "../in_process/admission.ts";
import type { FetchHandler } from "../in_process/http_handler.ts";
import type { StreamHandler } from "../in_process/stream_handler.ts";
import type { AgentEvent } from "../events.ts";

/** What an agent is to do. Texts are written as in `agent.yaml`. */
export interface AgentOptions {
  /** `wss://HOST[:PORT][/PATH]`, or `HOST[:PORT]`, which is the same. `ws://` is without TLS. */
  readonly gateway: string;
  /** What is shown to the gateway. This or {@link jwt}. */
  readonly token?: string | undefined;
  /** A JWT (HS256) is made with it for each connection, in place of a token. */
  readonly jwt?: {
    readonly secret: string;
    readonly issuer?: string;
    /** How long one is good, a minute at least. @default "1h" */
    readonly expiresIn?: string;
  } | undefined;
  /**
   * Tells this agent from others with the same token. Of two with the same name, the one that was started last stays, and the other ends.
   *
   * @default the names of its services, in their order, with commas
   */
  readonly name?: string | undefined;
  readonly tls?: {
    /** CAs to trust beside the runtime's own, PEM. */
    readonly ca?: string | undefined;
    /** Takes any certificate of the gateway: whoever is on the way can read everything. @default false */
    readonly insecure?: boolean;
  } | undefined;
  /**
   * `http://[USER:PASSWORD@]HOST[:PORT]`: a proxy on the way to the gateway, by CONNECT. The environment is not asked. Never used for a
   * gateway on this machine.
   *
   * @default none
   */
  readonly proxy?: string | undefined;
  /** Parallel connections to the gateway, 1 to 16. @default 2 */
  readonly connections?: number | undefined;
  /** The bounds of the wait before the next attempt to connect. @default { min: "500ms", max: "60s" } */
  readonly reconnect?: { readonly min?: string; readonly max?: string } | undefined;
  readonly services: readonly ServiceOptions[];
  /**
   * Asked before each public connection is served. A refused client of an http service gets a 403, others a reset. What throws, or has
   * not answered after 5 seconds, refuses.
   *
   * @default every connection is served
   */
  readonly onConnection?: AcceptConnection | undefined;
  /** Told of everything that happens, in order. What it throws is thrown away. See also `Agent.events`. */
  readonly onEvent?: ((event: AgentEvent) => void) | undefined;
  /** Whether there are `request` events for HTTP. Costs nothing when not. @default false */
  readonly watchRequests?: boolean | undefined;
}

/** One service: served by a function of the program, or by what listens at a target. */
export type ServiceOptions = FetchService | StreamService | TargetService;

/** What a service is to the public. */
export interface PublicSide {
  /** Unique within the agent: 1 to 63 letters, digits, dots, hyphens and underscores. */
  readonly name: string;
  /** A full host name, for `http` and `tls`. @default NAME.DOMAIN, with the gateway's domain */
  readonly hostname?: string | undefined;
  /** The public port, for `tcp`. 0: one of the gateway's, the same again after a restart. @default 0 */
  readonly remotePort?: number | undefined;
  /** Not for the public, where the gateway knows of such services. @default false */
  readonly private?: boolean | undefined;
}

/** A web service that a function of the program answers. WebSockets can't be opened to it; they need a target. */
export interface FetchService extends PublicSide {
  readonly protocol: "http";
  readonly fetch: FetchHandler;
}

/** Byte streams that a function of the program serves. Those of `tls` are the TLS itself, as the client sends it. */
export interface StreamService extends PublicSide {
  readonly protocol: "tcp" | "tls";
  readonly handle: StreamHandler;
}

/** Something that listens somewhere, which the program must be permitted to connect to. */
export interface TargetService extends PublicSide {
  readonly protocol: "http" | "tcp" | "tls" | "udp";
  /** `3000` or `"3000"`, `"127.0.0.1:3000"`, `"db.internal:5432"`; for http also a URL without a path. */
  readonly target: string | number;
  /** Which PROXY header the target is sent, to tell it the public client's address. @default "off" */
  readonly proxyProtocol?: "off" | "v1" | "v2" | undefined;
}
