import {
  FORBIDDEN_TRAILERS,
  HeadWriter,
  HOP_BY_HOP,
  MAX_HEAD,
  parseAuthority,
} from "../../../core/http1/mod.ts";
import { badRequest, type Failure, MISDIRECTED } from "./failure.ts";
import { REPLACED_NAMES } from "./fields.ts";
import type { ForwardedLines } from "./forwarded.ts";

/** What a request says, as the service is to get it. */
export interface Http2Head {
  readonly method: string;
  /** The path without its query, at most 256 characters: for the log. */
  readonly pathname: string;
  readonly accept: string | undefined;
  /** The head for the service. */
  readonly head: HeadWriter;
  /** Whether the body goes to the service in chunks, because nobody knows how long it is. */
  readonly chunked: boolean;
}

/** Names and values in turn, as they came; pseudo-header fields among them. */
type RawFields = readonly string[];

interface Said {
  method: string;
  path: string;
  authority: string | undefined;
  host: string | undefined;
  accept: string | undefined;
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
const NOT_FORWARDED: ReadonlySet<string> = new Set([...HOP_BY_HOP, ...REPLACED_NAMES, "expect"]);

/** RFC 9110 §5.6.2, and in lower case no letters: a service that ignores case would take it for another method. */
const METHOD = /^[A-Z0-9!#$%&'*+\-.^_`|~]{1,32}$/;

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
  if (sizeOf(raw) > MAX_HEAD) return badRequest(431, "head-too-long");
  const said = read(raw);
  if (typeof said === "string") return badRequest(400, said);
  if (!METHOD.test(said.method) || said.method === "CONNECT" || said.method === "TRACE") {
    return badRequest(501, "method-refused");
  }
  if (!said.path.startsWith("/") && !(said.path === "*" && said.method === "OPTIONS")) {
    return badRequest(400, "target");
  }
  const host = hostOf(said, hostname);
  if (typeof host !== "string") return host;
  const length = said.contentLength;
  if (length !== undefined && !/^\d{1,15}$/.test(length)) return badRequest(400, "content-length");
  const head = new HeadWriter();
  const chunked = !endsHere && length === undefined;
  try {
    write(head, said, lines.for(host), chunked);
  } catch (error) {
    head.release();
    if (error instanceof TypeError) return badRequest(400, "field");
    throw error;
  }
  const { method, accept } = said;
  return { method, pathname: pathnameOf(said.path), accept, head, chunked };
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
    accept: undefined,
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
    case "accept":
      said.accept = value;
  }
  if (name.startsWith(":")) return name === ":scheme" ? undefined : "pseudo-field";
  if (OF_THE_CONNECTION.has(name)) return "connection-field";
  if (!NOT_FORWARDED.has(name)) said.rest.push(name, value);
  return undefined;
}

/** `:authority` and Host, of which one must be there, must be for the connection's name, and for the same. */
function hostOf({ authority, host }: Said, hostname: string): string | Failure {
  const given = authority ?? host;
  if (given === undefined) return badRequest(400, "host-missing");
  const named = parseAuthority(given);
  if (named === undefined) return badRequest(400, "host");
  if (host !== undefined && host !== given) {
    const other = parseAuthority(host);
    if (other?.host !== named.host || other.port !== named.port) return badRequest(400, "host-and-target");
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

function pathnameOf(path: string): string {
  const query = path.indexOf("?");
  return path.slice(0, Math.min(query < 0 ? path.length : query, 256));
}

const NOT_BEHIND: ReadonlySet<string> = new Set(FORBIDDEN_TRAILERS.names);

/** The end of a body in chunks, with those trailers that may be sent on. @returns `undefined` for what no head can hold. */
export function lastChunkWith(
  trailers: Readonly<Record<string, string | string[] | undefined>> | undefined,
  writer: HeadWriter,
): Uint8Array | undefined {
  writer.clear().raw(ZERO);
  try {
    for (const [name, value] of Object.entries(trailers ?? {})) {
      if (name.startsWith(":") || NOT_BEHIND.has(name) || value === undefined) continue;
      for (const one of [value].flat()) writer.field(name, one);
    }
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
  return writer.end().bytes();
}

const ZERO = new TextEncoder().encode("0\r\n");
