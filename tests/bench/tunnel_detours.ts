import type { Rate } from "./jobs.ts";
import { cpuSecondsOf } from "./cpu.ts";
import type { MetricInfo, Values } from "./report.ts";
import { median } from "./statistics.ts";
import type { HttpTarget, TunnelTarget } from "./tunnel_jobs.ts";
import { type BulkService, missingOf, pidsOf } from "./tunnel_kinds.ts";
import type { TunnelContext, TunnelScenario } from "./tunnel_scenarios.ts";

const CONNECTIONS = 64;
const WARM_UP_SECONDS = 0.25;
/** Both ways in turns, so that what the machine does beside hits both alike. */
const TURNS = 3;
const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

/** The program of go-tunnel's agents, as it builds. */
export const GO_TUNNEL_PROGRAM = "gotunnel-client";

const DIRECTIONS = [{ kind: "up", service: "sink" }, { kind: "down", service: "source" }] as const;

const throughput: MetricInfo = { unit: "MiB/s", better: "more" };
const perSecond: MetricInfo = { unit: "/s", better: "more" };
const factor: MetricInfo = { unit: "×", better: "more" };
const cpu: MetricInfo = { unit: "s/GiB", better: "less" };

/** Bulk to a service by `postern access`, and in turns with that the same by the public port of its tunnel. */
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

/** Requests to an agent of go-tunnel, and in turns with that the same to one of ours: same service, same gateway. */
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
    const own: number[] = [], theirs: Rate[] = [];
    for (let turn = 0; turn < TURNS; turn++) {
      own.push((await requests(context, peer.http)).perSecond);
      theirs.push(await requests(context, detour.to));
    }
    const perSecond = mean(theirs.map((rate) => rate.perSecond));
    return {
      "HTTP by go-tunnel": perSecond,
      "HTTP by go-tunnel ÷ by our agent": perSecond / mean(own),
      "HTTP by go-tunnel, p99": median(theirs.map(({ p99Us }) => p99Us)),
    };
  },
};

async function requests({ clients, size }: TunnelContext, target: HttpTarget): Promise<Rate> {
  const { host, ...to } = target;
  const job = { kind: "keep-alive", to, host, connections: CONNECTIONS } as const;
  await clients.run({ ...job, seconds: WARM_UP_SECONDS });
  return await clients.run({ ...job, seconds: size.seconds / TURNS });
}

async function compareAccess(
  context: TunnelContext,
  { kind, service }: { readonly kind: "up" | "down"; readonly service: BulkService },
): Promise<Values | undefined> {
  const { peer } = context;
  if (!peer.startAccess) return undefined;
  await using detour = await peer.startAccess(service);
  const pids = pidsOf(peer);
  const access = new Bulk(), tunnel = new Bulk();
  for (let turn = 0; turn < TURNS; turn++) {
    await access.run(context, kind, detour.to, [...pids, detour.pid]);
    await tunnel.run(context, kind, peer.stream(service), pids);
  }
  return {
    [`access ${kind}, 1 stream`]: access.bytesPerSecond / MIB,
    [`access ${kind} ÷ TCP tunnel`]: access.bytesPerSecond / tunnel.bytesPerSecond,
    [`access ${kind}, CPU`]: access.cpuSecondsPerGib,
    [`access ${kind}, CPU of the TCP tunnel`]: tunnel.cpuSecondsPerGib,
  };
}

/** What came of all turns of one way. */
class Bulk {
  #bytes = 0;
  #seconds = 0;
  #cpuSeconds = 0;

  get bytesPerSecond(): number {
    return this.#bytes / this.#seconds;
  }

  get cpuSecondsPerGib(): number {
    return this.#cpuSeconds * GIB / this.#bytes;
  }

  /** @param pids The processes that the bytes go through. */
  async run(
    { clients, size }: TunnelContext,
    kind: "up" | "down",
    to: TunnelTarget,
    pids: readonly number[],
  ): Promise<void> {
    const job = { kind, to, connections: 1 } as const;
    await clients.run({ ...job, seconds: WARM_UP_SECONDS });
    const seconds = size.seconds / TURNS;
    const before = await cpuSecondsOf(pids);
    const { bytesPerSecond } = await clients.run({ ...job, seconds });
    this.#cpuSeconds += await cpuSecondsOf(pids) - before;
    this.#bytes += bytesPerSecond * seconds;
    this.#seconds += seconds;
  }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
