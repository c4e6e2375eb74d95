import type { Clock } from "../clock.ts";

/** Long enough to spoil guessing, short enough to be no burden for who mistyped. */
const DELAY_MS = 250;
/** Those beyond are not delayed: who waits costs memory, and the limits hold without. */
const MAX_WAITING = 1024;

interface Waiting {
  readonly due: number;
  readonly go: () => void;
}

/** Makes those who failed wait for a moment. All wait equally long, so one timer, for the first in line, is enough. */
export class Slowdown implements Disposable {
  readonly #clock: Clock;
  readonly #line: Waiting[] = [];
  #cancelTimer: (() => void) | undefined;
  #isOver = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  wait(): Promise<void> {
    if (this.#isOver || this.#line.length >= MAX_WAITING) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#line.push({ due: this.#clock.monotonic() + DELAY_MS, go: resolve });
    this.#cancelTimer ??= this.#clock.after(DELAY_MS, this.#onTimer);
    return promise;
  }

  /** Lets everybody go, and nobody waits from now on. */
  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#cancelTimer?.();
    for (const { go } of this.#line.splice(0)) go();
  }

  #onTimer = (): void => {
    const now = this.#clock.monotonic();
    const later = this.#line.findIndex(({ due }) => due > now);
    for (const { go } of this.#line.splice(0, later < 0 ? this.#line.length : later)) go();
    const [first] = this.#line;
    this.#cancelTimer = first && this.#clock.after(first.due - now, this.#onTimer);
  };
}
