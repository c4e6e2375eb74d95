/** Every frame begins with this many bytes. */
export const HEADER_BYTES = 12;

/** What may be sent on a new stream before the other side says more: fixed by the specification. */
export const INITIAL_WINDOW_BYTES = 256 * 1024;

export const DATA = 0;
export const WINDOW_UPDATE = 1;
export const PING = 2;
export const GO_AWAY = 3;

export const SYN = 1;
export const ACK = 2;
export const FIN = 4;
export const RST = 8;

const VERSION = 0;
const ALL_FLAGS = SYN | ACK | FIN | RST;
/** GoAway: 0 normal, 1 protocol error, 2 internal error. */
const LAST_GO_AWAY_CODE = 2;

/** The header of one frame. One object serves for every frame of a session, because a frame may be 12 bytes. */
export interface FrameHeader {
  /** {@link DATA}, {@link WINDOW_UPDATE}, {@link PING} or {@link GO_AWAY}. */
  type: number;
  /** The sum of {@link SYN}, {@link ACK}, {@link FIN} and {@link RST}. */
  flags: number;
  /** 0 for frames of the session. */
  streamId: number;
  /** Bytes that follow (data), bytes more that may be sent (window update), an opaque value (ping), a code (go-away). */
  length: number;
}

/** What is wrong with a header, whatever the state of the session. */
export type HeaderFault = "version" | "type" | "flags" | "stream id" | "go-away code";

/** An empty header, for {@link parseHeader} to fill. */
export function emptyHeader(): FrameHeader {
  return { type: 0, flags: 0, streamId: 0, length: 0 };
}

/**
 * Reads the header that begins at `at`. The yamux specification, "Framing".
 *
 * @param bytes Only read.
 * @param end Where the bytes that have come end.
 * @param into Is set when the answer is `yes`, and undefined in meaning otherwise.
 * @returns `more` while fewer than {@link HEADER_BYTES} have come.
 */
export function parseHeader(
  bytes: Uint8Array,
  at: number,
  end: number,
  into: FrameHeader,
): "yes" | "more" | HeaderFault {
  if (end - at < HEADER_BYTES) return "more";
  if (bytes[at] !== VERSION) return "version";
  into.type = uint8(bytes, at + 1);
  into.flags = uint8(bytes, at + 2) << 8 | uint8(bytes, at + 3);
  into.streamId = uint32(bytes, at + 4);
  into.length = uint32(bytes, at + 8);
  return faultOf(into) ?? "yes";
}

/**
 * Writes a header at `at`.
 *
 * @returns Where the header ends.
 */
export function writeHeader(
  into: Uint8Array,
  at: number,
  type: number,
  flags: number,
  streamId: number,
  length: number,
): number {
  into[at] = VERSION;
  into[at + 1] = type;
  into[at + 2] = flags >>> 8;
  into[at + 3] = flags;
  putUint32(into, at + 4, streamId);
  putUint32(into, at + 8, length);
  return at + HEADER_BYTES;
}

function faultOf({ type, flags, streamId, length }: FrameHeader): HeaderFault | undefined {
  switch (type) {
    case DATA:
    case WINDOW_UPDATE:
      if ((flags & ~ALL_FLAGS) !== 0) return "flags";
      // Who opens a stream can neither have accepted it nor have given it up.
      if ((flags & SYN) !== 0 && (flags & (ACK | RST)) !== 0) return "flags";
      return streamId === 0 ? "stream id" : undefined;
    case PING:
      if (flags !== SYN && flags !== ACK) return "flags";
      return streamId !== 0 ? "stream id" : undefined;
    case GO_AWAY:
      if (flags !== 0) return "flags";
      if (streamId !== 0) return "stream id";
      return length > LAST_GO_AWAY_CODE ? "go-away code" : undefined;
    default:
      return "type";
  }
}

function uint8(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0;
}

function uint32(bytes: Uint8Array, at: number): number {
  return (uint8(bytes, at) << 24 | uint8(bytes, at + 1) << 16 | uint8(bytes, at + 2) << 8 |
    uint8(bytes, at + 3)) >>> 0;
}

function putUint32(into: Uint8Array, at: number, value: number): void {
  into[at] = value >>> 24;
  into[at + 1] = value >>> 16;
  into[at + 2] = value >>> 8;
  into[at + 3] = value;
}
