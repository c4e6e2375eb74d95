import {
  ASTERISK,
  CR,
  equals,
  IN_METHOD,
  IN_PATH,
  IN_QUERY,
  LF,
  QUESTION,
  SLASH,
  SPACE,
  textOf,
  TOKEN_LOWER,
} from "./characters.ts";
import { FAULTS, type HttpFault } from "./fault.ts";
import type { HeadResult } from "./fields.ts";
import { parseVersion } from "./version.ts";

/** RFC 9112 §3 asks for 8,000 at least. Counted from the first byte of the head to the end of the target. */
export const MAX_REQUEST_LINE = 8 * 1024;
/** The longest one that is registered (UPDATEREDIRECTREF) has 17. */
const MAX_METHOD = 32;

/** What stands behind the target, CRLF included: `HTTP/1.1`. */
const VERSION_LENGTH = 10;

/** Methods that are found by comparing, not by decoding, in the order in which they are tried. */
const COMMON_METHODS = ["GET", "POST", "HEAD", "PUT", "OPTIONS", "DELETE", "PATCH"];

/** Where {@link RequestLine.parse} stands: what it looks for next. */
const START = 0, METHOD = 1, PATH = 2, QUERY = 3, VERSION = 4;

/** The first line of a request, RFC 9112 §3; reused for one after the other. */
export class RequestLine {
  method = "";
  version: "1.0" | "1.1" = "1.1";
  form: "origin" | "absolute" | "asterisk" = "origin";
  /** Where the target starts and ends. */
  targetStart = 0;
  targetEnd = 0;
  /** Where the next line starts. */
  end = 0;
  #state = START;
  #at = 0;

  /** Reads on from where it stopped. @param seen All bytes of the head, an empty line in front of it included. */
  parse(seen: Uint8Array): HeadResult {
    const result = this.#read(seen);
    if (result === "more") return result;
    this.#state = START;
    return result ?? "done";
  }

  #read(seen: Uint8Array): "more" | HttpFault | undefined {
    const end = Math.min(seen.length, MAX_REQUEST_LINE);
    if (this.#state === START) {
      const start = afterEmptyLine(seen);
      if (typeof start !== "number") return start;
      this.targetStart = start; // of the method, until that is known
      this.#at = start;
      this.#state = METHOD;
    }
    if (this.#state === METHOD) {
      const result = this.#parseMethod(seen, end);
      if (result !== undefined) return result;
    }
    if (this.#state !== VERSION) {
      const result = this.#parseTarget(seen, end);
      if (result !== undefined) return result;
    }
    return this.#parseVersion(seen);
  }

  #parseMethod(seen: Uint8Array, end: number): "more" | HttpFault | undefined {
    const start = this.targetStart;
    let at = this.#at;
    while (at < end && IN_METHOD[seen[at] as number] === 1) at++;
    this.#at = at;
    if (at - start > MAX_METHOD) return FAULTS.methodRefused;
    if (at === end) return "more";
    if (seen[at] !== SPACE || at === start) return methodFault(seen, at);
    this.method = methodOf(seen, start, at);
    if (this.method === "CONNECT" || this.method === "TRACE") return FAULTS.methodRefused;
    this.#at = this.targetStart = at + 1;
    this.#state = PATH;
    return undefined;
  }

  #parseTarget(seen: Uint8Array, end: number): "more" | HttpFault | undefined {
    let at = this.#at;
    if (this.#state === PATH) {
      while (at < end && IN_PATH[seen[at] as number] === 1) at++;
      if (at < end && seen[at] === QUESTION) this.#state = QUERY;
    }
    if (this.#state === QUERY) { while (at < end && IN_QUERY[seen[at] as number] === 1) at++; }
    this.#at = at;
    if (at === MAX_REQUEST_LINE) return FAULTS.targetTooLong;
    if (at === end) return "more";
    if (seen[at] !== SPACE) return targetFault(seen, at);
    if (at === this.targetStart) return FAULTS.requestLine;
    this.targetEnd = at;
    this.#at = at + 1;
    this.#state = VERSION;
    return this.#classify(seen);
  }

  /** Tells the form of the target. The authority in it is looked at when Host is known. */
  #classify(seen: Uint8Array): HttpFault | undefined {
    const start = this.targetStart;
    const first = seen[start];
    if (first === SLASH) this.form = "origin";
    else if (first === ASTERISK && this.targetEnd === start + 1 && this.method === "OPTIONS") {
      this.form = "asterisk";
    } else if (schemeLength(seen, start, this.targetEnd) > 0) this.form = "absolute";
    else return FAULTS.target;
    return undefined;
  }

  #parseVersion(seen: Uint8Array): "more" | HttpFault | undefined {
    const at = this.#at;
    const version = parseVersion(seen, at);
    if (typeof version === "object") return version;
    const left = seen.length - at;
    if (left > 8 && seen[at + 8] !== CR) return lineEndFault(seen, at + 8);
    if (left >= VERSION_LENGTH && seen[at + 9] !== LF) return FAULTS.bareCr;
    if (version === "more" || left < VERSION_LENGTH) return "more";
    this.version = version;
    this.end = at + VERSION_LENGTH;
    return undefined;
  }
}

/** Where the request line starts: behind one CRLF, if there is one. */
function afterEmptyLine(seen: Uint8Array): number | "more" | HttpFault {
  if (seen.length === 0) return "more";
  if (seen[0] === LF) return FAULTS.bareLf;
  if (seen[0] !== CR) return 0;
  if (seen.length === 1) return "more";
  return seen[1] === LF ? 2 : FAULTS.bareCr;
}

function methodOf(seen: Uint8Array, start: number, end: number): string {
  for (const method of COMMON_METHODS) if (equals(seen, start, end, method)) return method;
  return textOf(seen, start, end);
}

function methodFault(seen: Uint8Array, at: number): HttpFault {
  const byte = seen[at] as number;
  if (byte === LF) return FAULTS.bareLf;
  return TOKEN_LOWER[byte] === 0 ? FAULTS.method : FAULTS.methodRefused;
}

function targetFault(seen: Uint8Array, at: number): HttpFault {
  if (seen[at] === LF) return FAULTS.bareLf;
  return seen[at] === CR ? FAULTS.version : FAULTS.target; // a line that ends here is HTTP/0.9's
}

/** Whether `text` is a target in origin form, as {@link RequestLine} takes it: a path, and a query if there is one. */
export function isTarget(text: string): boolean {
  if (!text.startsWith("/")) return false;
  let allowed = IN_PATH;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === QUESTION) allowed = IN_QUERY;
    if (code > 0x7f || allowed[code] === 0) return false;
  }
  return true;
}

/** How long `http://` or `https://` is at `start`; 0 when neither stands there. */
export function schemeLength(seen: Uint8Array, start: number, end: number): number {
  const text = textOf(seen, start, Math.min(end, start + "https://".length)).toLowerCase();
  if (text === "https://") return 8;
  return text.startsWith("http://") ? 7 : 0;
}

function lineEndFault(seen: Uint8Array, at: number): HttpFault {
  return seen[at] === LF ? FAULTS.bareLf : FAULTS.requestLine;
}
