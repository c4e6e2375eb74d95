import type { Rate } from "./jobs.ts";
import { settledBytes } from "./memory.ts";
import type { MetricInfo, Values } from "./report.ts";
import type { HttpTarget } from "./tunnel_jobs.ts";
import { accessScenario, goTunnelScenario } from "./tunnel_detours.ts";
import { cpuOf, HTTP_HOST, type Site, type TunnelKind, type TunnelPeer } from "./tunnel_kinds.ts";
import type { TunnelClients } from "./tunnel_load.ts";

export interface TunnelContext {
  readonly clients: TunnelClients;
  readonly kind: TunnelKind;
  /** Kept running during the whole bench. */
  readonly peer: TunnelPeer;
  readonly size: TunnelSize;
  /** Starts another one of the same kind, and resolves when its tunnel is open. */
  startFresh(more: Pick<Site, "spareAgents">): Promise<TunnelPeer>;
}

/** How much of everything. */
export interface TunnelSize {
  /** Of each measurement. */
  readonly seconds: number;
  readonly idleTunnels: number;
  readonly idleStreams: number;
}

/** One measurement of one peer. */
export interface TunnelScenario {
  readonly name: string;
  readonly metrics: Readonly<Record<string, MetricInfo>>;
  /** What it needs and is not installed. */
  readonly missing?: readonly string[];
  /** Whether gateway and agent are to be far apart, by what is started for this measurement alone. */
  readonly delayed?: boolean;
  run(context: TunnelContext): Promise<Values | undefined>;
}

/** As many as a busy small site has. */
const KEEP_ALIVE_CONNECTIONS = 64;
const FRESH_LANES = 32;
const RTT_CONNECTIONS = 32;
const READY_SECONDS = 60;
const DATAGRAM = { bytes: 100, outstanding: 32 } as const;
/** Half of what has to be reached. */
const PACED_DATAGRAMS = 20_000;
const UDP_LOSS = `UDP loss at ${PACED_DATAGRAMS}/s`;
/** What every tunnel here carries near by with processor time to spare: what is left to see is its queues. */
const PACED_MIB = 50;
const MIB = 1024 * 1024;
const KIB = 1024;

const perSecond: MetricInfo = { unit: "/s", better: "more" };
const throughput: MetricInfo = { unit: "MiB/s", better: "more" };
const microseconds: MetricInfo = { unit: "µs", better: "less" };
const kibibytes: MetricInfo = { unit: "KiB", better: "less" };
const percent: MetricInfo = { unit: "%", better: "less" };
const factor: MetricInfo = { unit: "×", better: "less" };

/** In the order of the rows. */
export const TUNNEL_SCENARIOS: readonly TunnelScenario[] = [
  requestScenario("http", "keep-alive", ({ http }) => http),
  requestScenario("http", "fresh", ({ http }) => http),
  requestScenario("https", "keep-alive", ({ https }) => https),
  requestScenario("https", "fresh", ({ https }) => https),
  requestScenario("http via tcp", "keep-alive", httpOverTcp),
  requestScenario("http via tcp", "fresh", httpOverTcp),
  throughputScenario("up", 1),
  throughputScenario("up", 8),
  throughputScenario("down", 1),
  throughputScenario("down", 8),
  {
    name: "rtt",
    metrics: { "round trips/s": perSecond, "round trip p50": microseconds, "round trip p99": microseconds },
    async run({ clients, peer, size: { seconds } }) {
      const to = peer.stream("echo");
      const rate = await clients.run({ kind: "rtt", to, connections: RTT_CONNECTIONS, seconds });
      return { "round trips/s": rate.perSecond, "round trip p50": rate.p50Us, "round trip p99": rate.p99Us };
    },
  },
  {
    name: "udp",
    metrics: { "UDP round trips/s": perSecond, "UDP, CPU/round trip": microseconds, [UDP_LOSS]: percent },
    run: datagrams,
  },
  accessScenario,
  goTunnelScenario,
  besideScenario("beside", ""),
  {
    name: "idle-tunnels",
    metrics: { "memory/idle tunnel": kibibytes },
    run: idleTunnels,
  },
  {
    name: "idle-streams",
    metrics: { "memory/idle stream": kibibytes, "memory/idle stream, agent": kibibytes },
    run: idleStreams,
  },
  { ...besideScenario("delayed-beside", "30 ms away: "), delayed: true },
  { ...throughputScenario("down", 1, "delayed-", "30 ms away: "), delayed: true },
];

/** Resolves when every way through the tunnel is open. */
export async function waitUntilReady(clients: TunnelClients, peer: TunnelPeer): Promise<void> {
  const ready = { kind: "ready", seconds: READY_SECONDS } as const;
  await clients.run({ ...ready, to: peer.stream("echo") });
  if (peer.datagrams) await clients.run({ ...ready, to: peer.datagrams, bytes: DATAGRAM.bytes });
  for (const target of [peer.http, peer.https, httpOverTcp(peer)]) {
    if (!target) continue;
    const { host, ...to } = target;
    await clients.run({ ...ready, to, host });
  }
}

function httpOverTcp(peer: TunnelPeer): HttpTarget {
  return { ...peer.stream("http"), host: HTTP_HOST };
}

function requestScenario(
  scheme: "http" | "https" | "http via tcp",
  kind: "keep-alive" | "fresh",
  targetOf: (peer: TunnelPeer) => HttpTarget | undefined,
): TunnelScenario {
  const what = `${scheme.toUpperCase()} ${kind === "fresh" ? "new connections" : "keep-alive"}`;
  const cpu = `${what}, CPU/request`;
  return {
    name: `${scheme.replaceAll(" ", "-")}-${kind}`,
    metrics: { [what]: perSecond, [`${what}, p99`]: microseconds, [cpu]: microseconds },
    async run({ clients, peer, size: { seconds } }) {
      const target = targetOf(peer);
      if (!target) return undefined;
      const { host, ...to } = target;
      const connections = kind === "fresh" ? FRESH_LANES : KEEP_ALIVE_CONNECTIONS;
      const warmUp = { kind, to, host, connections, seconds: 0.5 };
      await clients.run(warmUp);
      const before = await cpuOf(peer);
      const rate: Rate = await clients.run({ ...warmUp, seconds });
      const spent = await cpuOf(peer) - before;
      return {
        [what]: rate.perSecond,
        [`${what}, p99`]: rate.p99Us,
        ...(peer.gatewayPid !== undefined && { [cpu]: spent * 1e6 / (rate.perSecond * seconds) }),
      };
    },
  };
}

function throughputScenario(
  direction: "up" | "down",
  connections: number,
  namePrefix = "",
  prefix = "",
): TunnelScenario {
  const metric = `${prefix}${direction}, ${connections} stream${connections > 1 ? "s" : ""}`;
  return {
    name: `${namePrefix}${direction}-${connections}`,
    metrics: { [metric]: throughput },
    async run({ clients, peer, size: { seconds } }) {
      const to = peer.stream(farEnd(direction));
      const result = await clients.run({ kind: direction, to, connections, seconds });
      return { [metric]: result.bytesPerSecond / MIB };
    },
  };
}

function farEnd(direction: "up" | "down"): "sink" | "source" {
  return direction === "up" ? "sink" : "source";
}

/** What a small stream sees of a big one in the same tunnel: one that takes all there is, and one that does not. */
function besideScenario(name: string, prefix: string): TunnelScenario {
  const metric = (what: string) => `${prefix}small stream ${what}`;
  const loads = {
    down: { kind: "down" },
    up: { kind: "up" },
    [`${PACED_MIB} MiB/s down`]: { kind: "down", bytesPerSecond: PACED_MIB * MIB },
  } as const;
  const loaded = Object.keys(loads).flatMap((load) => [
    [metric(`p50 beside ${load}`), microseconds],
    [metric(`p99 beside ${load}`), microseconds],
    [metric(`p99 beside ${load} ÷ idle`), factor],
    [`${prefix}${load}, beside small stream`, throughput],
  ]);
  return {
    name,
    metrics: {
      [metric("p50, idle")]: microseconds,
      [metric("p99, idle")]: microseconds,
      ...Object.fromEntries(loaded),
    },
    async run({ clients, peer, size: { seconds } }) {
      const job = { to: peer.stream("echo"), connections: 1, seconds };
      const idle = await clients.run({ kind: "rtt", ...job });
      const values: Record<string, number> = {
        [metric("p50, idle")]: idle.p50Us,
        [metric("p99, idle")]: idle.p99Us,
      };
      for (const [load, given] of Object.entries(loads)) {
        const bulk = { ...given, to: peer.stream(farEnd(given.kind)), connections: 1 };
        const beside = await clients.run({ kind: "beside", ...job, bulk });
        values[metric(`p50 beside ${load}`)] = beside.p50Us;
        values[metric(`p99 beside ${load}`)] = beside.p99Us;
        values[metric(`p99 beside ${load} ÷ idle`)] = beside.p99Us / idle.p99Us;
        values[`${prefix}${load}, beside small stream`] = beside.bytesPerSecond / MIB;
      }
      return values;
    },
  };
}

/** One source of datagrams: as fast as 32 outstanding ones go, and then at a pace at which none may be lost. */
async function datagrams({ clients, peer, size: { seconds } }: TunnelContext): Promise<Values | undefined> {
  const to = peer.datagrams;
  if (to === undefined) return undefined;
  const job = { kind: "datagrams", to, bytes: DATAGRAM.bytes } as const;
  const full = { ...job, connections: DATAGRAM.outstanding };
  await clients.run({ ...full, seconds: 0.5 });
  const before = await cpuOf(peer);
  const { perSecond } = await clients.run({ ...full, seconds });
  const spent = await cpuOf(peer) - before;
  const paced = await clients.run({ ...job, perSecond: PACED_DATAGRAMS, seconds });
  return {
    "UDP round trips/s": perSecond,
    [UDP_LOSS]: 100 * paced.lost / paced.sent,
    ...(peer.gatewayPid !== undefined && { "UDP, CPU/round trip": spent * 1e6 / (perSecond * seconds) }),
  };
}

/** A fresh gateway: what an earlier measurement made it take does not come back to the system. */
async function idleTunnels({ kind, size, startFresh }: TunnelContext): Promise<Values | undefined> {
  const count = Math.min(size.idleTunnels, kind.maxAgents);
  if (count === 0) return undefined;
  await using fresh = await startFresh({ spareAgents: count });
  if (!fresh.addAgents || fresh.gatewayPid === undefined) return undefined;
  const before = await settledBytes(fresh.gatewayPid);
  await fresh.addAgents(count);
  const after = await settledBytes(fresh.gatewayPid);
  return { "memory/idle tunnel": (after - before) / KIB / count };
}

/** Connections of clients that have said something once, all through one tunnel. */
async function idleStreams({ clients, size, startFresh }: TunnelContext): Promise<Values | undefined> {
  await using fresh = await startFresh({ spareAgents: 0 });
  const { gatewayPid } = fresh;
  if (gatewayPid === undefined) return undefined;
  const settled = async () => {
    const agents = await Promise.all(fresh.agentPids.map(settledBytes));
    return {
      gateway: await settledBytes(gatewayPid),
      agent: agents.reduce((sum, bytes) => sum + bytes, 0),
    };
  };
  const before = await settled();
  await clients.run({ kind: "hold", to: fresh.stream("echo"), connections: size.idleStreams });
  const after = await settled();
  const { alive } = await clients.run({ kind: "release" });
  if (alive !== size.idleStreams) throw new Error(`${alive} of ${size.idleStreams} streams were held`);
  return {
    "memory/idle stream": (after.gateway - before.gateway) / KIB / size.idleStreams,
    "memory/idle stream, agent": (after.agent - before.agent) / KIB / size.idleStreams,
  };
}
