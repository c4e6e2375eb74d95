import type { Clock } from "./clock.ts";

/** Changes in the database come in bursts, one notice a row. */
const MIN_GAP_MS = 100;
/** Wait before a pass that was not complete is tried again, in milliseconds; it doubles from one to the next. */
const FIRST_RETRY_MS = 1000;

/**
 * Runs a pass over everything that is open again and again: at every interval, soon when asked to, and in between
 * when one was not complete. There is never more than one pass at a time, and one timer.
 */
export class Rechecks implements AsyncDisposable {
  readonly #pass: () => Promise<boolean>;
  readonly #clock: Clock;
  #intervalMs: number;
  /** Infinite after a pass that was complete. */
  #retryMs = Infinity;
  #began = -Infinity;
  #isWanted = false;
  #running: Promise<void> | undefined;
  #cancelTimer: (() => void) | undefined;
  #isEnded = false;

  /** @param pass Tells whether it was complete. Must not reject. */
  constructor(pass: () => Promise<boolean>, intervalMs: number, clock: Clock) {
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
    const due = this.#began + (this.#isWanted ? MIN_GAP_MS : Math.min(this.#intervalMs, this.#retryMs));
    const wait = due - this.#clock.monotonic();
    if (wait <= 0) this.#begin();
    else this.#cancelTimer = this.#clock.after(wait, () => this.#begin());
  }

  #begin(): void {
    this.#cancelTimer = undefined;
    if (this.#running !== undefined) return; // its end looks at what was asked for meanwhile
    this.#isWanted = false;
    this.#began = this.#clock.monotonic();
    this.#running = this.#run();
  }

  async #run(): Promise<void> {
    const isComplete = await this.#pass();
    this.#retryMs = isComplete ? Infinity : this.#retryMs === Infinity ? FIRST_RETRY_MS : this.#retryMs * 2;
    this.#running = undefined;
    this.#schedule();
  }
}
