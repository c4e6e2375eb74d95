/**
 * Buffers of one size, lent out and taken back. At most `max` are out at a time, so that however many
 * connections look busy at once, what they hold together stays bounded.
 *
 * A buffer that comes back keeps its old bytes: never hand on more of it than was read into it.
 */
export class BufferPool {
  readonly size: number;
  readonly #max: number;
  readonly #maxSpare: number;
  readonly #spare: Uint8Array<ArrayBuffer>[] = [];
  #lent = 0;

  /**
   * @param size Bytes in each buffer.
   * @param max How many may be out at a time.
   * @param maxSpare How many that came back are kept for the next taker.
   */
  constructor(size: number, max: number, maxSpare: number) {
    this.size = size;
    this.#max = max;
    this.#maxSpare = maxSpare;
  }

  /** Whether {@link take} would give a buffer now. */
  get available(): boolean {
    return this.#lent < this.#max;
  }

  /** A buffer to bring back with {@link give}, or `undefined` when all are out. */
  take(): Uint8Array<ArrayBuffer> | undefined {
    if (!this.available) return undefined;
    this.#lent++;
    return this.#spare.pop() ?? new Uint8Array(this.size);
  }

  /** Takes back a buffer that {@link take} gave; nothing may read or write into it any more. */
  give(buffer: Uint8Array<ArrayBuffer>): void {
    this.#lent--;
    if (this.#spare.length < this.#maxSpare) this.#spare.push(buffer);
  }
}
