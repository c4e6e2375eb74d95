import type { Clock } from "./clock.ts";

/** Changes in the database come in bursts, one notice a row. */
const MIN_GAP_MS = 100;

/**
 * Runs a pass over everything that is open again and again: at every interval, and soon when asked to. There is never
 * more than one pass at a time, and one timer.
 */
export class Rechecks implements AsyncDisposable {
  readonly #pass: () => Promise<void>;
  readonly #clock: Clock;
  #intervalMs: number;
  #began = -Infinity;
  #isWanted = false;
  #running: Promise<void> | undefined;
  #cancelTimer: (() => void) | undefined;
  #isEnded = false;

  /** @param pass Must not reject. */
  constructor(pass: () => Promise<void>, intervalMs: number, clock: Clock) {
    this.#pass = pass;
    this.#clock = clock;
    this.#intervalMs = intervalMs;
    this.#began = clock.monotonic() - MIN_GAP_MS;
    this.#schedule();
  }

  set intervalMs(ms: number) {
    this.#intervalMs = ms;
    this.#schedule();
  }

  /** Something has changed: a pass that begins after this call will come, at once if the last one was not just now. */
  request(): void {
    if (this.#isWanted) return;
    this.#isWanted = true;
    this.#schedule();
  }

  /** Resolves when the pass that is running, if one is, has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isEnded = true;
    this.#cancelTimer?.();
    await this.#running;
  }

  #schedule(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    if (this.#isEnded) return;
    const due = this.#began + (this.#isWanted ? MIN_GAP_MS : this.#intervalMs);
    const wait = due - this.#clock.monotonic();
    if (wait <= 0) this.#begin();
    else this.#cancelTimer = this.#clock.after(wait, () => this.#begin());
  }

  #begin(): void {
    this.#cancelTimer = undefined;
    if (this.#running !== undefined) return; // its end looks at what was asked for meanwhile
    this.#isWanted = false;
    this.#began = this.#clock.monotonic();
    this.#running = this.#pass().finally(() => {
      this.#running = undefined;
      this.#schedule();
    });
  }
}
