import { type Authority, parseAuthority } from "./authority.ts";
import { hashOf, QUESTION, SLASH, textOf } from "./characters.ts";
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
import { RequestLine, schemeLength } from "./request_line.ts";

/** With 8 KiB of target and as much of cookies there is as much again to spare. */
export const MAX_HEAD = 32 * 1024;

const HOST = hashOf("host"), CONTENT_LENGTH = hashOf("content-length"), CONNECTION = hashOf("connection");
const TRANSFER_ENCODING = hashOf("transfer-encoding"), EXPECT = hashOf("expect"), TE = hashOf("te");

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
  readonly #line = new RequestLine();
  #inFields = false;
  #pathStart = 0;
  /** The Host that {@link authority} was made of. */
  #hostText: string | undefined;

  /**
   * @param seen Every byte from where the head begins; the same ones as before and more when it said `more`. One CRLF in
   *   front of the head is passed over (RFC 9112 §2.2).
   * @returns After a fault nothing here tells anything about the request; the connection is to be closed.
   */
  parse(seen: Uint8Array): HeadResult {
    if (!this.#inFields) {
      const result = this.#line.parse(seen);
      if (result !== "done") return result;
      this.#takeLine();
    }
    const result = this.fields.parse(seen);
    if (result === "more") return result;
    this.#inFields = false;
    if (result !== "done") return result;
    this.length = this.fields.end;
    return this.#readFields() ?? "done";
  }

  #takeLine(): void {
    const line = this.#line;
    this.method = line.method;
    this.version = line.version;
    this.form = line.form;
    this.#pathStart = line.targetStart;
    this.fields.begin(line.end, MAX_HEAD);
    this.#inFields = true;
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
    const scheme = schemeLength(bytes, this.#line.targetStart, this.#line.targetEnd);
    const start = this.#line.targetStart + scheme;
    let at = start;
    while (at < this.#line.targetEnd && bytes[at] !== SLASH && bytes[at] !== QUESTION) at++;
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
    return textOf(this.fields.bytes, this.#line.targetStart, this.#line.targetEnd);
  }

  /** Where path and query start in `fields.bytes`: behind the authority of an absolute form. */
  get pathStart(): number {
    return this.#pathStart;
  }

  /** Where path and query, and with them the target, end. */
  get pathEnd(): number {
    return this.#line.targetEnd;
  }

  /**
   * Path and query in origin form, or `*`. An absolute form without a path has `/`, or `*` with OPTIONS (RFC 9112 §3.2.4).
   */
  get path(): string {
    const sent = textOf(this.fields.bytes, this.#pathStart, this.#line.targetEnd);
    return this.impliedPath + sent;
  }

  /** What has to stand in front of the bytes from {@link pathStart} to make them origin form; nothing as a rule. */
  get impliedPath(): "" | "/" | "*" {
    if (this.form !== "absolute" || this.fields.bytes[this.#pathStart] === SLASH) return "";
    return this.#pathStart === this.#line.targetEnd && this.method === "OPTIONS" ? "*" : "/";
  }

  /** The path without its query, at most `max` characters: for the log. */
  pathname(max = 256): string {
    const end = this.fields.bytes.subarray(0, this.#line.targetEnd).indexOf(QUESTION, this.#pathStart);
    const pathEnd = Math.min(end < 0 ? this.#line.targetEnd : end, this.#pathStart + max);
    return this.impliedPath + textOf(this.fields.bytes, this.#pathStart, pathEnd);
  }
}
