import type { Rate, Throughput } from "./jobs.ts";
import { cpuSecondsOf } from "./cpu.ts";
import type { MetricInfo, Values } from "./report.ts";
import type { HttpTarget, TunnelTarget } from "./tunnel_jobs.ts";
import { type BulkService, missingOf, pidsOf } from "./tunnel_kinds.ts";
import type { TunnelContext, TunnelScenario } from "./tunnel_scenarios.ts";

const CONNECTIONS = 64;
const WARM_UP_SECONDS = 0.5;
const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

/** The program of go-tunnel's agents, as it builds. */
export const GO_TUNNEL_PROGRAM = "gotunnel-client";

const DIRECTIONS = [{ kind: "up", service: "sink" }, { kind: "down", service: "source" }] as const;

const throughput: MetricInfo = { unit: "MiB/s", better: "more" };
const perSecond: MetricInfo = { unit: "/s", better: "more" };
const factor: MetricInfo = { unit: "×", better: "more" };
const cpu: MetricInfo = { unit: "s/GiB", better: "less" };

/** Bulk to a service by `postern access`, and right after the same by the public port of its tunnel. */
export const accessScenario: TunnelScenario = {
  name: "access",
  metrics: Object.assign(
    {},
    ...DIRECTIONS.map(({ kind }) => ({
      [`access ${kind}, 1 stream`]: throughput,
      [`access ${kind} ÷ TCP tunnel`]: factor,
      [`access ${kind}, CPU`]: cpu,
      [`access ${kind}, CPU of the TCP tunnel`]: cpu,
    })),
  ),
  async run(context) {
    const values: Values[] = [];
    for (const direction of DIRECTIONS) values.push(await compareAccess(context, direction) ?? {});
    return values.some((some) => Object.keys(some).length > 0) ? Object.assign({}, ...values) : undefined;
  },
};

/** Requests to an agent of go-tunnel, and right before the same to one of ours: same service, same gateway. */
export const goTunnelScenario: TunnelScenario = {
  name: "go-tunnel",
  missing: missingOf(GO_TUNNEL_PROGRAM),
  metrics: {
    "HTTP by go-tunnel": perSecond,
    "HTTP by go-tunnel ÷ by our agent": factor,
    "HTTP by go-tunnel, p99": { unit: "µs", better: "less" },
  },
  async run(context) {
    const { peer } = context;
    if (!peer.startGoTunnel || !peer.http) return undefined;
    await using detour = await peer.startGoTunnel();
    const ready = { kind: "ready", seconds: 30 } as const;
    const { host, ...to } = detour.to;
    await context.clients.run({ ...ready, to, host });
    const own = await requests(context, peer.http);
    const theirs = await requests(context, detour.to);
    return {
      "HTTP by go-tunnel": theirs.perSecond,
      "HTTP by go-tunnel ÷ by our agent": theirs.perSecond / own.perSecond,
      "HTTP by go-tunnel, p99": theirs.p99Us,
    };
  },
};

async function requests({ clients, size }: TunnelContext, target: HttpTarget): Promise<Rate> {
  const { host, ...to } = target;
  const job = { kind: "keep-alive", to, host, connections: CONNECTIONS } as const;
  await clients.run({ ...job, seconds: WARM_UP_SECONDS });
  return await clients.run({ ...job, seconds: size.seconds });
}

async function compareAccess(
  context: TunnelContext,
  { kind, service }: { readonly kind: "up" | "down"; readonly service: BulkService },
): Promise<Values | undefined> {
  const { peer } = context;
  if (!peer.startAccess) return undefined;
  await using detour = await peer.startAccess(service);
  const pids = pidsOf(peer);
  const access = await bulk(context, kind, detour.to, [...pids, detour.pid]);
  const tunnel = await bulk(context, kind, peer.stream(service), pids);
  return {
    [`access ${kind}, 1 stream`]: access.bytesPerSecond / MIB,
    [`access ${kind} ÷ TCP tunnel`]: access.bytesPerSecond / tunnel.bytesPerSecond,
    [`access ${kind}, CPU`]: access.cpuSecondsPerGib,
    [`access ${kind}, CPU of the TCP tunnel`]: tunnel.cpuSecondsPerGib,
  };
}

async function bulk(
  { clients, size: { seconds } }: TunnelContext,
  kind: "up" | "down",
  to: TunnelTarget,
  pids: readonly number[],
): Promise<Throughput & { readonly cpuSecondsPerGib: number }> {
  await clients.run({ kind, to, connections: 1, seconds: WARM_UP_SECONDS });
  const before = await cpuSecondsOf(pids);
  const result = await clients.run({ kind, to, connections: 1, seconds });
  const spent = await cpuSecondsOf(pids) - before;
  return { ...result, cpuSecondsPerGib: spent * GIB / (result.bytesPerSecond * seconds) };
}
