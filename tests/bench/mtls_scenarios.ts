import { cpuSeconds } from "./cpu.ts";
import type { MtlsPeer, MtlsPeerKind } from "./mtls_peers.ts";
import type { MetricInfo, Values } from "./report.ts";
import { percentile } from "./statistics.ts";
import type { TlsLoad } from "./tls_load.ts";

export interface MtlsContext {
  readonly load: TlsLoad;
  readonly peer: MtlsPeer;
  /** Of each measurement. */
  readonly seconds: number;
}

/** One measurement of one peer. */
export interface MtlsScenario {
  readonly name: string;
  readonly metrics: Readonly<Record<string, MetricInfo>>;
  measures(kind: MtlsPeerKind): boolean;
  run(context: MtlsContext): Promise<Values>;
}

/** As many as keep one thread busy while each of them waits for its own handshake. */
const CONNECT_LANES = 32;
const RTT_CONNECTIONS = 32;
/** What every proxy here can still do without a queue. */
const PACED_PER_SECOND = 500;
const MIB = 1024 * 1024;

const microseconds: MetricInfo = { unit: "µs", better: "less" };

/** In the order of the rows. What a proxy takes of the processor tells of it even where the client is the bottleneck. */
export const MTLS_SCENARIOS: readonly MtlsScenario[] = [
  throughputScenario("up", 1),
  throughputScenario("up", 4),
  throughputScenario("down", 1),
  throughputScenario("down", 4),
  {
    name: "connect",
    metrics: { "connections/s": { unit: "/s", better: "more" }, "cpu/connection": microseconds },
    measures: () => true,
    async run({ load, peer, seconds }) {
      const to = peer.target("echo");
      const [rate, cpu] = await withCpu(
        peer,
        () => load.run({ kind: "connect", to, parallel: CONNECT_LANES, seconds }),
      );
      return {
        "connections/s": rate.perSecond,
        "cpu/connection": cpu * 1e6 / (rate.perSecond * seconds),
      };
    },
  },
  {
    name: "paced",
    metrics: {
      [`connect p50 at ${PACED_PER_SECOND}/s`]: microseconds,
      [`connect p99 at ${PACED_PER_SECOND}/s`]: microseconds,
      "authorization p50": microseconds,
      "authorization p99": microseconds,
    },
    measures: () => true,
    async run({ load, peer, seconds }) {
      const to = peer.target("echo");
      const rate = await load.run({ kind: "paced", to, perSecond: PACED_PER_SECOND, seconds });
      return {
        [`connect p50 at ${PACED_PER_SECOND}/s`]: rate.p50Us,
        [`connect p99 at ${PACED_PER_SECOND}/s`]: rate.p99Us,
        ...authorizationTimes(peer),
      };
    },
  },
  {
    name: "rtt",
    metrics: {
      "round trips/s": { unit: "/s", better: "more" },
      "round trip p50": microseconds,
      "round trip p99": microseconds,
    },
    measures: (kind) => !isOverDatabase(kind),
    async run({ load, peer, seconds }) {
      const to = peer.target("echo");
      const rate = await load.run({ kind: "rtt", to, connections: RTT_CONNECTIONS, seconds });
      return { "round trips/s": rate.perSecond, "round trip p50": rate.p50Us, "round trip p99": rate.p99Us };
    },
  },
];

function throughputScenario(direction: "up" | "down", connections: number): MtlsScenario {
  const metric = `${direction}, ${connections} connection${connections > 1 ? "s" : ""}`;
  const cpuMetric = `cpu/MiB ${metric}`;
  return {
    name: `${direction}-${connections}`,
    metrics: { [metric]: { unit: "MiB/s", better: "more" }, [cpuMetric]: microseconds },
    measures: (kind) => !isOverDatabase(kind),
    async run({ load, peer, seconds }) {
      const to = peer.target(direction === "up" ? "sink" : "source");
      const [{ bytesPerSecond }, cpu] = await withCpu(
        peer,
        () => load.run({ kind: direction, to, connections, seconds }),
      );
      const mib = bytesPerSecond / MIB;
      // It also works while the client warms up, by a tenth more as a rule: the same for all.
      return { [metric]: mib, [cpuMetric]: cpu * 1e6 / (mib * seconds) };
    },
  };
}

/** From the verified certificate to the decision, as the gateway's own audit log has it. */
function authorizationTimes({ authorizationsMs }: MtlsPeer): Values {
  if (authorizationsMs === undefined) return {};
  const sorted = Float64Array.from(authorizationsMs()).sort();
  if (sorted.length === 0) throw new Error("The gateway's log tells of no decision");
  return {
    "authorization p50": percentile(sorted, 0.5) * 1000,
    "authorization p99": percentile(sorted, 0.99) * 1000,
  };
}

/** How such a gateway decides makes no difference to what it moves. */
function isOverDatabase({ name }: MtlsPeerKind): boolean {
  return name.startsWith("postern-db");
}

/** What `work` comes to, and the seconds of processor time that the peer took for it. */
async function withCpu<T>({ pid }: MtlsPeer, work: () => Promise<T>): Promise<[T, number]> {
  const before = await cpuSeconds(pid);
  const result = await work();
  return [result, await cpuSeconds(pid) - before];
}
