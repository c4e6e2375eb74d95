/** Events that wait for a reader, so that one who is slow does not fill the memory. */
const MAX_WAITING = 1000;

/** What one reader of events has not seen yet. */
export class EventQueue<Event> implements AsyncIterableIterator<Event> {
  readonly #waiting: Event[] = [];
  readonly #readers: ((result: IteratorResult<Event>) => void)[] = [];
  readonly #onEnd: (queue: EventQueue<Event>) => void;
  #isEnded = false;

  /** @param onEnd Called once, when nobody wants more. */
  constructor(onEnd: (queue: EventQueue<Event>) => void) {
    this.#onEnd = onEnd;
  }

  /** Adds one; the oldest that nobody has read makes room. */
  add(event: Event): void {
    if (this.#isEnded) return;
    const reader = this.#readers.shift();
    if (reader !== undefined) return reader({ done: false, value: event });
    this.#waiting.push(event);
    if (this.#waiting.length > MAX_WAITING) this.#waiting.shift();
  }

  /** Nothing more comes; what waits can still be read. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#onEnd(this);
    for (const reader of this.#readers.splice(0)) reader({ done: true, value: undefined });
  }

  next(): Promise<IteratorResult<Event>> {
    const [event] = this.#waiting.splice(0, 1);
    if (event !== undefined) return Promise.resolve({ done: false, value: event });
    if (this.#isEnded) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.#readers.push(resolve));
  }

  return(): Promise<IteratorResult<Event>> {
    this.#waiting.length = 0;
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
