import type {
  AdminMethods,
  ConnectionRow,
  GatewayStatus,
  GatewayTunnel,
  LiveReport,
  RecentEvent,
} from "../../core/data_plane/snapshot.ts";
import type { LogFields, LogLevel } from "../../core/log.ts";
import { connectionFilter, tunnelFilter } from "../../core/data_plane/row_filter.ts";
import { VERSION } from "../../core/version.ts";

/** As many samples as a chart shows in three minutes. */
const SAMPLES = 180;
const MINUTE_MS = 60_000;
const MIB = 1024 * 1024;

/** A gateway as it might be, for pictures of it. Names and addresses are those that are kept for examples. */
export function madeUpGateway(): { readonly gateway: AdminMethods; readonly filled: Promise<void> } {
  const start = Date.now() - SAMPLES * 1000;
  const { promise: filled, resolve } = Promise.withResolvers<void>();
  let count = 0;
  const live = async (): Promise<LiveReport> => {
    if (count >= SAMPLES) {
      resolve();
      await new Promise((next) => setTimeout(next, 1000));
    }
    return { sample: sampleAt(start, count++), events: EVENTS, sequence: EVENTS.length };
  };
  const gateway: AdminMethods = {
    live,
    status: () => Promise.resolve(STATUS),
    readiness: () => Promise.resolve({ ready: true, reasons: [] }),
    metrics: () => Promise.resolve({ planes: [], plugins: [] }),
    connections: (limit, filter) =>
      Promise.resolve(CONNECTIONS.filter(connectionFilter(filter)).slice(0, limit)),
    closeConnection: () => Promise.resolve(false),
    tunnels: (limit, filter) => Promise.resolve(TUNNELS.filter(tunnelFilter(filter)).slice(0, limit)),
    closeTunnel: () => Promise.resolve(false),
    routes: () => Promise.resolve([]),
  };
  return { gateway, filled };
}

/** Waves of several lengths, which look like traffic. */
function wave(i: number, ...lengths: readonly number[]): number {
  return lengths.reduce((sum, length, k) => sum + Math.sin(i / length + k) / lengths.length, 0);
}

function sampleAt(start: number, i: number): LiveReport["sample"] {
  const grown = (perSecond: number, ...lengths: readonly number[]) => {
    let sum = 0;
    for (let k = 0; k <= i; k++) sum += perSecond * (1 + 0.6 * wave(k, ...lengths));
    return Math.round(sum);
  };
  return {
    time: start + i * 1000,
    connections: { active: Math.round(412 + 40 * wave(i, 9, 23, 4)), total: 1_284_210 + grown(31, 7, 3) },
    tunnels: TUNNELS.length,
    bytes: { in: 48_200 * MIB + grown(9 * MIB, 5, 17, 2), out: 310_400 * MIB + grown(41 * MIB, 6, 19, 2.3) },
    requests: 9_120_400 + grown(640, 8, 3, 21),
    rejected: {
      unknown_name: 4210 + grown(1.4, 3, 11),
      preface_timeout: 1893 + grown(0.6, 5, 2),
      no_client_certificate: 77 + grown(0.1, 4),
    },
    memory: 188 * MIB,
  };
}

const now = Date.now();

const TUNNELS: readonly GatewayTunnel[] = [
  tunnel("q7fM2xkT", "office", "203.0.113.20", 9 * 24 * 60, 11.8, 14, [
    { name: "wiki", protocol: "http", url: "https://wiki.example.com", target: "127.0.0.1:8080" },
    { name: "git", protocol: "tcp", url: "tcp://example.com:30022", target: "127.0.0.1:22" },
  ]),
  tunnel("Zp0bR4nE", "warehouse", "198.51.100.7", 26 * 60, 38.4, 3, [
    { name: "scanner", protocol: "http", url: "https://scanner.example.com", target: "10.8.0.12:9000" },
  ]),
  tunnel("h3VyK9cd", "alice", "192.0.2.41", 96, 24.1, 1, [
    { name: "demo", protocol: "http", url: "https://demo.example.com", target: "127.0.0.1:3000" },
    { name: "game", protocol: "udp", url: "udp://example.com:30115", target: "127.0.0.1:27015" },
  ]),
  tunnel("L8wDs1uA", "bob", "192.0.2.77", 12, 19.6, 0, [
    { name: "db", protocol: "tls", url: "tls://db.example.com:443", target: "127.0.0.1:5432" },
  ]),
];

function tunnel(
  id: string,
  owner: string,
  address: string,
  minutes: number,
  roundTripMs: number,
  streams: number,
  services: readonly Omit<GatewayTunnel["services"][number], "id">[],
): GatewayTunnel {
  return {
    id,
    owner,
    plugin: "ws-agent",
    agent: "postern",
    source: { address, port: 41_000 + minutes % 997 },
    since: now - minutes * MINUTE_MS,
    roundTripMs,
    streams,
    bytesIn: 3.1 * MIB * minutes,
    bytesOut: 17.4 * MIB * minutes,
    services: services.map((service, i) => ({ id: `${i + 1}`, ...service })),
  };
}

const CONNECTIONS: readonly ConnectionRow[] = [
  connection("1k", "203.0.113.9:52114", "orders.db.example.com", "static", "10.0.0.5:5432", 310),
  connection("1m", "203.0.113.9:52118", "orders.db.example.com", "static", "10.0.0.5:5432", 308),
  connection("2a", "198.51.100.88:40122", "wiki.example.com", "ws-agent", "office@q7fM2xkT", 42),
  connection("2f", "192.0.2.150:61233", "shop.apps.example.com", "static", "10.0.0.6:80", 11),
  connection("2p", "198.51.100.3:50310", "team-7.connect.example.com", "mtls-postgres", "10.2.7.4:22", 6),
  connection("2q", "203.0.113.71:39002", "files.example.net", "cloudflared", "127.0.0.1:45012", 2),
];

function connection(
  id: string,
  source: string,
  sni: string,
  plugin: string,
  target: string,
  minutes: number,
): ConnectionRow {
  return {
    id: `mi8t3f-0.0-${id}`,
    listener: "0.0.0.0:443",
    source,
    protocol: "tls",
    sni,
    plugin,
    target,
    state: plugin === "ws-agent" ? "handling" : "relaying",
    bytesIn: 0.4 * MIB * minutes,
    bytesOut: 2.7 * MIB * minutes,
    since: now - minutes * MINUTE_MS,
  };
}

const EVENTS: readonly RecentEvent[] = [
  event(95, "info", "data-plane-0", "tunnel_opened", {
    tunnel: "h3VyK9cd",
    owner: "alice",
    source: "192.0.2.41",
  }),
  event(61, "warn", "data-plane-0", "auth_failed", { source: "198.51.100.200", reason: "unknown_token" }, 9),
  event(44, "info", "supervisor", "reloaded", {}),
  event(31, "error", "supervisor", "worker_died", { worker: "plugin:cloudflared", reason: "out of memory" }),
  event(31, "warn", "supervisor", "worker_restarted", { worker: "plugin:cloudflared", restarts: 1 }),
  event(12, "info", "data-plane-0", "tunnel_opened", {
    tunnel: "L8wDs1uA",
    owner: "bob",
    source: "192.0.2.77",
  }),
  event(3, "info", "data-plane-0", "connection_refused", {
    source: "203.0.113.66:33810",
    sni: "old.example.com",
    result: "unknown_name",
  }, 84),
].map((one, i) => ({ ...one, sequence: i + 1 }));

function event(
  minutes: number,
  level: LogLevel,
  from: string,
  word: string,
  fields: LogFields,
  count = 1,
): RecentEvent {
  return { sequence: 0, count, time: now - minutes * MINUTE_MS, level, from, event: word, fields };
}

function inDays(days: number): string {
  return new Date(now + days * 24 * 60 * MINUTE_MS).toISOString();
}

const STATUS: GatewayStatus = {
  version: VERSION,
  startedAt: now - 9.2 * 24 * 60 * MINUTE_MS,
  threads: 2,
  draining: false,
  listeners: [{ address: "0.0.0.0:443", kind: "stream" }, { address: "0.0.0.0:80", kind: "http" }],
  connections: { active: 412, total: 1_284_210 },
  tunnels: { active: TUNNELS.length, oldest: TUNNELS },
  bytes: { in: 48_200 * MIB, out: 310_400 * MIB },
  rejected: {},
  memory: 188 * MIB,
  certificates: [
    { names: ["*.example.com", "example.com"], source: "files", notAfter: inDays(201), state: "valid" },
    {
      names: ["api.customer.example"],
      source: "acme",
      notAfter: inDays(74),
      state: "valid",
      nextAttempt: inDays(44),
    },
    {
      names: ["shop.customer.example"],
      source: "acme",
      notAfter: inDays(0),
      state: "failed",
      error: "The directory could not reach shop.customer.example on port 80",
      nextAttempt: inDays(0.04),
    },
  ],
  plugins: [
    {
      name: "static",
      isolation: "inline",
      module: "plugins/static/mod.ts",
      permissions: { net: true },
      state: "up",
      restarts: 0,
      status: { ready: true, details: { routes: 6, targets: 9, unhealthy: 0 } },
    },
    {
      name: "cloudflared",
      isolation: "worker",
      module: "plugins/cloudflared/mod.ts",
      permissions: { run: ["cloudflared"], net: ["127.0.0.1"], read: false },
      state: "up",
      restarts: 1,
      status: {
        ready: true,
        details: {
          tunnels: 1,
          processes: [{
            serverName: "files.example.net",
            hostname: "cft-files.example.net",
            state: "ready",
            references: 1,
            restarts: 0,
            pid: 4711,
            port: 45012,
          }],
        },
      },
    },
    {
      name: "mtls-postgres",
      isolation: "worker",
      module: "plugins/mtls-postgres/mod.ts",
      permissions: { net: ["10.0.0.2:5432"], env: ["PGPASSWORD"] },
      state: "up",
      restarts: 0,
      status: {
        ready: true,
        details: { database: { up: true, kind: "postgres", listening: true }, openConnections: 1 },
      },
    },
  ],
};
