import { HeadWriter, isTarget, MAX_HEAD, parseAuthority } from "../../../core/http1/mod.ts";
import { badRequest, type Failure, MISDIRECTED } from "./failure.ts";
import { isNotForwarded, isNotForwardedBehind } from "./fields.ts";
import type { ForwardedLines } from "./forwarded.ts";

/** A request as the service is to get it. */
export interface Http2Head {
  readonly method: string;
  readonly head: HeadWriter;
  /** Whether the body goes to the service in chunks, because nobody knows how long it is. */
  readonly chunked: boolean;
}

/** Names and values in turn, as they came; pseudo-header fields among them. */
export type RawFields = readonly string[];

/** What a request says of itself, whether or not it is in order. Without what was not said. */
export interface Described {
  readonly method: string;
  /** The path without its query, at most 256 characters. */
  readonly pathname: string;
  readonly accept: string | undefined;
}

/** For the log, and for an error page. */
export function describeRequest(raw: RawFields): Described {
  const path = valueOf(raw, ":path") ?? "-";
  const query = path.indexOf("?");
  return {
    method: (valueOf(raw, ":method") ?? "-").slice(0, 32),
    pathname: path.slice(0, Math.min(query < 0 ? path.length : query, 256)),
    accept: valueOf(raw, "accept"),
  };
}

interface Said {
  method: string;
  path: string;
  authority: string | undefined;
  host: string | undefined;
  cookie: string | undefined;
  contentLength: string | undefined;
  acceptsTrailers: boolean;
  /** Names and values of what is sent on as it is. */
  readonly rest: string[];
}

/** RFC 9113 §8.2.2: what belongs to a connection makes a request malformed. */
const OF_THE_CONNECTION: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);

/** RFC 9110 §5.6.2, and in lower case no letters: a service that ignores case would take it for another method. */
const METHOD = /^[A-Z0-9!#$%&'*+\-.^_`|~]{1,32}$/;

/** As HTTP/1.1 has it here: no zero in front, which others take for octal. */
const CONTENT_LENGTH = /^(?:0|[1-9]\d{0,14})$/;

/**
 * Translates a request of HTTP/2 (RFC 9113 §8.3) into the head of one of HTTP/1.1.
 *
 * @param raw As they came.
 * @param hostname What the connection is for; canonical.
 * @param endsHere Whether there is no body.
 */
export function translateRequest(
  raw: RawFields,
  hostname: string,
  lines: ForwardedLines,
  endsHere: boolean,
): Http2Head | Failure {
  if (sizeOf(raw) > MAX_HEAD) return badRequest({ status: 431, word: "head-too-long" });
  const said = read(raw);
  if (typeof said === "string") return badRequest({ status: 400, word: said });
  if (!METHOD.test(said.method) || said.method === "CONNECT" || said.method === "TRACE") {
    return badRequest({ status: 501, word: "method-refused" });
  }
  if (!isTarget(said.path) && !(said.path === "*" && said.method === "OPTIONS")) {
    return badRequest({ status: 400, word: "target" });
  }
  const host = hostOf(said, hostname);
  if (typeof host !== "string") return host;
  const length = said.contentLength;
  if (length !== undefined && !CONTENT_LENGTH.test(length)) {
    return badRequest({ status: 400, word: "content-length" });
  }
  const head = new HeadWriter();
  const chunked = !endsHere && length === undefined;
  try {
    write(head, said, lines.for(host), chunked);
  } catch (error) {
    head.release();
    if (error instanceof TypeError) return badRequest({ status: 400, word: "field" });
    throw error;
  }
  return { method: said.method, head, chunked };
}

function valueOf(raw: RawFields, name: string): string | undefined {
  for (let i = 0; i + 1 < raw.length; i += 2) if (raw[i] === name) return raw[i + 1];
  return undefined;
}

/** As RFC 9113 §6.5.2 counts. */
function sizeOf(raw: RawFields): number {
  return raw.reduce((size, text) => size + text.length + 16, 0);
}

/** @returns The rule that was broken, if one was. */
function read(raw: RawFields): Said | string {
  const said: Said = {
    method: "",
    path: "",
    authority: undefined,
    host: undefined,
    cookie: undefined,
    contentLength: undefined,
    acceptsTrailers: false,
    rest: [],
  };
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const broken = take(said, raw[i] as string, raw[i + 1] as string);
    if (broken !== undefined) return broken;
  }
  return said;
}

function take(said: Said, name: string, value: string): string | undefined {
  switch (name) {
    case ":method":
      said.method = value;
      return;
    case ":path":
      said.path = value;
      return;
    case ":authority":
      said.authority = value;
      return;
    case "host":
      if (said.host !== undefined) return "host-twice";
      said.host = value;
      return;
    case "cookie": // RFC 9113 §8.2.3
      said.cookie = said.cookie === undefined ? value : `${said.cookie}; ${value}`;
      return;
    case "content-length":
      if (said.contentLength !== undefined) return "content-length-twice";
      said.contentLength = value;
      return;
    case "te":
      if (value.toLowerCase() !== "trailers") return "te";
      said.acceptsTrailers = true;
      return;
  }
  if (name.startsWith(":")) return name === ":scheme" ? undefined : "pseudo-field";
  if (OF_THE_CONNECTION.has(name)) return "connection-field";
  if (!isNotForwarded(name)) said.rest.push(name, value);
  return undefined;
}

/** `:authority` and Host, of which one must be there, must be for the connection's name, and for the same. */
function hostOf({ authority, host }: Said, hostname: string): string | Failure {
  const given = authority ?? host;
  if (given === undefined) return badRequest({ status: 400, word: "host-missing" });
  const named = parseAuthority(given);
  if (named === undefined) return badRequest({ status: 400, word: "host" });
  if (host !== undefined && host !== given) {
    const other = parseAuthority(host);
    if (other?.host !== named.host || other.port !== named.port) {
      return badRequest({ status: 400, word: "host-and-target" });
    }
  }
  return named.name === hostname ? given : MISDIRECTED;
}

function write(head: HeadWriter, said: Said, lines: Uint8Array, chunked: boolean): void {
  head.requestLine(said.method, said.path).raw(lines);
  for (let i = 0; i < said.rest.length; i += 2) {
    head.field(said.rest[i] as string, said.rest[i + 1] as string);
  }
  if (said.cookie !== undefined) head.field("cookie", said.cookie);
  if (chunked) head.field("transfer-encoding", "chunked");
  else if (said.contentLength !== undefined) head.field("content-length", said.contentLength);
  if (said.acceptsTrailers) head.field("connection", "TE").field("te", "trailers");
  head.end();
}

/** The end of a body in chunks, with those trailers that may be sent on. @returns `undefined` for what no head can hold. */
export function lastChunkWith(
  trailers: Readonly<Record<string, string | string[] | undefined>> | undefined,
  writer: HeadWriter,
): Uint8Array | undefined {
  writer.clear().raw(ZERO);
  try {
    for (const [name, value] of Object.entries(trailers ?? {})) {
      if (name.startsWith(":") || isNotForwardedBehind(name) || value === undefined) continue;
      for (const one of [value].flat()) writer.field(name, one);
    }
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
  return writer.end().bytes();
}

const ZERO = new TextEncoder().encode("0\r\n");
