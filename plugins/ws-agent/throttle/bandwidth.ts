/** What may go at once after a pause, as time: long enough that a tick never finds less to give than it could. */
const BURST_MS = 100;

/** Bytes that wait until they may be passed on. */
export interface Payment {
  readonly bytes: number;
  /** They may, or nobody wants to wait any more. */
  readonly settle: () => void;
}

/**
 * A token bucket: so many bytes a second may go, whoever they are from, in the order in which they came. A payment of
 * more than there is makes a debt that the next ones wait for, so that over time the rate is exact.
 */
export class Bandwidth {
  #bytesPerMs: number;
  #available: number;
  #asOf: number;
  readonly #waiting = new Set<Payment>();

  /** @param now By the monotonic clock, in milliseconds. @param rate Bytes a second. */
  constructor(rate: number, now: number) {
    this.#bytesPerMs = rate / 1000;
    this.#available = this.#burst;
    this.#asOf = now;
  }

  /** How many payments wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  setRate(rate: number, now: number): void {
    this.#refill(now);
    this.#bytesPerMs = rate / 1000;
    this.#available = Math.min(this.#available, this.#burst);
  }

  /** Takes them if they may go at once. Whoever waits already goes first. */
  take(bytes: number, now: number): boolean {
    if (this.#waiting.size > 0) return false;
    this.#refill(now);
    if (this.#available <= 0) return false;
    this.#available -= bytes;
    return true;
  }

  /** Gives back what was taken and not used. */
  giveBack(bytes: number): void {
    this.#available += bytes;
  }

  wait(payment: Payment): void {
    this.#waiting.add(payment);
  }

  giveUp(payment: Payment): void {
    if (this.#waiting.delete(payment)) payment.settle();
  }

  giveUpAll(): void {
    for (const payment of [...this.#waiting]) this.giveUp(payment);
  }

  /** Lets those go for whom there is enough by now. */
  tick(now: number): void {
    this.#refill(now);
    for (const payment of this.#waiting) {
      if (this.#available <= 0) return;
      this.#available -= payment.bytes;
      this.#waiting.delete(payment);
      payment.settle();
    }
  }

  get #burst(): number {
    return this.#bytesPerMs * BURST_MS;
  }

  #refill(now: number): void {
    this.#available = Math.min(this.#burst, this.#available + (now - this.#asOf) * this.#bytesPerMs);
    this.#asOf = now;
  }
}
