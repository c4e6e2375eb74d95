import type { HostPort } from "../../../core/plugin/mod.ts";
import type { ServiceProtocol } from "../control/messages.ts";

/**
 * Something that has happened to an agent. Plain data. Texts that come from the gateway or from the public are as they came: who
 * shows them makes them fit to be shown.
 */
export type AgentEvent =
  /** A connection to the gateway stands, and its services are being registered. */
  | { readonly kind: "connected"; readonly connection: number; readonly gateway: string }
  /** One is lost, or could not be made. It is tried again after `retryMs`. */
  | {
    readonly kind: "disconnected";
    readonly connection: number;
    readonly reason: string;
    /** Whether it stood at all. */
    readonly wasConnected: boolean;
    readonly retryMs: number;
  }
  /** The gateway asks to come back by another connection; this one ends when its streams have. */
  | { readonly kind: "replacing"; readonly connection: number; readonly reason: string }
  /** The public reaches a service, or by another address than before. */
  | ServicePublic
  /** The gateway does not take a service. It is asked again after `retryMs`. */
  | {
    readonly kind: "refused";
    readonly service: string;
    /** The gateway's own for it, where it gives one. */
    readonly word?: string;
    readonly reason: string;
    /** It will be the same until somebody has changed something. */
    readonly isFinal: boolean;
    readonly retryMs: number;
  }
  /** A service is no longer among those of the agent. */
  | { readonly kind: "withdrawn"; readonly service: string }
  /** A connection could not be passed on to the local target. */
  | {
    readonly kind: "target_failed";
    readonly service: string;
    readonly target: string;
    readonly reason: string;
    readonly connection: string;
  }
  /** The program's own function for a service, or the one that accepts connections, has failed; the client was not told why. */
  | {
    readonly kind: "handler_failed";
    readonly service: string;
    readonly reason: string;
    readonly connection: string;
    /** What it threw. */
    readonly error: unknown;
  }
  | RequestSeen
  /** A stream that made no sense, and was reset. */
  | { readonly kind: "stream_refused"; readonly reason: string };

export interface ServicePublic {
  readonly kind: "public";
  readonly service: string;
  readonly protocol: ServiceProtocol;
  readonly url: string;
  readonly remotePort?: number;
  readonly target: string;
}

/** An HTTP request that the local service has begun to answer. Only when requests are watched. */
export interface RequestSeen {
  readonly kind: "request";
  readonly service: string;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly method: string;
  /** Without the query, which holds secrets; at most 256 characters. */
  readonly path: string;
  readonly status: number;
  /** From the request's first byte to the head of the answer. */
  readonly ms: number;
  readonly client?: HostPort;
}

/** How an agent ended. `lost`: trying again makes no sense. */
export type AgentEnd = { readonly kind: "stopped" } | { readonly kind: "lost"; readonly reason: string };

/** How an agent is right now. */
export interface AgentStatus {
  /** Connections to the gateway that stand, and how many there are to be. */
  readonly connected: number;
  readonly connections: number;
  /** Of the first connection that has measured one, in milliseconds. */
  readonly roundTripMs?: number;
  /** Public connections that are open now. */
  readonly streams: number;
  /** Public connections since the start. */
  readonly streamsTotal: number;
  /** Of the tunnels: from the gateway, to it. */
  readonly bytesIn: number;
  readonly bytesOut: number;
}
