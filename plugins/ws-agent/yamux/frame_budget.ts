/** What a stall of the network may let come at once. */
const MOST_AT_ONCE = 40_000;
/** Far more than anything honest, and 2 % of a core. */
const PER_SECOND = 20_000;
/** Bytes that pay for one frame: window updates and marks come with data, in either direction. */
const BYTES_FOR_ONE = 512;
/** Opening a stream of our own pays for what its peer says without data: accepted, more room, the end. */
const FOR_OWN_STREAM = 4;

/**
 * How many frames without data a peer may send: pings, window updates, streams that it opens, resets, empty data. Each
 * costs far more to take than to send (compare HTTP/2's CVE-2019-9512, CVE-2019-9518 and CVE-2023-44487).
 */
export class FrameBudget {
  #left = MOST_AT_ONCE;
  #countedAt: number;

  /** @param now `performance.now()` */
  constructor(now: number) {
    this.#countedAt = now;
  }

  /** Time that has passed, and data that has moved either way since the last call, pay for frames. */
  earn(now: number, bytes: number): void {
    const earned = (now - this.#countedAt) / 1000 * PER_SECOND + bytes / BYTES_FOR_ONE;
    this.#countedAt = now;
    this.#left = Math.min(MOST_AT_ONCE, this.#left + earned);
  }

  /** A stream of ours was opened. */
  opened(): void {
    this.#left = Math.min(MOST_AT_ONCE, this.#left + FOR_OWN_STREAM);
  }

  /** Counts a frame. @returns False when it is one too many. */
  spend(cost: number): boolean {
    this.#left -= cost;
    return this.#left >= 0;
  }
}
