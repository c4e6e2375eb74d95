import type { DistributionSample, MetricSample, NumberSample } from "../plugin/reports.ts";

/** Samples of one name and one set of labels become one, as each says. */
export function mergeSamples(samples: readonly MetricSample[]): MetricSample[] {
  const merged = new Map<string, MetricSample>();
  for (const sample of samples) {
    const key = JSON.stringify([
      sample.name,
      Object.entries(sample.labels).sort(([a], [b]) => a < b ? -1 : 1),
    ]);
    const before = merged.get(key);
    merged.set(key, before ? mergeTwo(before, sample) : sample);
  }
  return [...merged.values()];
}

/** One plugin at one version has told both, so what does not fit is a fault of its own: the first stays. */
function mergeTwo(first: MetricSample, second: MetricSample): MetricSample {
  if (first.type === "histogram") {
    return second.type === "histogram" && sameBounds(first, second) ? addUp(first, second) : first;
  }
  if (second.type === "histogram") return first;
  return { ...second, value: mergerOf(second.merge)(first.value, second.value) };
}

function mergerOf(how: NumberSample["merge"]): (a: number, b: number) => number {
  if (how === "min") return Math.min;
  return how === "max" ? Math.max : (a, b) => a + b;
}

function sameBounds(a: DistributionSample, b: DistributionSample): boolean {
  return a.buckets.length === b.buckets.length && a.buckets.every(({ le }, i) => le === b.buckets[i]?.le);
}

function addUp(a: DistributionSample, b: DistributionSample): DistributionSample {
  return {
    ...a,
    buckets: a.buckets.map(({ le, count }, i) => ({ le, count: count + (b.buckets[i]?.count ?? 0) })),
    sum: a.sum + b.sum,
    count: a.count + b.count,
  };
}
