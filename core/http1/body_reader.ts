import type { ByteReader } from "./byte_reader.ts";
import { CR, LF } from "./characters.ts";
import { chunkHeadLength, writeChunkHead } from "./chunk_head.ts";
import { ChunkedDecoder } from "./chunked.ts";
import { FAULTS, type HttpFault } from "./fault.ts";
import { FieldTable } from "./fields.ts";
import type { BodyKind } from "./framing.ts";

/** Bytes of a trailer section: checksums and a status, as a rule. */
const MAX_TRAILERS = 8 * 1024;

/** `CRLF 0 CRLF CRLF`: the end of a chunk, the last one, and no trailers. */
const CHUNK_END_AND_LAST = new TextEncoder().encode("\r\n0\r\n\r\n");

/**
 * Takes bodies out of a {@link ByteReader}, one after the other, decoded and strictly checked. Reused for each body of a
 * connection. The head must be consumed before.
 */
export class BodyReader {
  /** Whether all of the body has been given out, its trailers included. May be so already when the last data is given out. */
  done = true;
  readonly #reader: ByteReader;
  readonly #chunks = new ChunkedDecoder();
  #kind: BodyKind = "none";
  /** Of a body of kind `length`. */
  #left = 0;
  #fault: HttpFault | undefined;
  #fields: FieldTable | undefined;
  #inTrailers = false;

  constructor(reader: ByteReader) {
    this.#reader = reader;
  }

  /** Begins a body. @param contentLength Counts with kind `length` only. */
  start(kind: BodyKind, contentLength = -1): void {
    if (kind === "length" && contentLength < 0) throw new RangeError("The length of the body is missing");
    this.#kind = kind;
    this.#left = contentLength;
    this.#fault = undefined;
    this.#inTrailers = false;
    this.done = kind === "none" || (kind === "length" && contentLength === 0);
    if (kind === "chunked") this.#chunks.begin();
  }

  /**
   * The body's bytes as far as they lie ready, those of several chunks put together; never empty. A view into the
   * reader's buffer, valid until the next call of anything here or of `fill`. Needs no waiting.
   *
   * `more`: fill the reader, and call {@link ended} when that says FIN. `end`: the body is over (again on each call).
   */
  next(): Uint8Array<ArrayBuffer> | "more" | "end" | HttpFault {
    if (this.done) return "end";
    if (this.#kind === "chunked") return this.#fault ?? this.#nextOfChunks();
    const bytes = this.#reader.bytes;
    if (bytes.length === 0) return "more";
    if (this.#kind === "until-close") {
      this.#reader.consume(bytes.length);
      return bytes;
    }
    const data = bytes.length > this.#left ? bytes.subarray(0, this.#left) : bytes;
    this.#reader.consume(data.length);
    this.#left -= data.length;
    this.done = this.#left === 0;
    return data;
  }

  /** The same, waiting for bytes. A FIN inside of the body is the fault `body-cut-short`. */
  async read(): Promise<Uint8Array<ArrayBuffer> | "end" | HttpFault> {
    for (;;) {
      const found = this.next();
      if (found !== "more") return found;
      if (!await this.#reader.fill()) return this.ended();
    }
  }

  /** The stream has ended. @returns `end` when that is how this body ends, else the fault `body-cut-short`. */
  ended(): "end" | HttpFault {
    if (this.#kind === "until-close") this.done = true;
    return this.done ? "end" : FAULTS.bodyCutShort;
  }

  /**
   * `data`, which {@link next} or {@link read} has just given out of a body of kind `chunked` or `until-close`, as one
   * chunk: its head is written in front of it and CRLF behind it, in the same buffer.
   *
   * @param last The last chunk and the empty line follow. Only when {@link done} and there are no {@link trailers}.
   */
  asChunk(data: Uint8Array<ArrayBuffer>, last = false): Uint8Array<ArrayBuffer> {
    // Behind the data of a `length` body the next message may lie.
    if (this.#kind !== "chunked" && this.#kind !== "until-close") {
      throw new TypeError("Not a body for chunks");
    }
    if (last && (!this.done || this.trailers !== undefined)) throw new TypeError("Not the last chunk");
    const before = chunkHeadLength(data.length);
    const after = last ? CHUNK_END_AND_LAST.length : 2;
    const chunk = new Uint8Array(data.buffer, data.byteOffset - before, before + data.length + after);
    writeChunkHead(chunk, before, data.length);
    for (let i = 0, at = before + data.length; i < after; i++) {
      chunk[at + i] = CHUNK_END_AND_LAST[i] as number;
    }
    return chunk;
  }

  /**
   * The trailer fields, once {@link done}; `undefined` when there are none. Valid until the next `fill`.
   * `HeadWriter.lastChunk` leaves out those that must not be there.
   */
  get trailers(): FieldTable | undefined {
    return this.done && this.#inTrailers && this.#fields !== undefined && this.#fields.count > 0
      ? this.#fields
      : undefined;
  }

  #nextOfChunks(): Uint8Array<ArrayBuffer> | "more" | "end" | HttpFault {
    const bytes = this.#reader.bytes;
    const chunks = this.#chunks;
    if (bytes.length === 0) return "more";
    if (chunks.atTrailers) return this.#nextOfTrailers();
    this.#fault = chunks.decode(bytes);
    this.#reader.consume(chunks.consumed);
    const found = chunks.atTrailers ? this.#nextOfTrailers() : this.#fault ?? "more";
    return chunks.dataEnd > chunks.dataStart ? bytes.subarray(chunks.dataStart, chunks.dataEnd) : found;
  }

  #nextOfTrailers(): "more" | "end" | HttpFault {
    const bytes = this.#reader.bytes;
    if (
      !this.#inTrailers &&
      (bytes.length === 0 || (bytes[0] === CR && (bytes.length === 1 || bytes[1] === LF)))
    ) {
      if (bytes.length < 2) return "more";
      this.#reader.consume(2);
      this.done = true;
      return "end";
    }
    const fields = this.#fields ??= new FieldTable();
    if (!this.#inTrailers) fields.begin(0, MAX_TRAILERS);
    this.#inTrailers = true;
    const result = fields.parse(bytes);
    if (result === "more") return result;
    if (result !== "done") {
      return this.#fault = result === FAULTS.headTooLong ? FAULTS.trailersTooLong : result;
    }
    this.#reader.consume(fields.end);
    this.done = true;
    return "end";
  }
}
