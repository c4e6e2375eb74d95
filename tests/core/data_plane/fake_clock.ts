interface Timer {
  readonly due: number;
  readonly call: () => void;
}

/**
 * Time that stands still until the test moves it: `performance.now`, `Date.now`, `setTimeout` and `clearTimeout`, up
 * to the disposal. For code without promises between its timers.
 */
export class FakeClock implements Disposable {
  readonly #real = {
    setTimeout: globalThis.setTimeout,
    clearTimeout: globalThis.clearTimeout,
    now: performance.now,
    date: Date.now,
  };
  readonly #timers = new Map<number, Timer>();
  #now = 1000;
  #lastId = 0;

  constructor() {
    const set = (call: () => void, ms = 0): number => {
      this.#timers.set(++this.#lastId, { due: this.#now + ms, call });
      return this.#lastId;
    };
    globalThis.setTimeout = set as unknown as typeof setTimeout;
    globalThis.clearTimeout =
      ((id: number) => void this.#timers.delete(id)) as unknown as typeof clearTimeout;
    performance.now = () => this.#now;
    Date.now = () => this.#now;
  }

  /** How many timers are set. */
  get timers(): number {
    return this.#timers.size;
  }

  /** Moves on by `ms`, and calls what is due on the way, each at its time. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const [id, next] = this.#next();
      if (id === undefined || next === undefined || next.due > end) break;
      this.#timers.delete(id);
      this.#now = Math.max(this.#now, next.due);
      next.call();
    }
    this.#now = end;
  }

  #next(): [number, Timer] | [undefined, undefined] {
    let first: [number, Timer] | [undefined, undefined] = [undefined, undefined];
    for (const entry of this.#timers) {
      if (first[1] === undefined || entry[1].due < first[1].due) first = entry;
    }
    return first;
  }

  [Symbol.dispose](): void {
    globalThis.setTimeout = this.#real.setTimeout;
    globalThis.clearTimeout = this.#real.clearTimeout;
    performance.now = this.#real.now;
    Date.now = this.#real.date;
  }
}
