import assert from "node:assert/strict";
import { DataPlaneMetrics } from "../../../core/data_plane/metrics.ts";
import type { CertificateRow, MetricsSnapshot } from "../../../core/data_plane/snapshot.ts";
import { orderSamples } from "../../../core/supervisor/certificate_rows.ts";
import type { DistributionSample, MetricSample, NumberSample } from "../../../core/plugin/reports.ts";
import { parseExposition } from "./exposition.ts";
import { openAdmin, request, STATUS } from "./harness.ts";
import { granted } from "../../support/permissions.ts";

async function scrape(
  planes: readonly MetricsSnapshot[],
  plugins: readonly MetricSample[] = [],
  token?: string,
  certificates: readonly CertificateRow[] = [],
) {
  await using admin = await openAdmin(
    {
      metrics: () => Promise.resolve({ planes, plugins }),
      status: () => Promise.resolve({ ...STATUS, certificates }),
    },
    token === undefined ? {} : { token },
  );
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  if (token !== undefined) {
    await request(admin.address, { path: "/metrics", headers: { authorization: "Bearer no" } });
  }
  const answer = await request(admin.address, { path: "/metrics", headers });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  const families = parseExposition(answer.body);
  for (const name of families.keys()) assert.match(name, /^postern_/);
  return families;
}

function sampleOf(
  families: Awaited<ReturnType<typeof scrape>>,
  family: string,
  labels: Record<string, string>,
  name = family,
): number | undefined {
  return families.get(`postern_${family}`)?.samples.find((sample) =>
    sample.name === `postern_${name}` && Object.entries(labels).every(([k, v]) => sample.labels[k] === v)
  )?.value;
}

function busyPlane(): DataPlaneMetrics {
  const metrics = new DataPlaneMetrics();
  metrics.connectionOpened("static");
  metrics.connectionOpened("static");
  metrics.connectionClosed("0.0.0.0:443", "static", "ok", 100, 200);
  metrics.rejected("unknown_name");
  metrics.prefaceRead(0.0007);
  metrics.prefaceRead(0.003);
  metrics.prefaceRead(99);
  metrics.routed("static", 0.00002);
  metrics.dialed("static", 0.002);
  metrics.handshake(0.02);
  return metrics;
}

Deno.test("/metrics adds up what all data planes have counted", async () => {
  const families = await scrape([busyPlane().snapshot(), busyPlane().snapshot()]);
  const listener = "0.0.0.0:443";
  assert.equal(sampleOf(families, "connections_total", { listener, plugin: "static", result: "ok" }), 2);
  assert.equal(sampleOf(families, "connections_active", { plugin: "static" }), 2);
  assert.equal(sampleOf(families, "bytes_total", { direction: "out", plugin: "static" }), 400);
  assert.equal(sampleOf(families, "rejected_total", { reason: "unknown_name" }), 2);
  assert.equal(families.get("postern_connections_total")?.type, "counter");
  assert.equal(families.get("postern_connections_active")?.type, "gauge");
  assert.equal(families.get("postern_route_seconds")?.type, "histogram");
});

Deno.test("/metrics cumulates the buckets of a histogram", async () => {
  const families = await scrape([busyPlane().snapshot(), busyPlane().snapshot()]);
  const bucket = (le: string) => sampleOf(families, "preface_seconds", { le }, "preface_seconds_bucket");
  assert.deepEqual(["0.0005", "0.001", "0.0025", "0.005", "10", "+Inf"].map(bucket), [0, 2, 2, 4, 4, 6]);
  assert.equal(sampleOf(families, "preface_seconds", {}, "preface_seconds_count"), 6);
  assert.ok(Math.abs(sampleOf(families, "preface_seconds", {}, "preface_seconds_sum")! - 198.0074) < 1e-9);
});

Deno.test("/metrics has the state of the plugins and of the process", async () => {
  const families = await scrape([]);
  assert.equal(sampleOf(families, "plugin_up", { plugin: "static" }), 1);
  assert.equal(sampleOf(families, "plugin_restarts_total", { plugin: "static" }), 1);
  assert.equal(sampleOf(families, "build_info", { version: "1.2.3" }), 1);
  assert.equal(sampleOf(families, "start_time_seconds", {}), 1_700_000_000);
  assert.equal(sampleOf(families, "resident_memory_bytes", {}), 50_000_000);
});

Deno.test("/metrics has when each certificate expires, by a name that no other one has, and how many are of use", async () => {
  const row = { source: "files", notAfter: "2030-01-01T00:00:00.000Z", state: "valid" } as const;
  const families = await scrape([], [], undefined, [
    { ...row, names: ["a.example", "b.example"] },
    { ...row, names: ["a.example"], notAfter: "2031-01-01T00:00:00.000Z" }, // no name of its own
    { ...row, names: ["a.example", "d.example"], notAfter: "2032-01-01T00:00:00.000Z" },
    { source: "acme", names: ["c.example"], notAfter: "", state: "pending" },
  ]);
  const expiry = families.get("postern_certificate_expiry_timestamp_seconds")?.samples;
  assert.deepEqual(expiry?.map(({ labels, value }) => [labels["name"], labels["source"], value]), [
    ["a.example", "files", Date.parse("2030-01-01") / 1000],
    ["d.example", "files", Date.parse("2032-01-01") / 1000],
  ]);
  assert.equal(sampleOf(families, "certificates", { source: "files", state: "valid" }), 3);
  assert.equal(sampleOf(families, "certificates", { source: "acme", state: "pending" }), 1);
});

Deno.test("/metrics counts refused tokens", async () => {
  const families = await scrape([], [], "right");
  assert.equal(sampleOf(families, "auth_failures_total", { plugin: "admin", reason: "wrong_token" }), 1);
});

function sample(given: Partial<NumberSample>): NumberSample {
  return { name: "mine", help: "h", type: "gauge", labels: {}, value: 1, ...given };
}

Deno.test("/metrics has what plugins count, added up over the instances of an inline plugin", async () => {
  const families = await scrape([], [
    sample({ name: "tunnels_active", help: "Tunnels.", labels: { plugin: "a" } }),
    sample({ name: "tunnels_active", help: "Tunnels.", labels: { plugin: "a" }, value: 2 }),
    sample({ name: "tunnels_active", help: "Tunnels.", labels: { plugin: "b" } }),
  ]);
  assert.equal(sampleOf(families, "tunnels_active", { plugin: "a" }), 3);
  assert.equal(sampleOf(families, "tunnels_active", { plugin: "b" }), 1);
  assert.equal(families.get("postern_tunnels_active")?.help, "Tunnels.");
});

const UNUSABLE: readonly { what: string; sample: MetricSample }[] = [
  { what: "a name with a space", sample: sample({ name: "a b" }) },
  { what: "a name with a newline", sample: sample({ name: "a 1\npostern_plugin_up" }) },
  { what: "no name", sample: sample({ name: "" }) },
  { what: "a label name with a quote", sample: sample({ labels: { 'x="1",y': "2" } }) },
  { what: "a label name of Prometheus's own", sample: sample({ labels: { __name__: "up" } }) },
  { what: "no number", sample: sample({ value: NaN }) },
  { what: "a type that there is not", sample: sample({ type: "x\n# TYPE y" as "gauge" }) },
  { what: "the gateway's own name", sample: sample({ name: "plugin_up", labels: { plugin: "static" } }) },
  { what: "a part of the gateway's histogram", sample: sample({ name: "preface_seconds_count" }) },
];
function histogram(given: Partial<DistributionSample> = {}): DistributionSample {
  const buckets = [{ le: 0.1, count: 1 }, { le: 1, count: 3 }];
  return { name: "mine", help: "h", type: "histogram", labels: {}, buckets, sum: 7, count: 4, ...given };
}

Deno.test("/metrics has a plugin's histograms, added up over equal labels", async () => {
  const families = await scrape([], [
    histogram({ labels: { code: "2xx" } }),
    histogram({ labels: { code: "2xx" } }),
    histogram({ labels: { code: "5xx" }, buckets: [], sum: 0, count: 0 }),
  ]);
  assert.equal(families.get("postern_mine")?.type, "histogram");
  const bucket = (le: string) => sampleOf(families, "mine", { code: "2xx", le }, "mine_bucket");
  assert.deepEqual(["0.1", "1", "+Inf"].map(bucket), [2, 6, 8]);
  assert.equal(sampleOf(families, "mine", { code: "2xx" }, "mine_sum"), 14);
  assert.equal(sampleOf(families, "mine", { code: "5xx" }, "mine_count"), 0);
});

const UNUSABLE_HISTOGRAMS: readonly { what: string; given: Partial<DistributionSample> }[] = [
  { what: "bounds that do not rise", given: { buckets: [{ le: 1, count: 1 }, { le: 1, count: 1 }] } },
  { what: "an infinite bound", given: { buckets: [{ le: Infinity, count: 4 }] } },
  { what: "counts that fall", given: { buckets: [{ le: 1, count: 3 }, { le: 2, count: 2 }] } },
  { what: "a bucket with more than there is", given: { buckets: [{ le: 1, count: 5 }] } },
  { what: "a count below zero", given: { buckets: [{ le: 1, count: -1 }] } },
  { what: "a bucket that is none", given: { buckets: [null as unknown as { le: number; count: number }] } },
  { what: "no buckets at all", given: { buckets: undefined as unknown as [] } },
  { what: "too many buckets", given: { buckets: Array.from({ length: 65 }, (_, le) => ({ le, count: 1 })) } },
  { what: "no sum", given: { sum: NaN } },
  { what: "a label of the format's own", given: { labels: { le: "1" } } },
  { what: "the gateway's own name", given: { name: "preface_seconds" } },
  { what: "parts that the gateway's own histogram has", given: { name: "preface_seconds_bucket" } },
];
for (const { what, given } of UNUSABLE_HISTOGRAMS) {
  Deno.test(`/metrics leaves out a plugin's histogram with ${what}`, async () => {
    const plane = busyPlane().snapshot();
    const withSample = await scrape([plane], [histogram(given)]);
    assert.deepEqual(withSample, await scrape([plane]));
  });
}

for (const type of ["counter", "histogram"] as const) {
  Deno.test(`/metrics keeps a plugin's histogram apart from its ${type} of the same lines`, async () => {
    const other = type === "counter"
      ? sample({ name: "mine_count", type })
      : histogram({ name: "mine_count", buckets: [] });
    assert.deepEqual(
      [...(await scrape([], [histogram(), other])).keys()].includes("postern_mine_count"),
      false,
    );
    assert.deepEqual([...(await scrape([], [other, histogram()])).keys()].includes("postern_mine"), false);
  });
}

for (const { what, sample } of UNUSABLE) {
  Deno.test(`/metrics leaves out a plugin's sample with ${what}`, async () => {
    const plane = busyPlane().snapshot();
    const without = await scrape([plane]);
    const withSample = await scrape([plane], [sample]);
    assert.deepEqual([...withSample.keys()], [...without.keys()]);
    assert.equal(sampleOf(withSample, "plugin_up", { plugin: "static" }), 1);
  });
}

Deno.test("/metrics counts a plugin's histograms by their lines", async () => {
  const many = Array.from({ length: 2_000 }, (_, i) => histogram({ labels: { i: `${i}` } }));
  const families = await scrape([], many);
  assert.equal(families.get("postern_mine")?.samples.length, 5_000);
});

Deno.test("/metrics takes a bounded number of samples from plugins", async () => {
  const many = Array.from({ length: 20_000 }, (_, i) => sample({ labels: { i: `${i}` } }));
  const families = await scrape([], many);
  assert.equal(families.get("postern_mine")?.samples.length, 5_000);
});

Deno.test("/metrics escapes hostile label values and help texts", async () => {
  const value = 'a"} 1\npostern_plugin_up{plugin="x"} 0\\<script>alert(1)</script>';
  const families = await scrape([], [
    sample({ labels: { name: value, null: "a\u0000b\r" }, help: "h\n# TYPE x y" }),
  ]);
  assert.equal(sampleOf(families, "mine", { name: value, null: "a\ufffdb\ufffd" }), 1);
  assert.equal(families.get("postern_plugin_up")?.samples.length, 1);
});

Deno.test({
  name: "docs/admin-api.md lists every metric of the gateway, and no other",
  ignore: !granted("read"),
  fn: async () => {
    const doc = await Deno.readTextFile(new URL("../../../docs/admin-api.md", import.meta.url));
    const section = doc.slice(doc.indexOf("## Metrics"));
    const listed = Array.from(section.matchAll(/^\| `([a-z_]+)[`{]/gm), ([, name]) => `postern_${name}`);
    const orders = orderSamples({ issued: 1, renewed: 0, failed: 0, rate_limited: 0, unreachable: 0 });
    const families = await scrape([busyPlane().snapshot()], orders, "token", [
      { names: ["a.example"], source: "files", notAfter: "2030-01-01T00:00:00.000Z", state: "valid" },
    ]);
    assert.deepEqual(listed.sort(), [...families.keys()].sort());
  },
});
