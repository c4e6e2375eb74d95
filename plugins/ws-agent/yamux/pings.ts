/** A ping that is under way. */
interface Waiting {
  /** `performance.now()` when it was asked for. */
  readonly askedAt: number;
  readonly resolve?: ((roundTripMs: number) => void) | undefined;
  readonly reject?: ((error: Error) => void) | undefined;
}

/** The pings of a session that somebody waits for, or that show whether the peer is there. */
export class Pings {
  readonly #intervalMs: number;
  readonly #timeoutMs: number;
  /** What a ping that goes out when its time has come is given at least, so that a dead peer is found in time. */
  readonly #graceMs: number;
  #waiting: Map<number, Waiting> | undefined;
  #lastId = 0;
  #lastAt: number;

  /**
   * @param intervalMs 0: none is ever due.
   * @param timeoutMs How long nothing may be heard of a peer that was asked.
   * @param now `performance.now()`
   */
  constructor(intervalMs: number, timeoutMs: number, now: number) {
    this.#intervalMs = intervalMs;
    this.#timeoutMs = timeoutMs;
    this.#graceMs = intervalMs < timeoutMs ? Math.max(timeoutMs / 4, timeoutMs - intervalMs) : timeoutMs;
    this.#lastAt = now;
  }

  /** An id for a ping, or a mark. */
  nextId(): number {
    return this.#lastId = this.#lastId + 1 >>> 0;
  }

  /** When the last one was asked for, or the session began. */
  get lastAt(): number {
    return this.#lastAt;
  }

  isDue(now: number): boolean {
    return this.#intervalMs > 0 && now - this.#lastAt >= this.#intervalMs;
  }

  /** When the oldest that is under way was asked for; absent when none is. */
  get oldestAt(): number | undefined {
    if (this.#waiting === undefined) return undefined;
    for (const { askedAt } of this.#waiting.values()) return askedAt;
    return undefined;
  }

  /** @returns The id of a ping that is to be sent. */
  ask(waiting: Waiting): number {
    const id = this.nextId();
    this.#lastAt = waiting.askedAt;
    this.#waiting ??= new Map();
    this.#waiting.set(id, waiting);
    return id;
  }

  /** @returns The round trip in milliseconds, or `undefined` when no such ping is under way. */
  answered(id: number, now: number): number | undefined {
    const waiting = this.#waiting?.get(id);
    if (waiting === undefined) return undefined;
    this.#waiting?.delete(id);
    if (this.#waiting?.size === 0) this.#waiting = undefined;
    const roundTripMs = now - waiting.askedAt;
    waiting.resolve?.(roundTripMs);
    return roundTripMs;
  }

  /**
   * Whether the peer is taken for gone: it was asked, and nothing at all was heard for the whole timeout. An answer alone
   * may take longer, while much is under way on a slow line; then other frames are heard.
   *
   * @param markedAt When the oldest mark without an answer was sent: it asks, too.
   */
  showDeath(now: number, lastHeardAt: number, markedAt: number | undefined): boolean {
    const asked = Math.min(this.oldestAt ?? Infinity, markedAt ?? Infinity);
    return now - lastHeardAt >= this.#timeoutMs && now - asked >= this.#graceMs;
  }

  /** None will be answered. */
  fail(error: Error): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    for (const one of waiting?.values() ?? []) one.reject?.(error);
  }
}
