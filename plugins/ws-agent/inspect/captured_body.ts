/** What is kept of a body: enough for a form, a JSON document or a small picture. */
export const MAX_BODY_BYTES = 64 * 1024;
const FIRST_CAPACITY = 1024;
const NOTHING = new Uint8Array();

/** The beginning of a message body, as it was sent but without the framing of chunks, and how long the whole of it was. */
export class CapturedBody {
  readonly #expected: number;
  #memory: Uint8Array<ArrayBuffer> = NOTHING;
  #length = 0;
  #total = 0;

  /** @param expected How long it will be, as far as that is known. @default unknown */
  constructor(expected = 0) {
    this.#expected = expected;
  }

  /** What is kept. A view that changes while the body still comes. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#memory.subarray(0, this.#length);
  }

  /** How many bytes have gone by. */
  get total(): number {
    return this.#total;
  }

  /** Whether every byte that has gone by is kept. */
  get isWhole(): boolean {
    return this.#length === this.#total;
  }

  /** Counts bytes that are not kept. */
  pass(length: number): void {
    this.#total += length;
  }

  /**
   * Keeps a copy of as much as there is room for.
   *
   * @returns By how many bytes the memory for it has grown.
   */
  add(data: Uint8Array): number {
    // Behind a gap nothing is kept: what is shown is the beginning.
    const taken = this.isWhole ? Math.min(data.length, MAX_BODY_BYTES - this.#length) : 0;
    this.#total += data.length;
    if (taken === 0) return 0;
    const grown = this.#makeRoom(this.#length + taken);
    this.#memory.set(data.subarray(0, taken), this.#length);
    this.#length += taken;
    return grown;
  }

  /** Gives up what is kept; counting goes on. */
  release(): void {
    this.#memory = NOTHING;
    this.#length = 0;
  }

  #makeRoom(length: number): number {
    const before = this.#memory.length;
    if (length <= before) return 0;
    // Not all that is announced is ever sent: the memory for it comes with the bytes, in two steps at most.
    const wanted = this.#expected > 0 && length > FIRST_CAPACITY
      ? this.#expected
      : Math.max(FIRST_CAPACITY, 2 * before, length);
    const larger = new Uint8Array(Math.min(MAX_BODY_BYTES, Math.max(wanted, length)));
    larger.set(this.bytes);
    this.#memory = larger;
    return larger.length - before;
  }
}
