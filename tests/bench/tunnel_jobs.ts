import type { Address } from "../support/processes.ts";
import type { Rate, Released, Throughput } from "./jobs.ts";

/** What the services behind the agents listen on. */
export interface ServicePorts {
  readonly http: number;
  readonly echo: number;
  readonly sink: number;
  /** Sends without end, once it has been sent something. */
  readonly source: number;
  /** Sends back every datagram of UDP. */
  readonly datagrams: number;
}

/** Those of them that take connections. */
export type StreamService = Exclude<keyof ServicePorts, "datagrams">;

/** Where clients connect to. */
export interface TunnelTarget {
  readonly address: Address;
  /** Speaks TLS and asks for this name; plain when absent. */
  readonly serverName?: string;
}

/** A service that is HTTP, as clients see it. */
export interface HttpTarget extends TunnelTarget {
  /** What stands in the `Host` header. */
  readonly host: string;
}

interface Bulk {
  readonly kind: "up" | "down";
  readonly to: TunnelTarget;
  readonly connections: number;
  /** No more than this, on each connection. @default as fast as they go */
  readonly bytesPerSecond?: number;
}

/** What the clients are asked for: one line of JSON, one line of JSON back. */
export type TunnelJob =
  /** Tries until the way to an echo, or to an HTTP service, is open. */
  | {
    readonly kind: "ready";
    readonly to: TunnelTarget;
    readonly host?: string;
    /** Of a datagram to an echo of UDP. */
    readonly bytes?: number;
    readonly seconds: number;
  }
  /** Requests one after the other on each of `connections`, or each on a connection of its own. */
  | {
    readonly kind: "keep-alive" | "fresh";
    readonly to: TunnelTarget;
    readonly host: string;
    readonly connections: number;
    readonly seconds: number;
  }
  /** Bytes from a source (`down`) or to a sink (`up`), as fast as they go. */
  | (Bulk & { readonly seconds: number })
  /** Ping-pong of 64 bytes on each of `connections`. */
  | {
    readonly kind: "rtt";
    readonly to: TunnelTarget;
    readonly connections: number;
    readonly seconds: number;
  }
  /** As `rtt`, while `bulk` goes on. */
  | {
    readonly kind: "beside";
    readonly to: TunnelTarget;
    readonly connections: number;
    readonly bulk: Bulk;
    readonly seconds: number;
  }
  /** Datagrams to an echo from one source: `connections` outstanding, or `perSecond`. */
  | {
    readonly kind: "datagrams";
    readonly to: TunnelTarget;
    readonly bytes: number;
    readonly connections?: number;
    readonly perSecond?: number;
    readonly seconds: number;
  }
  /** Opens connections to an echo, uses each once, and leaves them alone. */
  | { readonly kind: "hold"; readonly to: TunnelTarget; readonly connections: number }
  /** Closes what `hold` opened. */
  | { readonly kind: "release" };

export interface TunnelResults {
  readonly ready: Record<string, never>;
  readonly "keep-alive": Rate;
  readonly fresh: Rate;
  readonly up: Throughput;
  readonly down: Throughput;
  readonly rtt: Rate;
  /** The rate is that of the round trips, the throughput that of the bulk. */
  readonly beside: Rate & Throughput;
  readonly datagrams: { readonly perSecond: number; readonly sent: number; readonly lost: number };
  readonly hold: Record<string, never>;
  readonly release: Pick<Released, "alive">;
}
