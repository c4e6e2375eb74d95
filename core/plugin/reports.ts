import type { Endpoint } from "./contract.ts";

/** A plugin's own view of itself, for `status`, `/readyz` and `/api/v1/plugins`. */
export interface PluginStatus {
  readonly ready: boolean;
  /** One line: why not ready, or what is going on. */
  readonly reason?: string;
  /** Plain data for people and scripts. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** One line of `/api/v1/routes`. */
export interface RouteInfo {
  /** What it matches, as written in the config: `db.example.com`, `protocol ssh`. */
  readonly match: string;
  readonly action: string;
  readonly targets?: readonly {
    readonly target: string;
    readonly healthy: boolean;
    readonly connections: number;
  }[];
}

/** One sample of a metric that only this plugin has. */
export type MetricSample = NumberSample | DistributionSample;

/** A counter or a gauge. */
export interface NumberSample extends MetricIdentity {
  readonly type: "counter" | "gauge";
  readonly value: number;
  /** How the samples of several data planes become one. @default "sum" */
  readonly merge?: "sum" | "min" | "max";
}

/** A histogram. Those of several data planes are added up. */
export interface DistributionSample extends MetricIdentity {
  readonly type: "histogram";
  /**
   * How many values were at most `le`, those of the buckets before included; `le` rises. At most 64, and none for
   * infinity: that is `count`.
   */
  readonly buckets: readonly { readonly le: number; readonly count: number }[];
  readonly sum: number;
  readonly count: number;
}

interface MetricIdentity {
  /** Without the `postern_` prefix. */
  readonly name: string;
  readonly help: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** An agent that is connected, for `/api/v1/tunnels` and `status`. Every text in it comes from strangers. */
export interface TunnelRow {
  readonly id: string;
  /** What it speaks: `postern`, or the name of another program; absent: the gateway is older than that. */
  readonly agent?: string;
  /** Whose it is: the name of its token, or the subject of its JWT. */
  readonly owner: string;
  readonly source: Endpoint;
  /** Milliseconds since 1970. */
  readonly since: number;
  /** The last round trip, in milliseconds; absent before there was one. */
  readonly roundTripMs?: number;
  readonly streams: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly services: readonly TunnelServiceRow[];
}

export interface TunnelServiceRow {
  readonly id: string;
  readonly name: string;
  readonly protocol: string;
  /** Where the public reaches it: `https://demo.example.com`, `tcp://example.com:30001`. */
  readonly url: string;
  /** As its agent tells it. */
  readonly target?: string;
}
