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

  /** Bytes that wait. */
  get length(): number {
    return this.#length;
  }

  /** Copies `bytes[at..end)` in. */
  put(bytes: Uint8Array, at: number, end: number): void {
    this.#length += end - at;
    while (at < end) {
      let last = this.#segments.at(-1);
      if (last === undefined || this.#end === last.length) {
        last = newSegment(Math.max(end - at, last === undefined ? 0 : last.length * 2));
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
      const first = this.#segments[0];
      if (first === undefined) break;
      const end = this.#segments.length === 1 ? this.#end : first.length;
      const length = Math.min(into.length - taken, end - this.#start);
      into.set(first.subarray(this.#start, this.#start + length), taken);
      taken += length;
      this.#start += length;
      this.#length -= length;
      if (this.#start === end) this.#dropFirst();
    }
    return taken;
  }

  /** Forgets everything. @returns How many bytes that were. */
  clear(): number {
    const length = this.#length;
    this.#length = 0;
    for (const segment of this.#segments) freeSegment(segment);
    this.#segments = [];
    this.#start = this.#end = 0;
    return length;
  }

  #dropFirst(): void {
    const first = this.#segments.shift();
    if (first !== undefined) freeSegment(first);
    this.#start = 0;
    if (this.#segments.length === 0) this.#end = 0;
  }
}

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
