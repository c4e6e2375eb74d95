import type { ByteStream } from "../../../../core/byte_stream.ts";

/**
 * A client that sends each of `segments` by itself, then leaves (`null`) or fails (an error). A segment that does
 * not fit into the reader's buffer comes in several reads.
 */
export class ScriptedStream implements ByteStream {
  readonly #segments: Uint8Array[];
  readonly #end: Error | null;
  /** The sizes of the buffers that it was given to fill. */
  readonly offered: number[] = [];
  /** How many bytes were taken. */
  taken = 0;
  /** All that was written to it, and after how many bytes taken each write came. */
  readonly written: number[] = [];
  readonly writtenAt: number[] = [];

  constructor(segments: readonly Uint8Array[], end: Error | null = null) {
    this.#segments = segments.filter((segment) => segment.length > 0);
    this.#end = end;
  }

  read(into: Uint8Array): Promise<number | null> {
    this.offered.push(into.length);
    const segment = this.#segments.shift();
    if (segment === undefined) return this.#end === null ? Promise.resolve(null) : Promise.reject(this.#end);
    const part = segment.subarray(0, into.length);
    into.set(part);
    if (part.length < segment.length) this.#segments.unshift(segment.subarray(part.length));
    this.taken += part.length;
    return Promise.resolve(part.length);
  }

  write(data: Uint8Array): Promise<number> {
    this.written.push(...data);
    this.writtenAt.push(this.taken);
    return Promise.resolve(data.length);
  }

  closeWrite(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {}
}

/** `input` in segments that end at `cuts`. */
export function segmentsOf(input: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const ends = [...new Set(cuts), input.length].sort((a, b) => a - b);
  return ends.map((end, i) => input.subarray(i === 0 ? 0 : ends[i - 1], end));
}
