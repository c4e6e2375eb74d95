import assert from "node:assert/strict";
import type { DistributionSample, MetricSample, NumberSample } from "../../../core/plugin/reports.ts";
import { mergeSamples } from "../../../core/supervisor/merge_samples.ts";

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
