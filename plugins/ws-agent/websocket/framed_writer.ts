import type { ByteStream } from "../../../core/plugin/mod.ts";

/**
 * A byte stream that puts a frame around what it sends, and that can do so without a copy when the caller leaves it
 * room. A multiplexer that gathers its own frames in a buffer asks for it with {@link isFramedWriter}:
 *
 * ```ts
 * const framed = isFramedWriter(transport) ? transport : undefined;
 * const headroom = framed?.headroom ?? 0;
 * const batch = new Uint8Array(headroom + BATCH_BYTES); // filled from `headroom` on
 * if (framed) await framed.writeInPlace(batch, headroom, end);
 * else await writeAll(transport, batch.subarray(headroom, end));
 * ```
 */
export interface FramedWriter {
  /** How many bytes before `start` have to be the caller's to lose. Constant for the life of the stream. */
  readonly headroom: number;
  /** The most payload of one {@link writeInPlace}, in bytes. At least 1 MiB. */
  readonly maxInPlaceBytes: number;
  /**
   * Sends `buffer[start, end)`, all of it, as one frame and with one write of the transport where that takes it all.
   *
   * The buffer is scratch until this resolves: the header is written into `buffer[start - headroom, start)`, and the
   * side that masks does it in place, so that the payload is garbage afterwards. Counts as a write: one at a time, and
   * not beside `write()`.
   *
   * @throws {RangeError} Less than {@link headroom} before `start`, an empty range, or one over {@link maxInPlaceBytes}.
   * Else as `write()`.
   */
  writeInPlace(buffer: Uint8Array, start: number, end: number): Promise<void>;
}

/** Whether `stream` frames in place. */
export function isFramedWriter(stream: ByteStream): stream is ByteStream & FramedWriter {
  return "writeInPlace" in stream && typeof stream.writeInPlace === "function" && "headroom" in stream;
}
