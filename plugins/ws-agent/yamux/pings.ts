/** A ping that is under way. */
interface Waiting {
  /** `performance.now()` when it was asked for. */
  readonly askedAt: number;
  readonly resolve?: ((roundTripMs: number) => void) | undefined;
  readonly reject?: ((error: Error) => void) | undefined;
}

/** The pings of a session that somebody waits for, or that show whether the peer is there. */
export class Pings {
  #waiting: Map<number, Waiting> | undefined;

  /** When the oldest that is under way was asked for; absent when none is. */
  get oldestAt(): number | undefined {
    if (this.#waiting === undefined) return undefined;
    for (const { askedAt } of this.#waiting.values()) return askedAt;
    return undefined;
  }

  add(id: number, waiting: Waiting): void {
    this.#waiting ??= new Map();
    this.#waiting.set(id, waiting);
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

  /** None will be answered. */
  fail(error: Error): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    for (const one of waiting?.values() ?? []) one.reject?.(error);
  }
}
