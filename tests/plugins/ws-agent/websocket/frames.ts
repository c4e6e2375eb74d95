import type { ByteStream } from "../../../../core/byte_stream.ts";
import type { CloseStatus } from "../../../../plugins/ws-agent/websocket/closing.ts";
import { FrameReader } from "../../../../plugins/ws-agent/websocket/frame_reader.ts";
import type { WebSocketRole } from "../../../../plugins/ws-agent/websocket/frame.ts";

/** The key of RFC 6455 §5.7's example. */
export const KEY: readonly number[] = [0x37, 0xfa, 0x21, 0x3d];

export interface FrameOptions {
  readonly opcode?: number;
  readonly fin?: boolean;
  /** RSV1 to RSV3, as they stand in the first byte. */
  readonly reserved?: number;
  readonly key?: readonly number[];
}

/** A frame made here, byte by byte, and not by what is tested. */
export function frame(payload: Uint8Array | string, options: FrameOptions = {}): Uint8Array {
  const { opcode = 2, fin = true, reserved = 0, key } = options;
  const bytes = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
  const { length } = bytes;
  const sizes = length < 126
    ? [length]
    : length < 65_536
    ? [126, length >> 8, length & 255]
    : [127, 0, 0, 0, 0, length >>> 24, length >> 16 & 255, length >> 8 & 255, length & 255];
  if (key !== undefined) sizes[0] = (sizes[0] ?? 0) | 0x80;
  return joined(
    [(fin ? 0x80 : 0) | reserved | opcode, ...sizes, ...(key ?? [])],
    key === undefined ? bytes : bytes.map((byte, i) => byte ^ (key[i % 4] ?? 0)),
  );
}

/** As an agent sends it. */
export function masked(payload: Uint8Array | string, options: FrameOptions = {}): Uint8Array {
  return frame(payload, { key: KEY, ...options });
}

export function joined(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Bytes that tell where they stand. */
export function numbered(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 255);
}

/** What came of bytes. `fault` is its code and message. */
export interface ReadFrames {
  readonly payload: Uint8Array;
  readonly pings: readonly string[];
  readonly close: CloseStatus | undefined;
  readonly fault: string | undefined;
}

/** What a frame reader makes of bytes that come in these pieces. */
export function readFrames(role: WebSocketRole, pieces: readonly Uint8Array[], now = () => 0): ReadFrames {
  const reader = new FrameReader(role, now);
  const payload: Uint8Array[] = [];
  const pings: string[] = [];
  for (const piece of pieces) {
    const bytes = piece.slice();
    payload.push(bytes.slice(0, reader.take(bytes, bytes.length)));
    const ping = reader.takePing();
    if (ping !== undefined) pings.push(new TextDecoder().decode(ping));
  }
  const { fault, close } = reader;
  return { payload: joined(...payload), pings, close, fault: fault && `${fault.code} ${fault.message}` };
}

/** `bytes` in pieces of `size`. */
export function inPieces(bytes: Uint8Array, size: number): Uint8Array[] {
  return Array.from(
    { length: Math.ceil(bytes.length / size) },
    (_, i) => bytes.subarray(i * size, (i + 1) * size),
  );
}

/** Reads what is there until `count` bytes have come. */
export async function readExactly(stream: ByteStream, count: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(count);
  for (let at = 0; at < count;) {
    const read = await stream.read(bytes.subarray(at));
    if (read === null) throw new Error(`The stream ended after ${at} of ${count} bytes`);
    at += read;
  }
  return bytes;
}
