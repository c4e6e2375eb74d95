import { BufferPool } from "../../../core/data_plane/buffers.ts";

/** Watches every buffer pool of this thread, up to its disposal. Make it before anything is lent. */
export class LentBuffers implements Disposable {
  readonly #take = BufferPool.prototype.take;
  readonly #give = BufferPool.prototype.give;
  readonly #out = new Set<Uint8Array>();

  constructor() {
    const out = this.#out;
    const [take, give] = [this.#take, this.#give];
    BufferPool.prototype.take = function () {
      const buffer = take.call(this);
      if (buffer !== undefined) {
        if (out.has(buffer)) throw new Error("One buffer was lent to two");
        out.add(buffer);
      }
      return buffer;
    };
    BufferPool.prototype.give = function (buffer) {
      if (!out.delete(buffer)) throw new Error("A buffer was given back that is not out");
      if (buffer.length !== this.size) {
        throw new Error("A buffer was given to another pool than it came from");
      }
      give.call(this, buffer);
    };
  }

  /** How many are out: all, or those of one size. */
  count(size?: number): number {
    return size === undefined ? this.#out.size : [...this.#out].filter((one) => one.length === size).length;
  }

  [Symbol.dispose](): void {
    BufferPool.prototype.take = this.#take;
    BufferPool.prototype.give = this.#give;
  }
}
