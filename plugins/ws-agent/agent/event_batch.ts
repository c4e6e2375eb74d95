import type { AgentEvent } from "./events.ts";

/** How long an event may wait for others: a message for each request would cost more than the request. In milliseconds. */
const BATCH_MS = 30;
/** Events that may wait. Requests that come while so many do are counted and dropped. */
const MAX_WAITING = 2000;

/** Hands events on, some at a time. */
export class EventBatch {
  readonly #hand: (batch: readonly AgentEvent[], dropped: number) => void;
  #waiting: AgentEvent[] = [];
  #dropped = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(hand: (batch: readonly AgentEvent[], dropped: number) => void) {
    this.#hand = hand;
  }

  add(event: AgentEvent): void {
    // Only what the public can bring about comes by the thousand, and only that may be missed.
    const mayBeMissed = event.kind === "request" || event.kind === "target_failed";
    if (mayBeMissed && this.#waiting.length >= MAX_WAITING) {
      if (event.kind === "request") this.#dropped++;
    } else this.#waiting.push(event);
    this.#timer ??= setTimeout(() => this.flush(), BATCH_MS);
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#waiting.length === 0 && this.#dropped === 0) return;
    const [batch, dropped] = [this.#waiting, this.#dropped];
    this.#waiting = [];
    this.#dropped = 0;
    this.#hand(batch, dropped);
  }
}
