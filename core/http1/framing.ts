import { COMMA, equalsToken, HTAB, NINE, SPACE, TOKEN_LOWER, ZERO } from "./characters.ts";
import { FAULTS, type HttpFault } from "./fault.ts";
import type { FieldTable } from "./fields.ts";

/** How a body is delimited, RFC 9112 §6.3. `until-close` only comes from a service. */
export type BodyKind = "none" | "length" | "chunked" | "until-close";

/**
 * Reads a Content-Length: digits and nothing else, no zero in front, below 2^53.
 *
 * @returns -1 for anything else.
 */
export function parseContentLength(bytes: Uint8Array, start: number, end: number): number {
  if (start === end || (bytes[start] === ZERO && end - start > 1)) return -1;
  let length = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    if (byte < ZERO || byte > NINE) return -1;
    length = length * 10 + byte - ZERO;
  }
  return length <= Number.MAX_SAFE_INTEGER ? length : -1;
}

/** What is wrong with a Transfer-Encoding: it must be `chunked`, once, and nothing else. */
export function transferEncodingFault(bytes: Uint8Array, start: number, end: number): HttpFault | undefined {
  if (equalsToken(bytes, start, end, "chunked")) return undefined;
  // A list of tokens that ends with "chunked" could be decoded by somebody who knows the codings; the rest by nobody.
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    if (TOKEN_LOWER[byte] === 0 && byte !== COMMA && byte !== SPACE && byte !== HTAB) {
      return FAULTS.transferEncoding;
    }
  }
  const last = end - "chunked".length;
  const separated = bytes[last - 1] === COMMA || bytes[last - 1] === SPACE;
  const wellKnown = last > start && separated && equalsToken(bytes, last, end, "chunked");
  return wellKnown ? FAULTS.codingUnknown : FAULTS.transferEncoding;
}

/** The two framing fields of one head as they are found. */
export class Framing {
  /** -1: there is no Content-Length. */
  contentLength = -1;
  chunked = false;

  clear(): void {
    this.contentLength = -1;
    this.chunked = false;
  }

  /** Takes in field `i` if it is Content-Length or Transfer-Encoding. */
  take(fields: FieldTable, i: number, version: "1.0" | "1.1"): HttpFault | undefined {
    if (fields.is(i, "content-length")) return this.#takeLength(fields, i);
    return fields.is(i, "transfer-encoding") ? this.#takeCoding(fields, i, version) : undefined;
  }

  #takeLength(fields: FieldTable, i: number): HttpFault | undefined {
    if (this.contentLength >= 0) return FAULTS.contentLengthTwice;
    if (this.chunked) return FAULTS.lengthAndChunked;
    this.contentLength = parseContentLength(fields.bytes, fields.valueStart(i), fields.valueEnd(i));
    return this.contentLength < 0 ? FAULTS.contentLength : undefined;
  }

  #takeCoding(fields: FieldTable, i: number, version: "1.0" | "1.1"): HttpFault | undefined {
    if (this.chunked) return FAULTS.transferEncodingTwice;
    if (this.contentLength >= 0) return FAULTS.lengthAndChunked;
    if (version === "1.0") return FAULTS.chunkedInHttp10;
    this.chunked = true;
    return transferEncodingFault(fields.bytes, fields.valueStart(i), fields.valueEnd(i));
  }

  /** Without either field a request has no body. */
  get kind(): "none" | "length" | "chunked" | undefined {
    if (this.chunked) return "chunked";
    return this.contentLength < 0 ? undefined : this.contentLength === 0 ? "none" : "length";
  }
}
