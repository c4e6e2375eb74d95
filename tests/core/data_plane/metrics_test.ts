import assert from "node:assert/strict";
import {
  DATA_PLANE_METRICS,
  DataPlaneMetrics,
  MAX_LABEL_VALUES,
  MetricRegistry,
  NO_PLUGIN,
  OTHER,
  sumBy,
} from "../../../core/data_plane/metrics.ts";
import type { CounterSample, MetricsSnapshot } from "../../../core/data_plane/snapshot.ts";

function valueOf(
  samples: readonly CounterSample[],
  name: string,
  labels: Record<string, string>,
): number | undefined {
  return samples.find((s) => s.name === name && Object.entries(labels).every(([k, v]) => s.labels[k] === v))
    ?.value;
}

Deno.test("a registry gives one child for one set of labels, in whatever order they are written", () => {
  const registry = new MetricRegistry();
  registry.counter("a", { x: "1", y: "2" }).add(1);
  registry.counter("a", { y: "2", x: "1" }).add(2);
  registry.counter("a", { x: "2", y: "1" }).add(4);
  assert.deepEqual(registry.snapshot().counters.map(({ value }) => value), [3, 4]);
});

Deno.test("a histogram puts a value into the first bucket that it does not exceed", () => {
  const registry = new MetricRegistry();
  const histogram = registry.histogram("h", {}, [1, 2, 5]);
  for (const seconds of [-1, 0, 1, 1.0001, 2, 5, 5.1]) histogram.observe(seconds);
  assert.deepEqual(registry.snapshot().histograms[0]?.counts, [3, 2, 1, 1]);
});

Deno.test("a histogram drops what is not finite, which would spoil the sum for good", () => {
  const registry = new MetricRegistry();
  const histogram = registry.histogram("h", {}, [1]);
  histogram.observe(NaN);
  histogram.observe(Infinity);
  histogram.observe(0.5);
  assert.deepEqual(registry.snapshot().histograms[0], {
    name: "h",
    labels: {},
    bounds: [1],
    counts: [1, 0],
    sum: 0.5,
  });
});

Deno.test("a histogram's bounds must rise", () => {
  assert.throws(() => new MetricRegistry().histogram("h", {}, [1, 1]), RangeError);
});

Deno.test("a snapshot shares nothing with the registry and survives a structured clone", () => {
  const metrics = new DataPlaneMetrics();
  metrics.prefaceRead(0.001);
  const before = metrics.snapshot();
  const copy = structuredClone(before);
  metrics.prefaceRead(0.001);
  assert.deepEqual(before, copy);
});

Deno.test("connections are counted by listener, plugin and result", () => {
  const metrics = new DataPlaneMetrics();
  for (const result of ["ok", "ok", "reset"]) {
    metrics.connectionOpened("static");
    metrics.connectionClosed("0.0.0.0:443", "static", result, 10, 20);
  }
  metrics.connectionOpened("static");
  metrics.connectionClosed("0.0.0.0:443", undefined, "client_closed", 0, 0);

  const { counters, gauges } = metrics.snapshot();
  const listener = "0.0.0.0:443";
  assert.equal(valueOf(counters, "connections_total", { listener, plugin: "static", result: "ok" }), 2);
  assert.equal(valueOf(counters, "connections_total", { listener, plugin: "static", result: "reset" }), 1);
  assert.equal(
    valueOf(counters, "connections_total", { listener, plugin: NO_PLUGIN, result: "client_closed" }),
    1,
  );
  assert.equal(valueOf(gauges, "connections_active", { plugin: "static" }), 1);
  assert.equal(valueOf(gauges, "connections_active", { plugin: NO_PLUGIN }), undefined);
  assert.equal(valueOf(counters, "bytes_total", { direction: "in", plugin: "static" }), 30);
  assert.equal(valueOf(counters, "bytes_total", { direction: "out", plugin: "static" }), 60);
});

Deno.test("the bytes of open connections show in a snapshot, and are not counted twice when they close", () => {
  const metrics = new DataPlaneMetrics();
  metrics.connectionOpened("static");
  const open = [{ plugin: "static", bytesIn: 5, bytesOut: 7 }, { bytesIn: 99, bytesOut: 99 }];
  const during = metrics.snapshot(open);
  assert.deepEqual(sumBy([during], "bytes_total", "direction"), { in: 5, out: 7 });
  metrics.connectionClosed("l", "static", "ok", 6, 8);
  assert.deepEqual(sumBy([metrics.snapshot()], "bytes_total", "direction"), { in: 6, out: 8 });
});

Deno.test("times go into a histogram each, by plugin where there is one", () => {
  const metrics = new DataPlaneMetrics();
  metrics.prefaceRead(0.002);
  metrics.routed("static", 0.00002);
  metrics.routed("other-plugin", 0.3);
  metrics.dialed("static", 0.004);
  metrics.handshake(0.02);
  const counted = metrics.snapshot().histograms.map(({ name, labels, counts }) =>
    `${name} ${labels.plugin ?? ""} ${counts.reduce((a, b) => a + b)}`.trim()
  );
  assert.deepEqual(counted.sort(), [
    "connect_seconds static 1",
    "preface_seconds  1",
    "route_seconds other-plugin 1",
    "route_seconds static 1",
    "tls_handshake_seconds  1",
  ]);
});

Deno.test("values of a label past the bound share one child: strangers can't grow the table", () => {
  const metrics = new DataPlaneMetrics();
  for (let i = 0; i < 10_000; i++) {
    metrics.rejected(`reason-${i}`);
    metrics.connectionClosed("l", "static", `result-${i}`, 0, 0);
  }
  const { counters } = metrics.snapshot();
  const rejected = counters.filter(({ name }) => name === "rejected_total");
  assert.equal(rejected.length, MAX_LABEL_VALUES + 1);
  assert.equal(valueOf(rejected, "rejected_total", { reason: OTHER }), 10_000 - MAX_LABEL_VALUES);
  assert.equal(counters.filter(({ name }) => name === "connections_total").length, MAX_LABEL_VALUES + 1);
});

Deno.test("the live bytes of a plugin past the bound go where its closed ones go", () => {
  const metrics = new DataPlaneMetrics();
  for (let i = 0; i <= MAX_LABEL_VALUES; i++) metrics.connectionClosed("l", `p${i}`, "ok", 1, 1);
  const open = [{ plugin: "one more", bytesIn: 5, bytesOut: 0 }];
  const { counters } = metrics.snapshot(open);
  assert.equal(valueOf(counters, "bytes_total", { direction: "in", plugin: OTHER }), 6);
});

Deno.test("sumBy() adds up the same label over planes, and takes a label named like a prototype for a name", () => {
  const plane = (reason: string, value: number): MetricsSnapshot => ({
    counters: [{ name: "rejected_total", labels: { reason }, value }],
    gauges: [],
    histograms: [],
  });
  const sums = sumBy([plane("a", 1), plane("a", 2), plane("__proto__", 4)], "rejected_total", "reason");
  assert.deepEqual(Object.entries(sums), [["a", 3], ["__proto__", 4]]);
});

Deno.test("every metric that a data plane counts has a help text", () => {
  const metrics = new DataPlaneMetrics();
  metrics.connectionOpened("p");
  metrics.connectionClosed("l", "p", "ok", 1, 1);
  metrics.rejected("r");
  metrics.routed("p", 1);
  metrics.dialed("p", 1);
  const { counters, gauges, histograms } = metrics.snapshot();
  const names = new Set([...counters, ...gauges, ...histograms].map(({ name }) => name));
  assert.deepEqual([...names].sort(), Object.keys(DATA_PLANE_METRICS).sort());
});
