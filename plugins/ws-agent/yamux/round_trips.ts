/** A minimum is forgotten after 5 to 10 seconds: routes change. */
const PERIOD_MS = 5000;

/** The round trips of a session's pings: the last one, and the least of the last 5 to 10 seconds. */
export class RoundTrips {
  #last: number | undefined;
  #least = Infinity;
  #leastBefore = Infinity;
  #periodEnds = -Infinity;

  /** Milliseconds; absent before the first. */
  get last(): number | undefined {
    return this.#last;
  }

  /** Milliseconds; absent before the first. Without new samples the old ones stand. */
  get least(): number | undefined {
    return this.#last === undefined ? undefined : Math.min(this.#least, this.#leastBefore);
  }

  /** @param now `performance.now()` */
  add(sampleMs: number, now: number): void {
    if (now >= this.#periodEnds) {
      this.#periodEnds = now + PERIOD_MS;
      this.#leastBefore = this.#least;
      this.#least = Infinity;
    }
    this.#last = sampleMs;
    if (sampleMs < this.#least) this.#least = sampleMs;
  }
}
