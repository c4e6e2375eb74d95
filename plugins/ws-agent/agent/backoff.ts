import type { Clock } from "../clock.ts";

/** Nobody waits longer because a gateway says so. */
const MAX_RETRY_AFTER_MS = 10 * 60_000;

/** The shortest wait, and the longest. */
export interface BackoffBounds {
  readonly minMs: number;
  readonly maxMs: number;
}

/**
 * Waits between attempts: the bound doubles from one attempt to the next, and the wait is anything below it, so that a thousand
 * agents that lost the same gateway do not come back together.
 */
export class Backoff {
  readonly #bounds: BackoffBounds;
  readonly #random: () => number;
  #attempts = 0;

  /** @param random From 0 to 1, 1 excluded. */
  constructor(bounds: BackoffBounds, random: () => number) {
    this.#bounds = bounds;
    this.#random = random;
  }

  /**
   * The wait before the next attempt, in milliseconds.
   *
   * @param retryAfterMs What the other side asks for: never less than that, and no more than ten minutes of it.
   */
  next(retryAfterMs = 0): number {
    const { minMs, maxMs } = this.#bounds;
    const bound = Math.min(Math.max(minMs, maxMs), minMs * 2 ** Math.min(++this.#attempts, 30));
    const wait = minMs + this.#random() * (bound - minMs);
    const asked = Math.min(Math.max(retryAfterMs, 0), MAX_RETRY_AFTER_MS);
    return Math.round(asked > wait ? asked + this.#random() * minMs : wait);
  }

  /** It worked: the next wait is a short one again. */
  reset(): void {
    this.#attempts = 0;
  }
}

/** Resolves after `ms`, or as soon as `signal` is aborted; never rejects. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      forget();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const forget = clock.after(ms, done);
    signal.addEventListener("abort", done);
  });
}
