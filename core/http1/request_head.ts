import { type Authority, parseAuthority } from "./authority.ts";
import {
  ASTERISK,
  CR,
  equals,
  hashOf,
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
import {
  CLOSE,
  connectionOptions,
  KEEP_ALIVE,
  MALFORMED,
  protocolsOf,
  takesTrailers,
  UPGRADE,
} from "./connection.ts";
import { FAULTS, type HttpFault } from "./fault.ts";
import { FieldTable, type HeadResult } from "./fields.ts";
import { type BodyKind, Framing } from "./framing.ts";

/** RFC 9112 §3 asks for 8,000 at least. Counted from the first byte of the head to CRLF. */
export const MAX_REQUEST_LINE = 8 * 1024;
/** With 8 KiB of target and as much of cookies there is as much again to spare. */
export const MAX_HEAD = 32 * 1024;
/** The longest one that is registered (UPDATEREDIRECTREF) has 17. */
const MAX_METHOD = 32;

/** What stands behind the target, CRLF included: `HTTP/1.1`. */
const VERSION_LENGTH = 10;

/** Methods that are found by comparing, not by decoding, in the order in which they are tried. */
const COMMON_METHODS = ["GET", "POST", "HEAD", "PUT", "OPTIONS", "DELETE", "PATCH"];

const HOST = hashOf("host"), CONTENT_LENGTH = hashOf("content-length"), CONNECTION = hashOf("connection");
const TRANSFER_ENCODING = hashOf("transfer-encoding"), EXPECT = hashOf("expect"), TE = hashOf("te");

/** Where {@link RequestHead.parse} stands: what it looks for next. */
const START = 0, METHOD = 1, PATH = 2, QUERY = 3, VERSION = 4, FIELDS = 5;

/**
 * The head of an HTTP/1.x request, parsed strictly and reused for one request after the other of a connection.
 * `parse()` is asked again with more bytes until it says other than `more`; every byte is looked at once.
 *
 * The plain properties below stay when the bytes go; `fields`, `target`, `path` and `pathname` do not (see {@link FieldTable}).
 */
export class RequestHead {
  readonly fields: FieldTable = new FieldTable();
  /** Bytes of the head, the empty line that ends it included. What `ByteReader.consume` is to be given. */
  length = 0;
  /** As it was sent; never with lower-case letters, never CONNECT or TRACE. */
  method = "";
  version: "1.0" | "1.1" = "1.1";
  /** `asterisk` only with OPTIONS. An absolute form is http or https and agrees with Host. */
  form: "origin" | "absolute" | "asterisk" = "origin";
  /** The one Host field. */
  authority: Authority = { host: "", name: undefined, port: undefined };
  /** Never `until-close`. */
  body: BodyKind = "none";
  /** Bytes of a body of kind `length`; 0 when `Content-Length: 0` was sent, -1 when none was. */
  contentLength = -1;
  /** Whether the client lets the connection go on after this request. */
  keepAlive = true;
  /** `Expect: 100-continue` of HTTP/1.1, with a body. */
  expectsContinue = false;
  /**
   * The Upgrade field's value in lower case, `websocket` as a rule, when Connection names it, in HTTP/1.1 and without a
   * body. `h2c` never stands here.
   */
  upgrade: string | undefined;
  /** Whether TE names `trailers`. */
  acceptsTrailers = false;

  readonly #framing = new Framing();
  #state = START;
  #at = 0;
  #targetStart = 0;
  #pathStart = 0;
  #pathEnd = 0;
  /** The Host that {@link authority} was made of. */
  #hostText: string | undefined;

  /**
   * @param seen Every byte from where the head begins; the same ones as before and more when it said `more`. One CRLF in
   *   front of the head is passed over (RFC 9112 §2.2).
   */
  parse(seen: Uint8Array): HeadResult {
    if (this.#state !== FIELDS) {
      const result = this.#parseLine(seen);
      if (result !== undefined) return this.#stopUnlessMore(result);
    }
    const result = this.fields.parse(seen);
    if (result === "more") return result;
    this.#state = START;
    this.#at = 0;
    if (result !== "done") return result;
    this.length = this.fields.end;
    return this.#readFields() ?? "done";
  }

  #stopUnlessMore(result: "more" | HttpFault): "more" | HttpFault {
    if (result !== "more") {
      this.#state = START;
      this.#at = 0;
    }
    return result;
  }

  /** @returns `undefined` when the line is done. */
  #parseLine(seen: Uint8Array): "more" | HttpFault | undefined {
    const end = Math.min(seen.length, MAX_REQUEST_LINE);
    if (this.#state === START) {
      const start = afterEmptyLine(seen);
      if (typeof start !== "number") return start;
      this.#targetStart = start; // of the method, until that is known
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
    const start = this.#targetStart;
    let at = this.#at;
    while (at < end && IN_METHOD[seen[at] as number] === 1) at++;
    this.#at = at;
    if (at - start > MAX_METHOD) return FAULTS.methodRefused;
    if (at === end) return "more";
    if (seen[at] !== SPACE || at === start) return methodFault(seen, at);
    this.method = methodOf(seen, start, at);
    if (this.method === "CONNECT" || this.method === "TRACE") return FAULTS.methodRefused;
    this.#at = this.#targetStart = at + 1;
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
    if (at === this.#targetStart) return FAULTS.requestLine;
    this.#pathEnd = at;
    this.#at = at + 1;
    this.#state = VERSION;
    return this.#classify(seen);
  }

  /** Tells the form of the target. Its authority is looked at when Host is known. */
  #classify(seen: Uint8Array): HttpFault | undefined {
    const start = this.#targetStart;
    const first = seen[start];
    this.#pathStart = start;
    if (first === SLASH) this.form = "origin";
    else if (first === ASTERISK && this.#pathEnd === start + 1 && this.method === "OPTIONS") {
      this.form = "asterisk";
    } else if (schemeLength(seen, start, this.#pathEnd) > 0) this.form = "absolute";
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
    this.fields.begin(at + VERSION_LENGTH, MAX_HEAD);
    this.#state = FIELDS;
    return undefined;
  }

  #readFields(): HttpFault | undefined {
    const { fields } = this;
    this.#framing.clear();
    this.expectsContinue = false;
    this.acceptsTrailers = false;
    let host = -1;
    let options = 0;
    for (let i = 0; i < fields.count; i++) {
      switch (fields.hash(i)) {
        case HOST:
          if (!fields.is(i, "host")) break;
          if (host >= 0) return FAULTS.hostTwice;
          host = i;
          break;
        case CONTENT_LENGTH:
        case TRANSFER_ENCODING: {
          const fault = this.#framing.take(fields, i, this.version);
          if (fault !== undefined) return fault;
          break;
        }
        case CONNECTION: {
          if (!fields.is(i, "connection")) break;
          const found = connectionOptions(fields, i);
          if (found === MALFORMED) return FAULTS.connection;
          options |= found;
          break;
        }
        case EXPECT:
          if (!fields.is(i, "expect") || this.version === "1.0") break;
          if (fields.value(i).toLowerCase() !== "100-continue") return FAULTS.expectation;
          this.expectsContinue = true;
          break;
        case TE:
          if (fields.is(i, "te") && takesTrailers(fields.value(i))) this.acceptsTrailers = true;
          break;
      }
    }
    this.keepAlive = (options & CLOSE) === 0 && (this.version === "1.1" || (options & KEEP_ALIVE) !== 0);
    this.body = this.#framing.kind ?? "none";
    this.contentLength = this.#framing.contentLength;
    if (this.body === "none") this.expectsContinue = false;
    return this.#readHost(host) ?? this.#readUpgrade(options);
  }

  #readHost(i: number): HttpFault | undefined {
    if (i < 0) return FAULTS.hostMissing;
    const text = this.fields.value(i);
    if (text !== this.#hostText) { // the requests of a connection are for one host as a rule
      const authority = parseAuthority(text);
      if (authority === undefined) return FAULTS.host;
      this.authority = authority;
      this.#hostText = text;
    }
    return this.form === "absolute" ? this.#agreeWithTarget() : undefined;
  }

  /** Compares the authority of an absolute form with Host, and finds where its path starts. */
  #agreeWithTarget(): HttpFault | undefined {
    const { bytes } = this.fields;
    const scheme = schemeLength(bytes, this.#targetStart, this.#pathEnd);
    const start = this.#targetStart + scheme;
    let at = start;
    while (at < this.#pathEnd && bytes[at] !== SLASH && bytes[at] !== QUESTION) at++;
    this.#pathStart = at;
    const named = parseAuthority(textOf(bytes, start, at));
    if (named === undefined) return FAULTS.target;
    const usual = scheme === "https://".length ? 443 : 80;
    const samePort = (named.port ?? usual) === (this.authority.port ?? usual);
    return named.host === this.authority.host && samePort ? undefined : FAULTS.hostAndTarget;
  }

  #readUpgrade(options: number): HttpFault | undefined {
    this.upgrade = undefined;
    if ((options & UPGRADE) === 0 || this.version === "1.0") return undefined;
    const protocols = protocolsOf(this.fields);
    if (protocols === null) return FAULTS.upgrade;
    if (this.body === "none") this.upgrade = protocols;
    return undefined;
  }

  /** The target as it was sent. */
  get target(): string {
    return textOf(this.fields.bytes, this.#targetStart, this.#pathEnd);
  }

  /** Where path and query start in `fields.bytes`: behind the authority of an absolute form. */
  get pathStart(): number {
    return this.#pathStart;
  }

  /** Where path and query, and with them the target, end. */
  get pathEnd(): number {
    return this.#pathEnd;
  }

  /**
   * Path and query in origin form, or `*`. An absolute form without a path has `/`, or `*` with OPTIONS (RFC 9112 §3.2.4).
   */
  get path(): string {
    const sent = textOf(this.fields.bytes, this.#pathStart, this.#pathEnd);
    return this.impliedPath + sent;
  }

  /** What has to stand in front of the bytes from {@link pathStart} to make them origin form; nothing as a rule. */
  get impliedPath(): "" | "/" | "*" {
    if (this.form !== "absolute" || this.fields.bytes[this.#pathStart] === SLASH) return "";
    return this.#pathStart === this.#pathEnd && this.method === "OPTIONS" ? "*" : "/";
  }

  /** The path without its query, at most `max` characters: for the log. */
  pathname(max = 256): string {
    const end = this.fields.bytes.subarray(0, this.#pathEnd).indexOf(QUESTION, this.#pathStart);
    const pathEnd = Math.min(end < 0 ? this.#pathEnd : end, this.#pathStart + max);
    return this.impliedPath + textOf(this.fields.bytes, this.#pathStart, pathEnd);
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

/** How long `http://` or `https://` is at `start`; 0 when neither stands there. */
function schemeLength(seen: Uint8Array, start: number, end: number): number {
  const text = textOf(seen, start, Math.min(end, start + "https://".length)).toLowerCase();
  if (text === "https://") return 8;
  return text.startsWith("http://") ? 7 : 0;
}

const HTTP_SLASH = "HTTP/";

/** Reads `HTTP/1.0` or `HTTP/1.1` as far as it is there. */
export function parseVersion(seen: Uint8Array, at: number): "1.0" | "1.1" | "more" | HttpFault {
  const length = Math.min(seen.length - at, HTTP_SLASH.length + 3);
  for (let i = 0; i < length; i++) {
    const byte = seen[at + i] as number;
    if (
      i < HTTP_SLASH.length ? byte !== HTTP_SLASH.charCodeAt(i) : !isVersionByte(i - HTTP_SLASH.length, byte)
    ) {
      return byte === LF ? FAULTS.bareLf : FAULTS.version;
    }
  }
  if (length < HTTP_SLASH.length + 3) return "more";
  if (seen[at + 5] !== 0x31) return FAULTS.versionRefused;
  if (seen[at + 7] === 0x31) return "1.1";
  return seen[at + 7] === 0x30 ? "1.0" : FAULTS.versionRefused;
}

/** Digit, dot, digit. */
function isVersionByte(i: number, byte: number): boolean {
  return i === 1 ? byte === 0x2e : byte >= 0x30 && byte <= 0x39;
}

function lineEndFault(seen: Uint8Array, at: number): HttpFault {
  return seen[at] === LF ? FAULTS.bareLf : FAULTS.requestLine;
}
