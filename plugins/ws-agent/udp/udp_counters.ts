import type { MetricSample } from "../../../core/plugin/mod.ts";

/** What became of a datagram. */
export const DATAGRAM_RESULTS = [
  "passed",
  /** Too many waited, and it was the oldest of its flow. */
  "queue_full",
  /** The agent is not there, or its service does not take the flow. */
  "no_agent",
  /** Its source would have been one more than a limit allows, or a new one while the gateway drains. */
  "over_limit",
  "too_large",
  /** An answer to a source that has not shown that it hears any. */
  "unverified",
  /** The system did not send it. */
  "not_sent",
] as const;
export type DatagramResult = (typeof DATAGRAM_RESULTS)[number];

/** From the public to a service, and back. */
export type Direction = "in" | "out";

/** Datagrams by what became of them, since the start. */
export class UdpCounters {
  readonly #counts: Readonly<Record<Direction, Record<DatagramResult, number>>> = {
    in: zeros(),
    out: zeros(),
  };

  count(direction: Direction, result: DatagramResult, datagrams = 1): void {
    this.#counts[direction][result] += datagrams;
  }

  samples(): MetricSample[] {
    return (["in", "out"] as const).flatMap((direction) =>
      DATAGRAM_RESULTS.map((result): MetricSample => ({
        name: "udp_datagrams_total",
        help: "Datagrams of udp services, to them (in) and from them (out), by what became of them.",
        type: "counter",
        labels: { direction, result },
        value: this.#counts[direction][result],
      }))
    );
  }
}

function zeros(): Record<DatagramResult, number> {
  return Object.fromEntries(DATAGRAM_RESULTS.map((result) => [result, 0])) as Record<DatagramResult, number>;
}
