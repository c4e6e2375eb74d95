/** What a figure must reach, against something measured in the same run. */
export interface Goal {
  readonly metric: string;
  readonly peer: string;
  /** Divides by the best of these peers, round by round. Absent: the figure itself counts. */
  readonly than?: readonly string[];
  readonly atLeast?: number;
  readonly atMost?: number;
  readonly note?: string;
}

const HAPROXY = ["haproxy"];
const BETTER_OF_TWO = ["haproxy", "nginx"];
const CORES_NOTE = "where cores allow: load generator and backend share them";

/** Of `l4`. */
export const L4_GOALS: readonly Goal[] = [
  { metric: "up, 1 connection", peer: "postern", than: BETTER_OF_TWO, atLeast: 1.2 },
  { metric: "up, 8 connections", peer: "postern", than: BETTER_OF_TWO, atLeast: 1.2 },
  { metric: "down, 1 connection", peer: "postern", than: BETTER_OF_TWO, atLeast: 1.2 },
  { metric: "down, 8 connections", peer: "postern", than: BETTER_OF_TWO, atLeast: 1.2 },
  { metric: "connections/s", peer: "postern", than: HAPROXY, atLeast: 0.6, note: "aim: 0.8" },
  { metric: "round trip p50", peer: "postern", than: HAPROXY, atMost: 1.1 },
  { metric: "round trip p99", peer: "postern", than: HAPROXY, atMost: 1.6 },
  { metric: "up, 8 connections", peer: "postern-2", than: ["postern"], atLeast: 1.6, note: CORES_NOTE },
  { metric: "connections/s", peer: "postern-2", than: ["postern"], atLeast: 1.6, note: CORES_NOTE },
  { metric: "memory/idle connection", peer: "postern", atMost: 26 },
  { metric: "process/idle connection", peer: "postern", atMost: 26, note: "with all that it takes at start" },
  { metric: "memory/silent connection", peer: "postern", atMost: 10 },
  { metric: "good client p99 ratio", peer: "postern", atMost: 2 },
];

/** Of `mtls`. */
export const MTLS_GOALS: readonly Goal[] = [
  { metric: "up, 1 connection", peer: "postern", than: HAPROXY, atLeast: 0.9 },
  { metric: "up, 4 connections", peer: "postern", than: HAPROXY, atLeast: 0.9 },
  { metric: "down, 1 connection", peer: "postern", than: HAPROXY, atLeast: 0.9 },
  { metric: "down, 4 connections", peer: "postern", than: HAPROXY, atLeast: 0.9 },
  { metric: "connections/s", peer: "postern", than: HAPROXY, atLeast: 0.5 },
  { metric: "connections/s", peer: "postern-db", than: HAPROXY, atLeast: 0.5, note: "every decision cached" },
  { metric: "authorization p50", peer: "postern-db", atMost: 1000, note: "every decision cached" },
  { metric: "authorization p50", peer: "postern-db-cold", atMost: 1000, note: "every decision a query" },
];

/** Load generator, gateway and agent have two cores between them, and a big stream takes both: see `direct`. */
const SMALL_STREAM_NOTE = "waits for the processor too, as without a tunnel";
const ACCESS_NOTE = "two encrypted legs and a process more, on the same two cores: see the CPU of each";
/** Those that protect what is between gateway and agent, as `postern` does; and those that do not, as `postern-ws`. */
const ENCRYPTED = ["frp", "chisel", "rathole-noise"];
const PLAIN = ["frp-plain", "rathole", "bore"];
const MORE_IS_BETTER = [
  "HTTP VIA TCP keep-alive",
  "HTTP VIA TCP new connections",
  "up, 1 stream",
  "up, 8 streams",
  "down, 1 stream",
  "down, 8 streams",
];
const LESS_IS_BETTER = ["round trip p50", "round trip p99", "memory/idle tunnel", "memory/idle stream"];

/** Of `tunnel`. */
export const TUNNEL_GOALS: readonly Goal[] = [
  { metric: "HTTP keep-alive", peer: "postern", atLeast: 8_000 },
  { metric: "HTTPS keep-alive", peer: "postern", atLeast: 8_000 },
  { metric: "up, 1 stream", peer: "postern", atLeast: 600 },
  { metric: "down, 1 stream", peer: "postern", atLeast: 600 },
  { metric: "memory/idle tunnel", peer: "postern", atMost: 60 },
  { metric: "HTTP keep-alive", peer: "postern", than: ["frp"], atLeast: 1 },
  { metric: "HTTP new connections", peer: "postern", than: ["frp"], atLeast: 1 },
  { metric: "HTTP keep-alive", peer: "postern-ws", than: ["frp-plain"], atLeast: 1 },
  { metric: "HTTP new connections", peer: "postern-ws", than: ["frp-plain"], atLeast: 1 },
  { metric: "UDP round trips/s", peer: "postern", atLeast: 40_000 },
  { metric: "UDP loss at 20000/s", peer: "postern", atMost: 0 },
  ...["up", "down"].map((direction) => ({
    metric: `access ${direction} ÷ TCP tunnel`,
    peer: "postern",
    atLeast: 0.9,
    note: ACCESS_NOTE,
  })),
  { metric: "HTTP by go-tunnel ÷ by our agent", peer: "postern", atLeast: 0.8 },
  ...[{ peer: "postern", than: ENCRYPTED }, { peer: "postern-ws", than: PLAIN }].flatMap((pair) => [
    ...MORE_IS_BETTER.map((metric) => ({ metric, ...pair, atLeast: 1 })),
    ...LESS_IS_BETTER.map((metric) => ({ metric, ...pair, atMost: 1 })),
  ]),
  ...["", "30 ms away: "].flatMap((where) =>
    ["50 MiB/s down", "down", "up"].map((load) => ({
      metric: `${where}small stream p99 beside ${load} ÷ idle`,
      peer: "postern",
      atMost: 2,
      ...(load.startsWith("50") || where !== "" ? {} : { note: SMALL_STREAM_NOTE }),
    }))
  ),
];
