import { canonicalNameFromBytes } from "../../names.ts";
import type { ClientHelloInfo } from "../../plugin/contract.ts";
import { Cursor } from "./cursor.ts";
import { malformed, more, NO, type Parsed, uint16 } from "./parsed.ts";

/** RFC 8446 §5.1: the content type of handshake records, which is the first byte of every TLS connection. */
export const HANDSHAKE_RECORD = 22;
const RECORD_HEADER_BYTES = 5;
/** RFC 8446 §5.1. */
const MAX_RECORD_BYTES = 1 << 14;
/** RFC 8446 §4: message type and a 24-bit length. */
const MESSAGE_HEADER_BYTES = 4;
const CLIENT_HELLO = 1;
/** Of every `legacy_version` and `legacy_record_version` since SSL 3.0. */
const VERSION_MAJOR = 3;

/**
 * Takes a ClientHello out of the TLS records at the start of a connection, however it is cut into segments and
 * records.
 *
 * It remembers how far it came: each byte is visited a fixed number of times, even when a stranger sends a byte a
 * segment and a byte a record. It keeps no bytes and sets no limit of its own: `total` of its `more` is what the
 * hello will come to at least, for the caller to compare with the limit.
 */
export class ClientHelloParser {
  /** Where the current record's header begins, and where its body ends once the header is read. */
  #record = 0;
  #recordEnd = 0;
  /** Up to where `seen` has been taken in. */
  #at = 0;
  /** How many bytes of the message were taken in, and how many it has; only the header's, until that is read. */
  #collected = 0;
  #wanted = MESSAGE_HEADER_BYTES;
  #messageLength = 0;

  /**
   * @param seen Every byte so far, from the first of the first record; only read. Not to be called again after a
   * result other than `more`.
   * @returns `yes` with the length of all records that carry the hello. What follows them is not looked at.
   */
  push(seen: Uint8Array): Parsed<ClientHelloInfo> {
    for (;;) {
      if (this.#at >= this.#recordEnd) {
        const waiting = this.#openRecord(seen);
        if (waiting !== undefined) return waiting;
      }
      const wrong = this.#takeBody(seen);
      if (wrong !== undefined) return malformed(wrong);
      if (this.#at < this.#recordEnd) return more(this.#leastTotal());
      if (this.#collected === this.#wanted) return this.#finish(seen);
    }
  }

  /** Reads the next record's header. @returns What it waits for or what is wrong, else `undefined`. */
  #openRecord(seen: Uint8Array): Parsed<never> | undefined {
    const start = this.#record = this.#recordEnd;
    if (start < seen.length && seen[start] !== HANDSHAKE_RECORD) {
      return malformed("TLS record that is no handshake");
    }
    if (start + 1 < seen.length && seen[start + 1] !== VERSION_MAJOR) {
      return malformed("TLS record of an unknown version");
    }
    if (start + RECORD_HEADER_BYTES > seen.length) {
      return more(start + RECORD_HEADER_BYTES + this.#wanted - this.#collected);
    }
    const length = uint16(seen, start + 3);
    if (length === 0 || length > MAX_RECORD_BYTES) return malformed(`TLS record of ${length} bytes`);
    this.#at = start + RECORD_HEADER_BYTES;
    this.#recordEnd = this.#at + length;
    return undefined;
  }

  /** Takes in what is there of the current record's body. @returns What is wrong. */
  #takeBody(seen: Uint8Array): string | undefined {
    const end = Math.min(this.#recordEnd, seen.length);
    while (this.#collected < MESSAGE_HEADER_BYTES && this.#at < end) {
      const byte = seen[this.#at++] ?? 0;
      if (this.#collected++ === 0) {
        if (byte !== CLIENT_HELLO) return "TLS handshake that does not begin with a ClientHello";
      } else {
        this.#messageLength = this.#messageLength * 256 + byte;
      }
      if (this.#collected === MESSAGE_HEADER_BYTES) this.#wanted = MESSAGE_HEADER_BYTES + this.#messageLength;
    }
    this.#collected += end - this.#at;
    this.#at = end;
    // RFC 8446 §5.1: the hello ends where a record ends, and a client has nothing to say before it is answered.
    const afterRecord = this.#collected + this.#recordEnd - this.#at;
    const isLengthKnown = this.#collected >= MESSAGE_HEADER_BYTES;
    return isLengthKnown && afterRecord > this.#wanted
      ? "TLS record with bytes behind the ClientHello"
      : undefined;
  }

  #leastTotal(): number {
    const behindRecord = this.#wanted - this.#collected - (this.#recordEnd - this.#at);
    return behindRecord > 0 ? this.#recordEnd + RECORD_HEADER_BYTES + behindRecord : this.#recordEnd;
  }

  #finish(seen: Uint8Array): Parsed<ClientHelloInfo> {
    const message = this.#record === 0
      ? seen.subarray(RECORD_HEADER_BYTES, this.#recordEnd)
      : joinRecords(seen, this.#recordEnd, this.#wanted);
    const hello = parseClientHello(message.subarray(MESSAGE_HEADER_BYTES));
    return typeof hello === "string"
      ? malformed(hello)
      : { kind: "yes", value: hello, length: this.#recordEnd };
  }
}

/** Copies the bodies of all records before `end` together. Their headers were checked. */
function joinRecords(seen: Uint8Array, end: number, size: number): Uint8Array {
  const message = new Uint8Array(size);
  let filled = 0;
  for (let record = 0; record < end;) {
    const body = record + RECORD_HEADER_BYTES;
    record = body + uint16(seen, record + 3);
    message.set(seen.subarray(body, record), filled);
    filled += record - body;
  }
  return message;
}

/**
 * Tells a hello of SSL 2 (or of SSL 3 and TLS 1 in its dress, RFC 5246 appendix E.2), which no client of today
 * sends, from a protocol that merely begins with a high bit.
 *
 * @returns Never `yes`: `malformed` for such a hello.
 */
export function parseSslV2Hello(seen: Uint8Array): Parsed<never> {
  const [first = 0, , type = CLIENT_HELLO, major, minor] = seen;
  if ((first & 0x80) === 0 || type !== CLIENT_HELLO) return NO;
  if (major !== undefined && major !== 0 && major !== VERSION_MAJOR) return NO;
  if (minor === undefined) return more(5);
  const isVersion = major === VERSION_MAJOR ? minor <= 4 : minor === 2;
  return isVersion ? malformed("SSL 2 ClientHello") : NO;
}

const UINT16 = 2;
const RANDOM_BYTES = 32;
const MAX_SESSION_ID_BYTES = 32;

/** What the extensions say, while they are being read. */
interface Offers {
  serverName?: string;
  alpn?: readonly string[];
  versions?: readonly number[];
}

/** @param body The message without its header. @returns The rule that it breaks, as text, when it does. */
function parseClientHello(body: Uint8Array): ClientHelloInfo | string {
  const hello = new Cursor(body);
  const legacyVersion = hello.uint16();
  hello.skip(RANDOM_BYTES);
  const sessionId = hello.take(hello.uint8());
  const cipherSuites = hello.take(hello.uint16());
  const compressions = hello.take(hello.uint8());
  if (hello.overran) return "ClientHello that overruns its length";
  if (legacyVersion >> 8 !== VERSION_MAJOR) return "ClientHello of an unknown version";
  if (sessionId.left > MAX_SESSION_ID_BYTES) return "ClientHello with a long session id";
  if (cipherSuites.left === 0 || cipherSuites.left % UINT16 !== 0) {
    return "ClientHello with broken cipher suites";
  }
  if (compressions.left === 0) return "ClientHello without compression methods";
  const offers: Offers = {};
  const wrong = hello.left === 0 ? undefined : readExtensions(hello, offers); // TLS 1.2 needs none (RFC 5246 §7.4.1.2)
  if (wrong !== undefined) return wrong;
  const { serverName, alpn = [], versions = [legacyVersion] } = offers;
  return serverName === undefined ? { alpn, versions } : { serverName, alpn, versions };
}

/** Takes one extension's data and notes what it says. @returns The rule that it breaks. */
type ExtensionReader = (data: Cursor, offers: Offers) => string | undefined;

const READERS: ReadonlyMap<number, ExtensionReader> = new Map([
  [0, readServerName],
  [16, readAlpn],
  [43, readSupportedVersions],
]);

/** RFC 8446 §4.2. */
function readExtensions(hello: Cursor, offers: Offers): string | undefined {
  const length = hello.uint16();
  if (hello.overran || length !== hello.left) return "ClientHello with extensions of a wrong length";
  const types = new Set<number>();
  while (hello.left > 0) {
    const type = hello.uint16();
    const data = hello.take(hello.uint16());
    if (hello.overran) return "ClientHello with an extension that overruns";
    if (types.has(type)) return `ClientHello with extension ${type} twice`;
    types.add(type);
    const wrong = READERS.get(type)?.(data, offers);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

/** RFC 6066 §3. Only one kind of name was ever defined, so a list that a server can rely on has one entry. */
function readServerName(data: Cursor, offers: Offers): string | undefined {
  const length = data.uint16();
  if (length !== data.left) return "Server name list of a wrong length";
  const type = data.uint8();
  const name = data.take(data.uint16());
  if (data.overran || name.left === 0) return "Server name list without a whole name";
  if (data.left > 0 || type !== 0) return "Server name list that is not exactly one host name";
  const bytes = name.rest();
  const serverName = canonicalNameFromBytes(bytes);
  if (serverName === undefined) return `Server name ${quoted(bytes)} is no DNS name`;
  offers.serverName = serverName;
  return undefined;
}

/** Long enough to recognise a name in the log, too short to fill it. */
const MAX_QUOTED_BYTES = 64;

function quoted(bytes: Uint8Array): string {
  const text = String.fromCharCode(...bytes.subarray(0, MAX_QUOTED_BYTES));
  return JSON.stringify(text.replaceAll(/[^\x20-\x7e]/g, "?"));
}

/** No client offers more than a handful; 64 KiB of one-letter names would become a megabyte of strings. */
const MAX_ALPN_NAMES = 64;

/** RFC 7301 §3.1. Names are bytes; each becomes one character, which keeps all apart. */
function readAlpn(data: Cursor, offers: Offers): string | undefined {
  const length = data.uint16();
  if (length !== data.left || length === 0) return "ALPN list of a wrong length";
  const names: string[] = [];
  while (data.left > 0) {
    const name = data.take(data.uint8());
    if (name.left === 0) return "ALPN list with an empty or overrunning name";
    if (names.length === MAX_ALPN_NAMES) return `ALPN list with more than ${MAX_ALPN_NAMES} names`;
    names.push(name.text());
  }
  offers.alpn = names;
  return undefined;
}

/** RFC 8446 §4.2.1. */
function readSupportedVersions(data: Cursor, offers: Offers): string | undefined {
  const length = data.uint8();
  if (length !== data.left || length === 0 || length % UINT16 !== 0) {
    return "Supported versions of a wrong length";
  }
  const versions: number[] = [];
  while (data.left > 0) {
    const version = data.uint16();
    if (!isGrease(version)) versions.push(version);
  }
  offers.versions = versions;
  return undefined;
}

/** RFC 8701: values such as 0x2A2A that a client mixes in to be ignored. */
function isGrease(value: number): boolean {
  return (value & 0x0f0f) === 0x0a0a && value >> 8 === (value & 0xff);
}
