import type { LogEvent } from "../log.ts";
import type { MetricSample, PluginStatus, RouteInfo, TunnelRow } from "../plugin/reports.ts";

/** A counter or gauge with its labels, as plain data. `name` has no `postern_` prefix. */
export interface CounterSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A histogram with its labels. `counts[i]` is how many values were ≤ `bounds[i]`, not cumulated; the last is the rest. */
export interface HistogramSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
  readonly sum: number;
}

/** What one data plane has counted since it started. */
export interface MetricsSnapshot {
  readonly counters: readonly CounterSample[];
  readonly gauges: readonly CounterSample[];
  readonly histograms: readonly HistogramSample[];
}

/** A row of `/api/v1/connections`. */
export interface ConnectionRow {
  readonly id: string;
  readonly listener: string;
  readonly source: string;
  readonly protocol: string;
  readonly sni?: string;
  readonly plugin?: string;
  readonly target?: string;
  /** `preface`, `routing`, `certificate` (it waits for one), `handshake`, `dialing`, `relaying` or `handling`. */
  readonly state: string;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Milliseconds since 1970. */
  readonly since: number;
}

/** A row of `/api/v1/tunnels`. */
export type GatewayTunnel = TunnelRow & { readonly plugin: string };

/** A row of `/api/v1/plugins`. */
export interface PluginRow {
  readonly name: string;
  readonly isolation: "inline" | "worker";
  readonly module: string;
  /** What it was really granted, after the templates were filled in. */
  readonly permissions: Readonly<Record<string, readonly string[] | boolean>>;
  readonly state: "starting" | "up" | "down";
  readonly restarts: number;
  readonly status: PluginStatus;
}

/** A certificate that the gateway shows to clients, or one that it tries to get. */
export interface CertificateRow {
  /** Canonical: `db.example.com` or `*.example.com`. */
  readonly names: readonly string[];
  readonly source: "files" | "acme" | "development";
  /** When it expires, ISO 8601; empty while there is none. */
  readonly notAfter: string;
  /** `pending`: there is none yet, and one is being asked for. `failed`: there is none, or it has expired. */
  readonly state: "valid" | "pending" | "failed";
  /** Why the last attempt to get or to renew it failed, on one line. */
  readonly error?: string;
  /** When it is asked for again, or renewed, ISO 8601. */
  readonly nextAttempt?: string;
}

/** `/api/v1/status`. */
export interface GatewayStatus {
  readonly version: string;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  readonly threads: number;
  readonly draining: boolean;
  /** As bound: a configured port 0 shows the real one. */
  readonly listeners: readonly { readonly address: string; readonly kind: "stream" | "http" }[];
  readonly connections: { readonly active: number; readonly total: number };
  /** `oldest` has a hundred at most; `/api/v1/tunnels` has them all. */
  readonly tunnels: { readonly active: number; readonly oldest: readonly GatewayTunnel[] };
  readonly bytes: { readonly in: number; readonly out: number };
  /** Refused connections by reason. */
  readonly rejected: Readonly<Record<string, number>>;
  readonly plugins: readonly PluginRow[];
  /** Those of files first; at most a thousand. Absent: the gateway is older than this. */
  readonly certificates?: readonly CertificateRow[];
  /** Resident memory of the whole process, bytes. */
  readonly memory: number;
  /** The last reload that was refused, and why. */
  readonly reloadError?: string;
}

/** What the charts of the dashboard are drawn from: counts since the start, at one moment. */
export interface LiveSample {
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly connections: { readonly active: number; readonly total: number };
  readonly tunnels: number;
  readonly bytes: { readonly in: number; readonly out: number };
  /** Requests through http tunnels. */
  readonly requests: number;
  /** Refused connections by reason. */
  readonly rejected: Readonly<Record<string, number>>;
  /** Resident memory of the whole process, bytes. */
  readonly memory: number;
}

/** Something that happened, as the log has it; what strangers repeat is one event with a count. */
export interface RecentEvent extends LogEvent {
  /** Counts up with every event, and with every repetition of one. */
  readonly sequence: number;
  /** How often it happened; the rest is of the last time. */
  readonly count: number;
}

/** What is new since the last time. */
export interface LiveReport {
  readonly sample: LiveSample;
  /** Oldest first. */
  readonly events: readonly RecentEvent[];
  /** That of the last event there was. */
  readonly sequence: number;
}

/** What the admin worker may ask of the supervisor: this much and nothing else. */
export interface AdminMethods {
  [method: string]: (...args: never[]) => unknown;
  /** @param tunnels How many of the oldest it lists; with 0 no plugin is asked for its tunnels. @default 100 */
  status(tunnels?: number): Promise<GatewayStatus>;
  /** Whether the gateway takes connections and every plugin is ready; `reasons` has a line for each that is not. */
  readiness(): Promise<{ readonly ready: boolean; readonly reasons: readonly string[] }>;
  metrics(): Promise<
    { readonly planes: readonly MetricsSnapshot[]; readonly plugins: readonly MetricSample[] }
  >;
  /** At most `limit` rows, oldest first. @param filter What must stand somewhere in a row, in any case. */
  connections(limit: number, filter?: string): Promise<readonly ConnectionRow[]>;
  /** False when there is no such connection. */
  closeConnection(id: string): Promise<boolean>;
  /** As {@link connections}. */
  tunnels(limit: number, filter?: string): Promise<readonly GatewayTunnel[]>;
  /** False when there is no such tunnel. */
  closeTunnel(id: string): Promise<boolean>;
  routes(): Promise<readonly (RouteInfo & { readonly plugin: string })[]>;
  /** What goes on now. @param after Only events with a higher sequence. */
  live(after: number): Promise<LiveReport>;
}
