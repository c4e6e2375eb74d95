/** A rule of HTTP that a peer broke, or a limit that it went over. One object a rule: compare by identity or by `word`. */
export interface HttpFault {
  /** What a client is answered. A service that breaks a rule makes a 502 for the client, whatever stands here. */
  readonly status: 400 | 414 | 417 | 431 | 501 | 505;
  /** Names the rule, for the log: `bare-lf`, `length-and-chunked`, … */
  readonly word: string;
}

function fault(status: HttpFault["status"], word: string): HttpFault {
  return Object.freeze({ status, word });
}

/** Every rule that is checked here. RFC 9112 if nothing else is said. */
export const FAULTS = {
  /** LF without CR before it. §2.2 lets a recipient take it; two that disagree on it make smuggling. */
  bareLf: fault(400, "bare-lf"),
  /** CR without LF behind it, §2.2. */
  bareCr: fault(400, "bare-cr"),
  /** A line that goes on in the next one, §5.2. */
  lineFolding: fault(400, "line-folding"),
  /** Whitespace between a field's name and its colon, §5.1. */
  spaceBeforeColon: fault(400, "space-before-colon"),
  /** A name that is empty or has other than token characters, RFC 9110 §5.1; or a line without a colon. */
  fieldName: fault(400, "field-name"),
  /** A control character in a value, RFC 9110 §5.5. */
  fieldValue: fault(400, "field-value"),
  tooManyFields: fault(431, "too-many-fields"),
  headTooLong: fault(431, "head-too-long"),
  trailersTooLong: fault(431, "trailers-too-long"),

  method: fault(400, "method"),
  /** CONNECT, TRACE, and what has lower-case letters: a service that ignores case would take it for another method. */
  methodRefused: fault(501, "method-refused"),
  target: fault(400, "target"),
  targetTooLong: fault(414, "target-too-long"),
  /** No version, as in HTTP/0.9, or none that reads as one. */
  version: fault(400, "version"),
  versionRefused: fault(505, "version-refused"),
  /** More on the request line than three words with one space between, §3. */
  requestLine: fault(400, "request-line"),
  statusLine: fault(400, "status-line"),

  hostMissing: fault(400, "host-missing"),
  hostTwice: fault(400, "host-twice"),
  host: fault(400, "host"),
  /** An absolute form names another authority than Host does. RFC 9112 §3.2.2 lets the first win; no client needs it. */
  hostAndTarget: fault(400, "host-and-target"),

  contentLength: fault(400, "content-length"),
  /** Several, be they equal: §6.3 lets a recipient take them as one, if it is sure that nobody before it did otherwise. */
  contentLengthTwice: fault(400, "content-length-twice"),
  /** Content-Length and Transfer-Encoding, §6.1. */
  lengthAndChunked: fault(400, "length-and-chunked"),
  transferEncoding: fault(400, "transfer-encoding"),
  transferEncodingTwice: fault(400, "transfer-encoding-twice"),
  /** A coding besides chunked, §7. */
  codingUnknown: fault(501, "coding-unknown"),
  /** Transfer-Encoding in HTTP/1.0, §6.1. */
  chunkedInHttp10: fault(400, "chunked-in-http10"),
  /** A body that is announced by a 1xx, §6.1 and RFC 9110 §8.6. */
  bodyOfInterim: fault(400, "body-of-interim"),
  /** 101 that does not say to what, RFC 9110 §15.2.2. */
  upgradeMissing: fault(400, "upgrade-missing"),

  /** Connection is no list of tokens, or lists too many; or it lists a field that must not be taken away: Host, Content-Length. */
  connection: fault(400, "connection"),
  upgrade: fault(400, "upgrade"),
  /** RFC 9110 §10.1.1. */
  expectation: fault(417, "expectation"),

  chunkSize: fault(400, "chunk-size"),
  chunkExtension: fault(400, "chunk-extension"),
  /** Something other than CRLF behind a chunk's bytes. */
  chunkEnd: fault(400, "chunk-end"),
  bodyCutShort: fault(400, "body-cut-short"),
} as const;
