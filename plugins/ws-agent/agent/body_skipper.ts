import type { BodyKind } from "../../../core/http1/mod.ts";

const LF = 0x0a, CR = 0x0d;
const CRLF_BYTES = 2;
/** Of a chunk's head or a trailer line; what is longer is not worth following. */
const MAX_LINE_BYTES = 8192;
const MAX_CHUNK_DIGITS = 13;

/** Passes over message bodies (RFC 9112 §6, §7.1) as their bytes come by, without keeping any. */
export class BodySkipper {
  readonly #onData: ((data: Uint8Array) => void) | undefined;
  #kind: BodyKind = "none";
  /** Bytes of the body or of the chunk, its CRLF included, that are still to come. */
  #left = 0;
  /** How many of those are no data: the CRLF behind a chunk. */
  #ending = 0;
  #in: "size" | "extension" | "data" | "trailer" = "size";
  #digits = 0;
  #lineBytes = 0;
  /** Whether the body is over. Never for one that ends with the connection. */
  done = true;

  /** @param onData Is shown the data of a body, without the framing of chunks; a view that is only valid during the call. */
  constructor(onData?: (data: Uint8Array) => void) {
    this.#onData = onData;
  }

  start(kind: BodyKind, contentLength: number): void {
    this.#kind = kind;
    this.#ending = kind === "chunked" ? CRLF_BYTES : 0;
    this.#left = contentLength;
    this.done = kind === "none" || (kind === "length" && contentLength === 0);
    if (kind === "chunked") this.#nextChunk();
  }

  /** @returns Where the body ends in `bytes`, or their length when it goes on; `undefined`: this is no body that makes sense. */
  skip(bytes: Uint8Array, from: number): number | undefined {
    if (this.done) return from;
    if (this.#kind === "until-close") {
      this.#onData?.(bytes.subarray(from));
      return bytes.length;
    }
    if (this.#kind === "chunked") return this.#skipChunks(bytes, from);
    const end = this.#skipData(bytes, from);
    this.done = this.#left === 0;
    return end;
  }

  #skipData(bytes: Uint8Array, from: number): number {
    const taken = Math.min(this.#left, bytes.length - from);
    const data = Math.min(taken, this.#left - this.#ending);
    if (data > 0) this.#onData?.(bytes.subarray(from, from + data));
    this.#left -= taken;
    return from + taken;
  }

  #skipChunks(bytes: Uint8Array, from: number): number | undefined {
    for (let at = from; at < bytes.length;) {
      if (this.#in === "data") {
        at = this.#skipData(bytes, at);
        if (this.#left === 0) this.#nextChunk();
        continue;
      }
      const byte = bytes[at++] ?? 0;
      if (++this.#lineBytes > MAX_LINE_BYTES || !this.#takeLineByte(byte)) return undefined;
      if (this.done) return at;
    }
    return bytes.length;
  }

  /** @returns False: not what may stand there. */
  #takeLineByte(byte: number): boolean {
    if (byte === LF) return this.#endLine();
    if (this.#in === "trailer") {
      if (byte !== CR) this.#digits++; // the line is not empty
      return true;
    }
    if (this.#in === "extension") return true;
    const digit = hexDigit(byte);
    if (digit < 0) {
      this.#in = "extension";
      return this.#digits > 0;
    }
    this.#left = this.#left * 16 + digit;
    return ++this.#digits <= MAX_CHUNK_DIGITS;
  }

  #endLine(): boolean {
    if (this.#in === "trailer") {
      this.done = this.#digits === 0;
      this.#digits = this.#lineBytes = 0;
      return true;
    }
    if (this.#digits === 0) return false;
    if (this.#left > 0) {
      this.#left += CRLF_BYTES;
      this.#in = "data";
    } else {
      this.#in = "trailer";
      this.#digits = this.#lineBytes = 0;
    }
    return true;
  }

  #nextChunk(): void {
    this.#in = "size";
    this.#left = this.#digits = this.#lineBytes = 0;
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
