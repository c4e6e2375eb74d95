import { CR, hashOf, IN_VALUE, LF, NINE, SPACE, textOf, ZERO } from "./characters.ts";
import { CLOSE, connectionOptions, KEEP_ALIVE, MALFORMED, protocolsOf, UPGRADE } from "./connection.ts";
import { FAULTS, type HttpFault } from "./fault.ts";
import { FieldTable, type HeadResult } from "./fields.ts";
import { type BodyKind, Framing } from "./framing.ts";
import { MAX_HEAD } from "./request_head.ts";
import { parseVersion } from "./version.ts";

const CONTENT_LENGTH = hashOf("content-length"), TRANSFER_ENCODING = hashOf("transfer-encoding");
const CONNECTION = hashOf("connection");

/** `HTTP/1.1 200`. */
const STATUS_END = 12;

/** Where {@link ResponseHead.parse} stands: what it looks for next. */
const STATUS = 0, REASON = 1, FIELDS = 2;

/**
 * The head of an HTTP/1.x response, parsed as strictly as a request's: it comes from a stranger's service. See `RequestHead`
 * for how it is used and how long it is valid.
 */
export class ResponseHead {
  readonly fields: FieldTable = new FieldTable();
  /** Bytes of the head, the empty line included. */
  length = 0;
  /** 100 to 599. A 1xx other than 101 is followed by another head. */
  status = 0;
  version: "1.0" | "1.1" = "1.1";
  /** For the method given to `parse()`: `none` for HEAD, 1xx, 204 and 304, whatever the fields say. */
  body: BodyKind = "none";
  /** What Content-Length says, or -1. With `body` not `length` it is the length that a GET would have had. */
  contentLength = -1;
  /** Whether the stream can be used for another request after this response. Never with `until-close` or 101. */
  keepAlive = true;
  /** The Upgrade field's value in lower case, when Connection names it. Always there with 101. */
  upgrade: string | undefined;

  readonly #framing = new Framing();
  #state = STATUS;
  #at = 0;

  /**
   * @param seen Every byte from where the head begins; the same ones as before and more when it said `more`.
   * @param method The method of the request that this answers: it tells whether there is a body.
   */
  parse(seen: Uint8Array, method: string): HeadResult {
    if (this.#state !== FIELDS) {
      const result = this.#parseLine(seen);
      if (result === "more") return result;
      if (result !== undefined) return this.#stop(result);
    }
    const result = this.fields.parse(seen);
    if (result === "more") return result;
    this.#stop(result);
    if (result !== "done") return result;
    this.length = this.fields.end;
    return this.#readFields(method) ?? "done";
  }

  #stop<T>(result: T): T {
    this.#state = STATUS;
    this.#at = 0;
    return result;
  }

  /** @returns `undefined` when the line is done. */
  #parseLine(seen: Uint8Array): "more" | HttpFault | undefined {
    if (this.#state === STATUS) {
      const result = this.#parseStatus(seen);
      if (result !== undefined) return result;
    }
    const end = Math.min(seen.length, MAX_HEAD);
    let at = this.#at;
    while (at < end && IN_VALUE[seen[at] as number] === 1) at++;
    this.#at = at;
    if (at === MAX_HEAD) return FAULTS.headTooLong;
    if (at === end) return "more";
    if (seen[at] !== CR) return seen[at] === LF ? FAULTS.bareLf : FAULTS.statusLine;
    if (at + 1 === seen.length) return "more";
    if (seen[at + 1] !== LF) return FAULTS.bareCr;
    this.fields.begin(at + 2, MAX_HEAD);
    this.#state = FIELDS;
    return undefined;
  }

  #parseStatus(seen: Uint8Array): "more" | HttpFault | undefined {
    const version = parseVersion(seen, 0);
    if (version === "more" || typeof version === "object") return version;
    if (seen.length > 8 && seen[8] !== SPACE) return FAULTS.statusLine;
    let status = 0;
    for (let at = 9; at < STATUS_END && at < seen.length; at++) {
      const byte = seen[at] as number;
      if (byte < ZERO || byte > NINE) return FAULTS.statusLine;
      status = status * 10 + byte - ZERO;
    }
    if (seen.length <= STATUS_END) return "more";
    // The space belongs there even without a reason (RFC 9112 §4), which many services do not know.
    if (status < 100 || status > 599 || (seen[STATUS_END] !== SPACE && seen[STATUS_END] !== CR)) {
      return seen[STATUS_END] === LF ? FAULTS.bareLf : FAULTS.statusLine;
    }
    this.version = version;
    this.status = status;
    this.#at = STATUS_END;
    this.#state = REASON;
    return undefined;
  }

  #readFields(method: string): HttpFault | undefined {
    const { fields } = this;
    this.#framing.clear();
    let options = 0;
    for (let i = 0; i < fields.count; i++) {
      switch (fields.hash(i)) {
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
      }
    }
    this.keepAlive = (options & CLOSE) === 0 && (this.version === "1.1" || (options & KEEP_ALIVE) !== 0);
    this.contentLength = this.#framing.contentLength;
    return this.#readUpgrade(options) ?? this.#readBody(method);
  }

  #readUpgrade(options: number): HttpFault | undefined {
    const protocols = (options & UPGRADE) === 0 ? undefined : protocolsOf(this.fields);
    if (protocols === null) return FAULTS.upgrade;
    this.upgrade = protocols;
    if (this.status !== 101) return undefined;
    this.keepAlive = false;
    return protocols === undefined ? FAULTS.upgradeMissing : undefined;
  }

  #readBody(method: string): HttpFault | undefined {
    const announced = this.#framing.kind;
    if (this.status < 200) {
      this.body = "none";
      return announced === undefined || announced === "none" ? undefined : FAULTS.bodyOfInterim;
    }
    if (method === "HEAD" || this.status === 304) {
      this.body = "none";
    } else if (this.status === 204) {
      this.body = "none";
      // There must not be one; a service that sends one all the same would have it read as its next response.
      if (announced === "length" || announced === "chunked") this.keepAlive = false;
    } else {
      this.body = announced ?? "until-close";
      if (this.body === "until-close") this.keepAlive = false;
    }
    return undefined;
  }

  /** The reason phrase as it was sent; often empty. */
  get reason(): string {
    return textOf(this.fields.bytes, this.reasonStart, this.reasonEnd);
  }

  get reasonStart(): number {
    return Math.min(STATUS_END + 1, this.reasonEnd);
  }

  get reasonEnd(): number {
    return this.fields.start - 2;
  }
}
