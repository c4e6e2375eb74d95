import { malformed, more, NO, type Parsed, uint16, uint32 } from "./parsed.ts";

// Formats: PostgreSQL's manual, "Message Formats" and "Message Flow".

/** Length 8, then code 1234·5679, both big-endian. What a client without a session sends to ask for TLS. */
export const SSL_REQUEST: Uint8Array = Uint8Array.of(0, 0, 0, 8, 4, 210, 22, 47);

const CANCEL_REQUEST = 80_877_102, SSL_REQUEST_CODE = 80_877_103, GSSENC_REQUEST = 80_877_104;
const PROTOCOL_MAJOR = 3;

/** Length and code: a packet that was seen so far is known for what it is. */
export const POSTGRES_HEADER_BYTES = 8;
/** Process id and key: 4 bytes up to protocol 3.0, as many as 256 since 3.2. */
const MIN_CANCEL_BYTES = 16, MAX_CANCEL_BYTES = 268;
/** What PostgreSQL itself takes at most (MAX_STARTUP_PACKET_LENGTH). */
const MAX_STARTUP_BYTES = 10_000;

/** By whom a session may be cancelled: whoever knows what its server told it in BackendKeyData. */
export interface CancelKey {
  /** As on the wire, unsigned. */
  readonly processId: number;
  /** 4 bytes up to protocol 3.0, as many as 256 since 3.2. Never to be logged. */
  readonly secret: Uint8Array;
}

/** What a PostgreSQL client opens with. */
export type PostgresOpening = "ssl-request" | "gssenc-request" | "cancel-request" | "startup";

/**
 * Tells whether a client opens with a PostgreSQL packet, and which; `length` is that of the packet.
 *
 * A start-up packet of a protocol other than 3.x is not recognised.
 *
 * @param seen Every byte so far, from where the packet would begin; only read.
 */
export function parsePostgresOpening(seen: Uint8Array): Parsed<PostgresOpening> {
  if ((seen[0] ?? 0) !== 0 || (seen[1] ?? 0) !== 0) return NO; // no such packet has 65,536 bytes
  if (seen.length < POSTGRES_HEADER_BYTES) return couldBeCode(seen) ? more(POSTGRES_HEADER_BYTES) : NO;
  const length = uint32(seen, 0);
  switch (uint32(seen, 4)) {
    case SSL_REQUEST_CODE:
      return length === POSTGRES_HEADER_BYTES
        ? opening("ssl-request", length)
        : wrongLength("SSLRequest", length);
    case GSSENC_REQUEST:
      return length === POSTGRES_HEADER_BYTES
        ? opening("gssenc-request", length)
        : wrongLength("GSSENCRequest", length);
    case CANCEL_REQUEST:
      return parseCancelRequest(seen, length);
    default:
      return uint16(seen, 4) === PROTOCOL_MAJOR ? parseStartup(seen, length) : NO;
  }
}

/**
 * Reads a CancelRequest that {@link parsePostgresOpening} has recognised.
 *
 * @param seen From where it begins; the secret is a view into it.
 */
export function readCancelRequest(seen: Uint8Array): CancelKey {
  return {
    processId: uint32(seen, POSTGRES_HEADER_BYTES),
    secret: seen.subarray(POSTGRES_HEADER_BYTES + 4, uint32(seen, 0)),
  };
}

/** The inverse of {@link readCancelRequest}. */
export function encodeCancelRequest({ processId, secret }: CancelKey): Uint8Array {
  const packet = new Uint8Array(POSTGRES_HEADER_BYTES + 4 + secret.length);
  const view = new DataView(packet.buffer);
  view.setUint32(0, packet.length);
  view.setUint32(4, CANCEL_REQUEST);
  view.setUint32(8, processId);
  packet.set(secret, POSTGRES_HEADER_BYTES + 4);
  return packet;
}

/** Whether the part of the code that was seen, if any, begins one of ours: all begin 0x04D2 or 0x0003. */
function couldBeCode(seen: Uint8Array): boolean {
  const first = seen[4], second = seen[5];
  if (first === undefined) return true;
  if (second === undefined) return first === 0x04 || first === 0x00;
  return (first === 0x04 && second === 0xd2) || (first === 0x00 && second === PROTOCOL_MAJOR);
}

function opening(value: PostgresOpening, length: number): Parsed<PostgresOpening> {
  return { kind: "yes", value, length };
}

function wrongLength(packet: string, length: number): Parsed<PostgresOpening> {
  return malformed(`PostgreSQL ${packet} of ${length} bytes`);
}

function parseCancelRequest(seen: Uint8Array, length: number): Parsed<PostgresOpening> {
  if (length < MIN_CANCEL_BYTES || length > MAX_CANCEL_BYTES) return wrongLength("CancelRequest", length);
  return seen.length < length ? more(length) : opening("cancel-request", length);
}

function parseStartup(seen: Uint8Array, length: number): Parsed<PostgresOpening> {
  if (length <= POSTGRES_HEADER_BYTES || length > MAX_STARTUP_BYTES) {
    return wrongLength("StartupMessage", length);
  }
  if (seen.length < length) return more(length);
  if (!isParameterList(seen.subarray(POSTGRES_HEADER_BYTES, length))) {
    return malformed("PostgreSQL StartupMessage with a broken list");
  }
  return opening("startup", length);
}

/** Names and values in turn, each ended by a NUL, and one more NUL in place of a further name. */
function isParameterList(body: Uint8Array): boolean {
  let strings = 0;
  let start = 0;
  for (let i = 0; i < body.length; i++) {
    if (body[i] !== 0) continue;
    const isEnd = i === start && strings % 2 === 0; // a value may be empty, a name may not
    if (isEnd) return i === body.length - 1;
    strings++;
    start = i + 1;
  }
  return false;
}

/**
 * Writes the ErrorResponse that ends a connection before its session began.
 *
 * @param sqlState Five characters, as in appendix A of PostgreSQL's manual.
 * @param message One line for the user.
 * @throws {RangeError} When either would not be read back as it stands.
 */
export function encodeErrorResponse(sqlState: string, message: string): Uint8Array {
  if (!/^[0-9A-Z]{5}$/.test(sqlState)) throw new RangeError(`${JSON.stringify(sqlState)} is no SQLSTATE`);
  if (message.includes("\0")) throw new RangeError("A PostgreSQL message cannot hold a NUL");
  const fields = new TextEncoder().encode(`SFATAL\0VFATAL\0C${sqlState}\0M${message}\0\0`);
  const packet = new Uint8Array(5 + fields.length);
  packet[0] = 0x45; // E
  new DataView(packet.buffer).setUint32(1, 4 + fields.length); // the length counts itself, not the type
  packet.set(fields, 5);
  return packet;
}
