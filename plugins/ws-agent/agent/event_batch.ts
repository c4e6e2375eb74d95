import type { AgentEvent } from "./events.ts";

/** How long an event may wait for others: a message for each request would cost more than the request. In milliseconds. */
const BATCH_MS = 30;
/** Events that may wait. What comes while so many do is counted and dropped. */
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
    // Only requests come by the thousand, and only they may be missed.
    if (event.kind === "request" && this.#waiting.length >= MAX_WAITING) this.#dropped++;
    else this.#waiting.push(event);
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
