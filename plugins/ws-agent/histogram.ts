import type { MetricSample } from "../../core/plugin/mod.ts";

/** Counts how long things take, in buckets of fixed bounds. */
export class Histogram {
  readonly #bounds: readonly number[];
  /** How many fell into each bucket and none before it; the last is for what is over every bound. */
  readonly #counts: Uint32Array;
  #sum = 0;

  /** @param bounds The upper bound of each bucket, inside; rising. */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = new Uint32Array(bounds.length + 1);
  }

  record(value: number): void {
    let bucket = 0;
    while (bucket < this.#bounds.length && value > (this.#bounds[bucket] ?? Infinity)) bucket++;
    this.#counts[bucket]!++;
    this.#sum += value;
  }

  sample(name: string, help: string): MetricSample {
    let count = 0;
    const buckets = this.#bounds.map((le, i) => ({ le, count: count += this.#counts[i] ?? 0 }));
    count += this.#counts[this.#bounds.length] ?? 0;
    return { name, help, type: "histogram", labels: {}, buckets, sum: this.#sum, count };
  }
}
