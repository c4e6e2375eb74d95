import type { LoadGenerator } from "./helper.ts";
import type { BackendPorts } from "./jobs.ts";
import { settledBytes } from "./memory.ts";
import type { Peer, PeerKind } from "./peers.ts";
import type { MetricInfo, Values } from "./report.ts";

/** How much of everything. */
export interface Size {
  /** Of each measurement. */
  readonly seconds: number;
  readonly idleConnections: number;
  readonly silentConnections: number;
}

/** One measurement of one peer. */
export interface Scenario {
  readonly name: string;
  readonly metrics: Readonly<Record<string, MetricInfo>>;
  measures(kind: PeerKind): boolean;
  run(context: Context): Promise<Values>;
}

export interface Context {
  readonly load: LoadGenerator;
  readonly size: Size;
  readonly kind: PeerKind;
  readonly backends: BackendPorts;
  /** Kept running during the whole bench. */
  readonly peer: Peer;
}

/** As many as a busy small site has in flight. */
const CONNECT_LANES = 64;
const RTT_CONNECTIONS = 32;
/** A client that should not notice what others do: it does not load the proxy itself. */
const GOOD_CLIENT_LANES = 4;
const MIB = 1024 * 1024;
const KIB = 1024;

const throughput: MetricInfo = { unit: "MiB/s", better: "more" };
const microseconds: MetricInfo = { unit: "µs", better: "less" };
const kibibytes: MetricInfo = { unit: "KiB", better: "less" };

/** In the order of the rows. */
export const SCENARIOS: readonly Scenario[] = [
  throughputScenario("up", 1),
  throughputScenario("up", 8),
  throughputScenario("down", 1),
  throughputScenario("down", 8),
  {
    name: "connect",
    metrics: { "connections/s": { unit: "/s", better: "more" }, "connect p99": microseconds },
    measures: () => true,
    async run({ load, size, peer }) {
      const rate = await load.run({
        kind: "connect",
        to: peer.target("echo"),
        parallel: CONNECT_LANES,
        seconds: size.seconds,
      });
      return { "connections/s": rate.perSecond, "connect p99": rate.p99Us };
    },
  },
  {
    name: "rtt",
    metrics: {
      "round trips/s": { unit: "/s", better: "more" },
      "round trip p50": microseconds,
      "round trip p99": microseconds,
    },
    measures: () => true,
    async run({ load, size, peer }) {
      const rate = await load.run({
        kind: "rtt",
        to: peer.target("echo"),
        connections: RTT_CONNECTIONS,
        seconds: size.seconds,
      });
      return { "round trips/s": rate.perSecond, "round trip p50": rate.p50Us, "round trip p99": rate.p99Us };
    },
  },
  {
    name: "idle",
    metrics: {
      "memory/idle connection": kibibytes,
      "process/idle connection": kibibytes,
      "process at start": kibibytes,
    },
    measures: (kind) => kind.name !== "direct",
    run: idleMemory,
  },
  {
    name: "silent",
    metrics: {
      "memory/silent connection": kibibytes,
      "good client p99": microseconds,
      "good client p99 beside silent": microseconds,
      "good client p99 ratio": { unit: "×", better: "less" },
      "silent connections kept": { unit: "", better: "more" },
    },
    measures: (kind) => kind.holdsCrowds,
    run: silentConnections,
  },
];

function throughputScenario(direction: "up" | "down", connections: number): Scenario {
  const metric = `${direction}, ${connections} connection${connections > 1 ? "s" : ""}`;
  return {
    name: `${direction}-${connections}`,
    metrics: { [metric]: throughput },
    measures: () => true,
    async run({ load, size, peer }) {
      const to = peer.target(direction === "up" ? "sink" : "source");
      const result = await load.run({ kind: direction, to, connections, seconds: size.seconds });
      return { [metric]: result.bytesPerSecond / MIB };
    },
  };
}

/** A fresh process: what an earlier measurement made it take does not come back to the system. */
async function idleMemory({ load, size, kind, backends }: Context): Promise<Values> {
  await using fresh = await kind.start(backends);
  const pid = pidOf(fresh, kind);
  const before = await settledBytes(pid);
  const to = fresh.target("echo");
  await load.run({ kind: "hold", to, connections: size.idleConnections, how: "relayed" });
  const after = await settledBytes(pid);
  const { alive } = await load.run({ kind: "release" });
  if (alive !== size.idleConnections) {
    throw new Error(`"${kind.name}" held ${alive} of ${size.idleConnections}`);
  }
  return {
    "memory/idle connection": (after - before) / KIB / size.idleConnections,
    "process/idle connection": after / KIB / size.idleConnections,
    "process at start": before / KIB,
  };
}

/** What one client that behaves sees, without and with many others that connect and say nothing. */
async function silentConnections({ load, size, kind, backends }: Context): Promise<Values> {
  await using fresh = await kind.start(backends);
  const pid = pidOf(fresh, kind);
  const to = fresh.target("echo");
  const { crowdAddress } = fresh;
  if (!crowdAddress) throw new TypeError(`"${kind.name}" has no address for a crowd`);
  const goodClient = () =>
    load.run({ kind: "connect", to, parallel: GOOD_CLIENT_LANES, seconds: size.seconds });
  await goodClient(); // Warm, so that the memory of the first connections is not counted as that of silent ones.
  const alone = await goodClient();
  const before = await settledBytes(pid);
  await load.run({
    kind: "hold",
    to: { ...to, address: crowdAddress },
    connections: size.silentConnections,
    how: "silent",
  });
  const after = await settledBytes(pid);
  const beside = await goodClient();
  const { alive } = await load.run({ kind: "release" });
  return {
    "memory/silent connection": (after - before) / KIB / size.silentConnections,
    "good client p99": alone.p99Us,
    "good client p99 beside silent": beside.p99Us,
    "good client p99 ratio": beside.p99Us / alone.p99Us,
    "silent connections kept": alive,
  };
}

function pidOf(peer: Peer, kind: PeerKind): number {
  if (peer.pid === undefined) throw new TypeError(`"${kind.name}" has no process to measure`);
  return peer.pid;
}
