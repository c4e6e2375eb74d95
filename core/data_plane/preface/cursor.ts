/**
 * Reads forward through bytes from a stranger. Reading past the end never throws: it sets {@link overran} for good
 * and gives zeros, so that a parser checks once, behind a group of reads.
 */
export class Cursor {
  readonly #bytes: Uint8Array;
  #at = 0;
  #overran = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** True once something was read that is not there. */
  get overran(): boolean {
    return this.#overran;
  }

  /** Bytes not read yet. */
  get left(): number {
    return this.#bytes.length - this.#at;
  }

  uint8(): number {
    return this.#has(1) ? this.#bytes[this.#at++] ?? 0 : 0;
  }

  /** Big-endian. */
  uint16(): number {
    return this.uint8() << 8 | this.uint8();
  }

  /** A view of the next `length` bytes, empty when there are fewer. */
  take(length: number): Uint8Array {
    if (!this.#has(length)) return new Uint8Array(0);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  skip(length: number): void {
    if (this.#has(length)) this.#at += length;
  }

  #has(length: number): boolean {
    if (this.left >= length) return true;
    this.#overran = true;
    this.#at = this.#bytes.length;
    return false;
  }
}
