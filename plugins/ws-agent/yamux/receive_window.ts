import { INITIAL_WINDOW_BYTES } from "./frame.ts";

/** The most that one stream's window grows to: a gigabit for 130 ms. */
const MOST_WINDOW = 16 * 1024 * 1024;
/** What windows shrink to while much waits for its readers. */
const PRESSED_WINDOW = 64 * 1024;
/**
 * A window is this many times what goes through in a round trip: more room is told when half of it is used, and the
 * sender's own queue is part of the way.
 */
const ROUND_TRIPS = 4;

/** What the windows of one session take of its memory. */
export class ReceiveBudget {
  #most: number;
  #granted = 0;
  #waiting = 0;
  /** Called when something may be read again. */
  onRoom: (() => void) | undefined;

  /** @param maxBufferedBytes What may wait for its readers, over all streams. */
  constructor(maxBufferedBytes: number) {
    this.#most = maxBufferedBytes;
  }

  /** See the constructor. */
  set most(bytes: number) {
    const wasFull = this.isFull;
    this.#most = bytes;
    if (wasFull && !this.isFull) this.onRoom?.();
  }

  /** Bytes that wait for their readers. */
  get waiting(): number {
    return this.#waiting;
  }

  /** How many bytes more may wait. */
  get left(): number {
    return this.#most - this.#waiting;
  }

  /** Whether nothing more may be read before something of what waits was. */
  get isFull(): boolean {
    return this.left <= 0;
  }

  /** Whether windows have to shrink. */
  get isPressed(): boolean {
    return this.#waiting > this.#most / 2;
  }

  /** Bytes that windows may grow by: half of it all, because those of new streams are given and not asked for. */
  get room(): number {
    return Math.max(0, this.#most / 2 - this.#granted);
  }

  /** So many bytes more, or fewer, wait. */
  wait(bytes: number): void {
    const wasFull = this.isFull;
    this.#waiting += bytes;
    if (wasFull && !this.isFull) this.onRoom?.();
  }

  /** A stream's window, beyond the one that every stream has, became larger or smaller. */
  grant(bytes: number): void {
    this.#granted += bytes;
  }
}

/** What one stream may still be sent, and when it is told that it may be sent more. Holds numbers only. */
export class ReceiveWindow {
  readonly #budget: ReceiveBudget;
  /** What the peer may still send. */
  #credit = INITIAL_WINDOW_BYTES;
  /** What it sent, and nobody has read. */
  #waiting = 0;
  /** What credit and unread bytes are filled up to. */
  #size = INITIAL_WINDOW_BYTES;
  #granted = 0;
  #read = 0;
  #readSince: number;

  /** @param now `performance.now()` */
  constructor(budget: ReceiveBudget, now: number) {
    this.#budget = budget;
    this.#readSince = now;
  }

  /** Bytes that the peer may still send. */
  get credit(): number {
    return this.#credit;
  }

  get size(): number {
    return this.#size;
  }

  /** The peer has announced `bytes` of data. @returns False when that is more than it may send. */
  use(bytes: number): boolean {
    if (bytes > this.#credit) return false;
    this.#credit -= bytes;
    this.#waiting += bytes;
    return true;
  }

  /** Somebody has read `bytes`. */
  consume(bytes: number): void {
    this.#waiting -= bytes;
    this.#read += bytes;
  }

  /** Whether so much was read that {@link refill} is worth a frame. */
  get wantsRefill(): boolean {
    return this.#credit + this.#waiting <= this.#size / 2;
  }

  /**
   * Fills the window up again, after it has grown or shrunk to what is read of it in a few round trips.
   *
   * @param leastRoundTripMs Absent: not known, the window stays as it is.
   * @returns What to tell the peer that it may send more, in bytes; 0 when the window has shrunk by as much.
   */
  refill(now: number, leastRoundTripMs: number | undefined): number {
    this.#size = this.#nextSize(now, leastRoundTripMs);
    this.#read = 0;
    this.#readSince = now;
    const more = Math.max(0, Math.floor(this.#size - this.#credit - this.#waiting));
    this.#credit += more;
    this.#account();
    return more;
  }

  /** The stream is over. @returns What the peer may still have under way. */
  close(): number {
    this.#budget.grant(-this.#granted);
    this.#granted = 0;
    return this.#credit;
  }

  #nextSize(now: number, leastRoundTripMs: number | undefined): number {
    if (this.#budget.isPressed) return PRESSED_WINDOW;
    if (leastRoundTripMs === undefined) return Math.max(this.#size, INITIAL_WINDOW_BYTES);
    const elapsed = Math.max(now - this.#readSince, 0.001);
    const wanted = ROUND_TRIPS * leastRoundTripMs * this.#read / elapsed;
    const possible = Math.min(2 * this.#size, MOST_WINDOW, this.#size + this.#budget.room);
    return Math.max(INITIAL_WINDOW_BYTES, Math.min(wanted, possible));
  }

  #account(): void {
    const beyond = Math.max(0, this.#credit + this.#waiting - INITIAL_WINDOW_BYTES);
    this.#budget.grant(beyond - this.#granted);
    this.#granted = beyond;
  }
}
