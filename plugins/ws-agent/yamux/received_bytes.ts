import { BufferPool } from "../../../core/plugin/mod.ts";

const SMALLEST_SEGMENT = 1024;
const LARGEST_SEGMENT = 64 * 1024;

/** Only the largest segments are worth keeping: 4 MiB of them lie spare. */
const segments = new BufferPool(LARGEST_SEGMENT, Infinity, 64);

/**
 * Bytes that wait for their reader. Holds nothing while none wait, and at most about twice as much as wait plus 1 KiB,
 * in however small pieces they came.
 */
export class ReceivedBytes {
  #segments: Uint8Array<ArrayBuffer>[] = [];
  /** Where the first segment's unread bytes begin. */
  #start = 0;
  /** Where the last segment's bytes end. */
  #end = 0;
  #length = 0;
  /** Whether somebody looks at the first segment. */
  #lent = false;

  /** Bytes that wait. */
  get length(): number {
    return this.#length;
  }

  /**
   * Copies `bytes[at..end)` in.
   *
   * @param more How many bytes are expected to follow soon, so that they find room beside these.
   */
  put(bytes: Uint8Array, at: number, end: number, more = 0): void {
    this.#length += end - at;
    while (at < end) {
      let last = this.#segments.at(-1);
      if (last === undefined || this.#end === last.length) {
        last = newSegment(Math.max(end - at + more, last === undefined ? 0 : last.length * 2));
        this.#segments.push(last);
        this.#end = 0;
      }
      const length = Math.min(end - at, last.length - this.#end);
      last.set(bytes.subarray(at, at + length), this.#end);
      this.#end += length;
      at += length;
    }
  }

  /** Moves as many bytes as there are, and as fit, to the beginning of `into`. @returns How many. */
  take(into: Uint8Array): number {
    let taken = 0;
    while (taken < into.length && this.#length > 0) {
      const first = this.#first();
      const length = Math.min(into.length - taken, first.length);
      into.set(length === first.length ? first : first.subarray(0, length), taken);
      taken += length;
      this.#consume(length);
    }
    return taken;
  }

  /** The first bytes, in one piece. They stay as they are until {@link giveBack}. */
  lend(): Uint8Array {
    this.#lent = true;
    return this.#first();
  }

  /** Nobody looks at what was lent any more: `length` bytes of it are read. @returns How many bytes wait fewer. */
  giveBack(length: number): number {
    this.#lent = false;
    if (this.#length === 0) { // cleared meanwhile
      this.clear();
      return 0;
    }
    this.#consume(length);
    return length;
  }

  /** Forgets everything. @returns How many bytes that were. */
  clear(): number {
    const length = this.#length;
    this.#length = 0;
    const kept = this.#lent ? 1 : 0;
    for (const segment of this.#segments.splice(kept)) freeSegment(segment);
    this.#start = this.#end = 0;
    return length;
  }

  #first(): Uint8Array {
    const [first, second] = this.#segments;
    return first?.subarray(this.#start, second === undefined ? this.#end : first.length) ?? NOTHING;
  }

  #consume(length: number): void {
    this.#start += length;
    this.#length -= length;
    const [first, second] = this.#segments;
    if (first === undefined || this.#start < (second === undefined ? this.#end : first.length)) return;
    this.#segments.shift();
    freeSegment(first);
    this.#start = 0;
    if (second === undefined) this.#end = 0;
  }
}

const NOTHING = new Uint8Array();

/** @param wanted Bytes; what is given is a power of two near it. */
function newSegment(wanted: number): Uint8Array<ArrayBuffer> {
  if (wanted > LARGEST_SEGMENT / 2) return segments.take() ?? new Uint8Array(LARGEST_SEGMENT);
  let size = SMALLEST_SEGMENT;
  while (size < wanted) size *= 2;
  return new Uint8Array(size);
}

function freeSegment(segment: Uint8Array<ArrayBuffer>): void {
  if (segment.length === LARGEST_SEGMENT) segments.give(segment);
}
