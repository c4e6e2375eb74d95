import assert from "node:assert/strict";
import { Histogram } from "../../../plugins/ws-agent/histogram.ts";

Deno.test("buckets hold what is at most their bound, and those before them", () => {
  const histogram = new Histogram([0.1, 1, 10]);
  for (const value of [0.05, 0.1, 0.5, 1, 1.5, 100]) histogram.record(value);
  assert.deepEqual(histogram.sample("x", "y"), {
    name: "x",
    help: "y",
    type: "histogram",
    labels: {},
    buckets: [{ le: 0.1, count: 2 }, { le: 1, count: 4 }, { le: 10, count: 5 }],
    sum: 103.15,
    count: 6,
  });
});
