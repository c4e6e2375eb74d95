import { MAX_HEADER_BYTES } from "./frame.ts";

/** A few words, some frames of a multiplexer, bulk. */
const PAYLOAD_BYTES = [2 * 1024, 16 * 1024, 256 * 1024] as const;
/** How many of each size wait for the next taker. */
const MOST_SPARE = 16;

/** The most payload that a buffer has room for, behind a header. */
export const MAX_PAYLOAD_BYTES: number = PAYLOAD_BYTES[2];

const spare: ReadonlyMap<number, Uint8Array[]> = new Map(
  PAYLOAD_BYTES.map((size) => [MAX_HEADER_BYTES + size, []]),
);

/**
 * A buffer for the time of one write, with room for a header and `length` bytes: to bring back with {@link giveScratch}.
 * One of each connection's own would be most of what an idle tunnel costs.
 *
 * @param length At most {@link MAX_PAYLOAD_BYTES}.
 */
export function takeScratch(length: number): Uint8Array {
  const size = MAX_HEADER_BYTES + (PAYLOAD_BYTES.find((bytes) => length <= bytes) ?? length);
  return spare.get(size)?.pop() ?? new Uint8Array(size);
}

/** Takes a buffer back that nothing reads any more. */
export function giveScratch(buffer: Uint8Array): void {
  const list = spare.get(buffer.length);
  if (list !== undefined && list.length < MOST_SPARE) list.push(buffer);
}
