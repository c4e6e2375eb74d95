/** Twenty seconds' worth: a peer that pings once a second, and catches up after a stall, stays far below. */
const MOST_AT_ONCE = 100;
const PER_SECOND = 5;

/**
 * How many frames without a byte of data a peer may send: control frames, and data frames that are empty. Each costs
 * the receiver as much as one full of data, and a ping an answer (as the ping flood of HTTP/2, CVE-2019-9512).
 */
export class IdleFrameBudget {
  readonly #now: () => number;
  #left = MOST_AT_ONCE;
  #countedAt: number;

  /** @param now A clock in milliseconds that never goes back. */
  constructor(now: () => number) {
    this.#now = now;
    this.#countedAt = now();
  }

  /** Counts one. @returns False when it is one too many. */
  spend(): boolean {
    const now = this.#now();
    this.#left = Math.min(MOST_AT_ONCE, this.#left + (now - this.#countedAt) / 1000 * PER_SECOND);
    this.#countedAt = now;
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }
}
