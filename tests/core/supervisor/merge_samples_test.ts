import assert from "node:assert/strict";
import type { DistributionSample, MetricSample, NumberSample } from "../../../core/plugin/reports.ts";
import type { PlaneMethods } from "../../../core/data_plane/methods.ts";
import { mergeSamples } from "../../../core/supervisor/merge_samples.ts";
import { Overview } from "../../../core/supervisor/overview.ts";
import { RecentEvents } from "../../../core/supervisor/recent_events.ts";
import type { Supervisor } from "../../../core/supervisor/supervisor.ts";

function number(value: number, more: Partial<NumberSample> = {}): NumberSample {
  return { name: "n", help: "h", type: "gauge", labels: {}, value, ...more };
}

function histogram(counts: readonly number[], bounds: readonly number[] = [1, 2]): DistributionSample {
  const count = counts.at(-1) ?? 0;
  const buckets = bounds.map((le, i) => ({ le, count: counts[i] ?? 0 }));
  return { name: "n", help: "h", type: "histogram", labels: {}, buckets, sum: count * 10, count };
}

const CASES: readonly { what: string; given: MetricSample[]; merged: MetricSample[] }[] = [
  { what: "nothing", given: [], merged: [] },
  { what: "a sum", given: [number(1), number(2), number(3)], merged: [number(6)] },
  {
    what: "the least",
    given: [number(4, { merge: "min" }), number(2, { merge: "min" })],
    merged: [number(2, { merge: "min" })],
  },
  {
    what: "the greatest",
    given: [number(4, { merge: "max" }), number(2, { merge: "max" })],
    merged: [number(4, { merge: "max" })],
  },
  {
    what: "a sum where it is said in no word that is known",
    given: [number(1), number(2, { merge: "toString" as "sum" })],
    merged: [number(3, { merge: "toString" as "sum" })],
  },
  {
    what: "the same labels in another order",
    given: [number(1, { labels: { a: "1", b: "2" } }), number(2, { labels: { b: "2", a: "1" } })],
    merged: [number(3, { labels: { b: "2", a: "1" } })],
  },
  {
    what: "other names and labels apart",
    given: [number(1), number(2, { name: "m" }), number(3, { labels: { a: "1" } })],
    merged: [number(1), number(2, { name: "m" }), number(3, { labels: { a: "1" } })],
  },
  {
    what: "histograms, bucket by bucket",
    given: [histogram([1, 2, 5]), histogram([0, 3, 4])],
    merged: [histogram([1, 5, 9])],
  },
  {
    what: "the first of two that do not fit",
    given: [histogram([1, 2, 5]), histogram([1, 2, 5], [1, 3]), histogram([1, 2], [1]), number(1)],
    merged: [histogram([1, 2, 5])],
  },
  {
    what: "the first number beside a histogram",
    given: [number(1), histogram([1, 1, 1])],
    merged: [number(1)],
  },
];
for (const { what, given, merged } of CASES) {
  Deno.test(`mergeSamples() makes ${what}`, () => assert.deepEqual(mergeSamples(given), merged));
}

/** A gateway of one plugin in a worker of its own, which tells what it likes. */
function overviewOf(
  report: unknown,
  planes: Partial<Record<keyof PlaneMethods, () => unknown>> = {},
): Overview {
  const worker = { restarts: 0, rpc: { call: () => Promise.resolve(report) } };
  const supervisor: Partial<Record<keyof Supervisor, unknown>> = {
    planes: [{
      up: true,
      rpc: { call: (method: keyof PlaneMethods) => Promise.resolve(planes[method]?.()) },
    }],
    plugins: [{ name: "odd", isolation: "worker", module: "", permissions: {} }],
    pluginUnits: new Map([["odd", { worker }]]),
    limits: { open: 0 },
    recent: new RecentEvents(),
    listeners: [],
    certificates: [],
    acmeSamples: () => [],
  };
  return new Overview(supervisor as unknown as Supervisor);
}

Deno.test("a status lists the tunnels that it is asked for; where it lists none, nobody is asked for any", async () => {
  let asked = 0;
  const overview = overviewOf({ ...SOUND, metrics: [number(7, { name: "tunnels_active" })] }, {
    tunnels: () => (asked++, { active: 1, rows: [{ since: 0 }] }),
  });
  const { status } = overview.methods();
  assert.deepEqual((await status(0)).tunnels, { active: 7, oldest: [] });
  assert.equal(asked, 0);
  assert.deepEqual((await status()).tunnels, { active: 1, oldest: [{ since: 0 }] });
});

const SOUND = { status: { ready: true }, routes: [], metrics: [] };
const UNSHOWN = { ready: false, reason: "Its status cannot be shown" };
const LOOPED: Record<string, unknown> = {};
LOOPED["self"] = LOOPED;
const DEEP = JSON.parse('{"a":'.repeat(50) + "1" + "}".repeat(50));
const ROUTE = { match: "a", action: "forward" };
/** What a plugin reports, and what of it is told. */
const REPORTED: readonly (readonly [what: string, given: unknown, told: unknown])[] = [
  ["nothing", null, { ...SOUND, status: UNSHOWN }],
  ["no status", { ...SOUND, status: null }, { ...SOUND, status: UNSHOWN }],
  ["a status that is text", { ...SOUND, status: "fine" }, { ...SOUND, status: UNSHOWN }],
  ["a reason that cannot be text", { ...SOUND, status: { ready: false, reason: { toString: 1 } } }, {
    ...SOUND,
    status: { ready: false },
  }],
  ["a BigInt in its details", { ...SOUND, status: { ready: true, details: { n: 1n } } }, SOUND],
  ["details without an end", { ...SOUND, status: { ready: true, details: LOOPED } }, SOUND],
  ["details too deep", { ...SOUND, status: { ready: true, details: DEEP } }, SOUND],
  ["routes that are none", { ...SOUND, routes: 7 }, SOUND],
  ["odd routes beside a sound one", { ...SOUND, routes: [null, { match: 1n }, { ...ROUTE, more: 1n }] }, {
    ...SOUND,
    routes: [{ ...ROUTE, plugin: "odd" }],
  }],
  ["odd targets", { ...SOUND, routes: [{ ...ROUTE, targets: [null, { target: "t", healthy: 1 }] }] }, {
    ...SOUND,
    routes: [{ ...ROUTE, targets: [], plugin: "odd" }],
  }],
  ["metrics that are none", { ...SOUND, metrics: { length: 3 } }, SOUND],
  ["odd metrics beside a sound one", {
    ...SOUND,
    metrics: [
      null,
      { ...number(1), labels: null },
      { ...number(1), labels: { a: 1n } },
      { ...number(1), name: "tunnels_active", value: 1n },
      { ...number(1), name: "tunnels_active", value: "1" },
      { ...histogram([1, 1, 1]), buckets: [null] },
      number(4),
    ],
  }, { ...SOUND, metrics: [number(4)] }],
];
for (const [what, given, told] of REPORTED) {
  Deno.test(`a plugin that reports ${what} hides nothing else`, async () => {
    const { status, readiness, routes, metrics, live } = overviewOf(given).methods();
    const [plugin] = (await status()).plugins;
    const all = { status: plugin?.status, routes: await routes(), metrics: (await metrics()).plugins };
    assert.deepEqual(all, told);
    assert.equal((await readiness()).ready, plugin?.status.ready);
    assert.equal((await live(0)).sample.tunnels, 0);
    assert.deepEqual(JSON.parse(JSON.stringify(all)), all);
  });
}
