import { CR, HEX_VALUE, IN_VALUE, LF, SEMICOLON } from "./characters.ts";
import { FAULTS, type HttpFault } from "./fault.ts";

/** As many hexadecimal digits as make 2^53, and some zeros in front. */
const MAX_DIGITS = 16;
/** On one line. Nothing that is in use sends any; signatures of 100 bytes have been seen. */
const MAX_EXTENSION = 256;
/** In one body: else every byte of it could drag 256 along. */
const MAX_EXTENSIONS = 16 * 1024;
/** Up to here a loop is faster than `copyWithin`. */
const SHORT = 32;

/** What comes next. */
const SIZE = 0, EXTENSION = 1, SIZE_LF = 2, DATA = 3, DATA_CR = 4, DATA_LF = 5, TRAILERS = 6;

/**
 * Takes chunks apart, RFC 9112 §7.1, up to the trailers. Strict: CRLF ends every line, no whitespace anywhere; extensions
 * are checked, bounded and dropped.
 */
export class ChunkedDecoder {
  /** Where the data that {@link decode} found starts and ends in what it was given; equal when it found none. */
  dataStart = 0;
  dataEnd = 0;
  /** How many bytes it has dealt with. */
  consumed = 0;
  #state = SIZE;
  #digits = 0;
  /** Of the chunk's size: what is still to come of it, once in its data. */
  #left = 0;
  #extension = 0;
  #extensions = 0;

  /** Begins a new body. */
  begin(): void {
    this.#state = SIZE;
    this.#digits = 0;
    this.#left = 0;
    this.#extension = 0;
    this.#extensions = 0;
  }

  /** Whether the last chunk's line is over: what follows is the trailer section, even when it is only an empty line. */
  get atTrailers(): boolean {
    return this.#state === TRAILERS;
  }

  /**
   * Deals with all of `bytes`, or with those up to the trailers. The data of several chunks is moved together, within
   * `bytes`. What was in order before a fault is given out all the same.
   */
  decode(bytes: Uint8Array): HttpFault | undefined {
    this.dataStart = this.dataEnd = 0;
    let at = 0;
    let fault: HttpFault | undefined;
    while (at < bytes.length && this.#state !== TRAILERS) {
      if (this.#state === DATA) {
        at = this.#takeData(bytes, at);
      } else {
        fault = this.#step(bytes[at] as number);
        if (fault !== undefined) break;
        at++;
      }
    }
    this.consumed = at;
    return fault;
  }

  #takeData(bytes: Uint8Array, at: number): number {
    const length = Math.min(this.#left, bytes.length - at);
    if (this.dataEnd === this.dataStart) this.dataStart = this.dataEnd = at;
    if (this.dataEnd !== at) move(bytes, this.dataEnd, at, length);
    this.dataEnd += length;
    this.#left -= length;
    if (this.#left === 0) this.#state = DATA_CR;
    return at + length;
  }

  /** Deals with one byte that is no data. */
  #step(byte: number): HttpFault | undefined {
    switch (this.#state) {
      case SIZE:
        return this.#sizeStep(byte);
      case EXTENSION:
        if (byte === CR) this.#state = SIZE_LF;
        else if (IN_VALUE[byte] !== 1) return byte === LF ? FAULTS.bareLf : FAULTS.chunkExtension;
        else if (++this.#extension > MAX_EXTENSION || ++this.#extensions > MAX_EXTENSIONS) {
          return FAULTS.chunkExtension;
        }
        return undefined;
      case SIZE_LF:
        if (byte !== LF) return FAULTS.bareCr;
        this.#state = this.#left === 0 ? TRAILERS : DATA;
        return undefined;
      case DATA_CR:
        if (byte !== CR) return byte === LF ? FAULTS.bareLf : FAULTS.chunkEnd;
        this.#state = DATA_LF;
        return undefined;
      default: // DATA_LF
        if (byte !== LF) return FAULTS.bareCr;
        this.#state = SIZE;
        this.#digits = 0;
        this.#extension = 0;
        return undefined;
    }
  }

  #sizeStep(byte: number): HttpFault | undefined {
    const value = HEX_VALUE[byte] as number;
    if (value < 16) {
      this.#left = this.#left * 16 + value;
      return ++this.#digits > MAX_DIGITS || this.#left > Number.MAX_SAFE_INTEGER
        ? FAULTS.chunkSize
        : undefined;
    }
    if (byte === LF) return FAULTS.bareLf;
    if (this.#digits === 0) return FAULTS.chunkSize;
    if (byte === CR) this.#state = SIZE_LF;
    else if (byte === SEMICOLON) this.#state = EXTENSION;
    else return FAULTS.chunkSize;
    return undefined;
  }
}

function move(bytes: Uint8Array, to: number, from: number, length: number): void {
  if (length > SHORT) bytes.copyWithin(to, from, from + length);
  else for (let i = 0; i < length; i++) bytes[to + i] = bytes[from + i] as number;
}
