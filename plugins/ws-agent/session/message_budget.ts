/** What a quick agent may need at once beside one message a service: heartbeats, and some to spare. */
const BURST = 100;
/** Heartbeats of both sides are under one a second; registering again and again costs the registry and the log. */
const PER_SECOND = 20;

/**
 * How many control messages an agent may send: so many at once, and then evenly (the generic cell rate algorithm, ITU-T
 * I.371). One number, no timer.
 */
export class MessageBudget {
  readonly #toleranceMs: number;
  #clearAt = 0;

  /** @param services How many services the agent may register: each is a message, and another when it goes. */
  constructor(services: number) {
    this.#toleranceMs = (BURST + 2 * services) * 1000 / PER_SECOND;
  }

  /** Takes one. @param now In milliseconds; must not go back. @returns False: there are too many. */
  take(now: number): boolean {
    const clearAt = Math.max(this.#clearAt, now) + 1000 / PER_SECOND;
    if (clearAt - now > this.#toleranceMs) return false;
    this.#clearAt = clearAt;
    return true;
  }
}
