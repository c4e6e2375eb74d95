import { BufferPool } from "../data_plane/buffers.ts";
import { IN_METHOD, IN_QUERY, IN_VALUE, TOKEN_LOWER } from "./characters.ts";
import { chunkHeadLength, writeChunkHead } from "./chunk_head.ts";
import type { FieldSet, FieldTable } from "./fields.ts";
import { FORBIDDEN_TRAILERS } from "./hop_by_hop.ts";
import { reasonOf } from "./reasons.ts";
import type { RequestHead } from "./request_head.ts";

/** The last chunk of a body without trailers, and the empty line. Only to be sent, never written to. */
export const LAST_CHUNK: Uint8Array<ArrayBuffer> = new TextEncoder().encode("0\r\n\r\n");

/** A head of 1,500 bytes and what a proxy adds, or a small answer as a whole. */
const buffers = new BufferPool(4096, Infinity, 256);
/** Up to here a loop is faster than `set`. */
const SHORT = 24;
const ANY: Uint8Array = new Uint8Array(256).fill(1);

/**
 * Puts heads (and what small things follow them) together in one buffer that is reused. Nothing that would end a line
 * early gets in: such a name or value is a `TypeError`.
 */
export class HeadWriter {
  #buffer: Uint8Array<ArrayBuffer> | undefined;
  #length = 0;

  /** How many bytes stand in it. */
  get length(): number {
    return this.#length;
  }

  /** Begins a new one; what {@link bytes} gave before is overwritten from here on. */
  clear(): this {
    this.#length = 0;
    return this;
  }

  /** Gives the buffer back: nothing may use what {@link bytes} gave any more. The next use takes another. */
  release(): void {
    if (this.#buffer?.length === buffers.size) buffers.give(this.#buffer);
    this.#buffer = undefined;
    this.#length = 0;
  }

  /** `METHOD path HTTP/1.1`, in origin form (or `*`), straight from the bytes of `head`. */
  requestLineOf(head: RequestHead): this {
    this.#text(head.method, IN_METHOD);
    this.#text(" ", ANY);
    this.#text(head.impliedPath, ANY);
    this.#copy(head.fields.bytes, head.pathStart, head.pathEnd);
    this.#text(" HTTP/1.1\r\n", ANY);
    return this;
  }

  /** @param path Path and query, or `*`. @throws {TypeError} for what a request line cannot hold. */
  requestLine(method: string, path: string): this {
    this.#text(method, IN_METHOD);
    this.#text(" ", ANY);
    this.#text(path, IN_QUERY);
    this.#text(" HTTP/1.1\r\n", ANY);
    return this;
  }

  /** `HTTP/1.1 STATUS REASON`. @default reason What is usual with the status, else nothing. */
  statusLine(status: number, reason: string = reasonOf(status)): this {
    this.#text("HTTP/1.1 ", ANY);
    this.#number(status);
    this.#text(" ", ANY);
    this.#text(reason, IN_VALUE);
    this.#text("\r\n", ANY);
    return this;
  }

  /** One field. @param value Each character is one byte. @throws {TypeError} for what a field cannot hold. */
  field(name: string, value: string | number): this {
    this.#text(name, TOKEN_LOWER);
    this.#text(": ", ANY);
    if (typeof value === "string") this.#text(value, IN_VALUE);
    else this.#number(value);
    this.#text("\r\n", ANY);
    return this;
  }

  /** All fields but those in `drop` and those that Connection lists, as they were sent and in their order. */
  fieldsOf(fields: FieldTable, drop: FieldSet): this {
    const { listed } = fields;
    let runStart = fields.start;
    for (let i = 0; i < fields.count; i++) {
      if (!fields.isIn(i, drop) && (listed === undefined || !fields.isIn(i, listed))) continue;
      this.#copy(fields.bytes, runStart, fields.nameStart(i));
      runStart = i + 1 < fields.count ? fields.nameStart(i + 1) : fields.end - 2;
    }
    this.#copy(fields.bytes, runStart, fields.end - 2);
    return this;
  }

  /** The empty line. */
  end(): this {
    this.#text("\r\n", ANY);
    return this;
  }

  /** Bytes behind the head, to be sent in the same write. */
  raw(data: Uint8Array): this {
    this.#copy(data, 0, data.length);
    return this;
  }

  /** `data` as one chunk; nothing when it is empty, because that would be the last one. */
  chunk(data: Uint8Array): this {
    if (data.length === 0) return this;
    const head = chunkHeadLength(data.length);
    const into = this.#room(head + data.length + 2);
    this.#length += head;
    writeChunkHead(into, this.#length, data.length);
    this.#copy(data, 0, data.length);
    this.#text("\r\n", ANY);
    return this;
  }

  /**
   * The last chunk, those of `trailers` that may be sent on, and the empty line.
   *
   * @param drop What may not; `FORBIDDEN_TRAILERS` must be in it.
   */
  lastChunk(trailers?: FieldTable, drop: FieldSet = FORBIDDEN_TRAILERS): this {
    this.#text("0\r\n", ANY);
    if (trailers !== undefined) this.fieldsOf(trailers, drop);
    return this.end();
  }

  /** What stands in it: a view, valid until the next {@link clear} or {@link release}. */
  bytes(): Uint8Array<ArrayBuffer> {
    return this.#room(0).subarray(0, this.#length);
  }

  /** Appends text whose every character `allowed` has. */
  #text(text: string, allowed: Uint8Array): void {
    const into = this.#room(text.length);
    let at = this.#length;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code > 0xff || allowed[code] === 0) throw new TypeError(`No head can hold ${JSON.stringify(text)}`);
      into[at++] = code;
    }
    this.#length = at;
  }

  #number(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new TypeError(`No head can hold the number ${value}`);
    }
    this.#text(String(value), ANY);
  }

  #copy(from: Uint8Array, start: number, end: number): void {
    const length = end - start;
    if (length <= 0) return;
    const into = this.#room(length);
    if (length > SHORT) into.set(from.subarray(start, end), this.#length);
    else for (let i = 0; i < length; i++) into[this.#length + i] = from[start + i] as number;
    this.#length += length;
  }

  /** The buffer, with `length` bytes free behind what stands in it. */
  #room(length: number): Uint8Array<ArrayBuffer> {
    const buffer = this.#buffer ??= buffers.take() ?? new Uint8Array(buffers.size);
    if (this.#length + length <= buffer.length) return buffer;
    const larger = new Uint8Array(2 ** Math.ceil(Math.log2(this.#length + length)));
    larger.set(buffer.subarray(0, this.#length));
    if (buffer.length === buffers.size) buffers.give(buffer);
    return this.#buffer = larger;
  }
}
