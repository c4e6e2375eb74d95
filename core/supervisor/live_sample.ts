import { sumBy } from "../data_plane/metrics.ts";
import type { LiveSample } from "../data_plane/snapshot.ts";
import type { Reports } from "./overview.ts";

/**
 * Adds up what the parts of the gateway have counted.
 *
 * @param open Connections that are open now.
 */
export function liveSample({ planes, plugins }: Reports, open: number): LiveSample {
  const metrics = planes.map((report) => report.metrics);
  const bytes = sumBy(metrics, "bytes_total", "direction");
  const ended = Object.values(sumBy(metrics, "connections_total", "result")).reduce((a, b) => a + b, 0);
  return {
    time: Date.now(),
    connections: { active: open, total: ended + open },
    tunnels: sumOf(plugins, "tunnels_active"),
    bytes: { in: bytes["in"] ?? 0, out: bytes["out"] ?? 0 },
    requests: sumOf(plugins, "http_requests_total"),
    rejected: sumBy(metrics, "rejected_total", "reason"),
    memory: Deno.memoryUsage().rss,
  };
}

/** One metric of the plugins, over all of its labels. */
function sumOf(plugins: Reports["plugins"], name: string): number {
  let sum = 0;
  for (const { metrics } of [...plugins.values()].flat()) {
    for (const sample of metrics) {
      if (sample.name === name && sample.type !== "histogram") sum += sample.value;
    }
  }
  return sum;
}
