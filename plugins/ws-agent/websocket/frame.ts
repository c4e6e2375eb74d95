import { freshMaskingKey } from "./masking.ts";

/** Who sends masked frames (the client, an agent) and who plain ones (the server, the gateway). RFC 6455 §5.1. */
export type WebSocketRole = "client" | "server";

/** RFC 6455 §5.2. */
export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export const FIN = 0x80;
export const RESERVED_BITS = 0x70;
export const OPCODE_BITS = 0x0f;
/** Set in the opcodes of control frames. */
export const CONTROL_BIT = 0x08;
export const MASKED = 0x80;
export const LENGTH_BITS = 0x7f;
/** Lengths in the second byte that stand for a 16-bit and for a 64-bit length behind it. */
export const LENGTH_16 = 126, LENGTH_64 = 127;

/** The longest header: two bytes, a 64-bit length, a masking key. */
export const MAX_HEADER_BYTES = 14;

/** What {@link putHeader} wrote. */
export interface PutHeader {
  /** Where the header begins. */
  start: number;
  /** For `applyMask`, in a frame of a client. */
  key: number;
}

/**
 * Writes the header of a whole, unfragmented frame so that it ends at `end`, with a fresh masking key for a client.
 *
 * @param into Has {@link MAX_HEADER_BYTES} before `end`.
 * @param length Of the payload, below 2³².
 * @param put Filled in: a new object for each frame would be the only garbage of sending one.
 */
export function putHeader(
  into: Uint8Array,
  end: number,
  role: WebSocketRole,
  opcode: number,
  length: number,
  put: PutHeader,
): void {
  const isMasked = role === "client";
  const lengthBytes = length < LENGTH_16 ? 0 : length <= 0xffff ? 2 : 8;
  let at = end - 2 - lengthBytes - (isMasked ? 4 : 0);
  put.start = at;
  into[at++] = FIN | opcode;
  into[at++] = (isMasked ? MASKED : 0) |
    (lengthBytes === 0 ? length : lengthBytes === 2 ? LENGTH_16 : LENGTH_64);
  if (lengthBytes === 8) {
    into.fill(0, at, at + 4);
    into[at + 4] = length >>> 24;
    into[at + 5] = length >>> 16;
    at += 6;
  }
  if (lengthBytes > 0) {
    into[at++] = length >>> 8;
    into[at++] = length;
  }
  if (!isMasked) return;
  const key = put.key = freshMaskingKey();
  into[at++] = key;
  into[at++] = key >>> 8;
  into[at++] = key >>> 16;
  into[at++] = key >>> 24;
}
