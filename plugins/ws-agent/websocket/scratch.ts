/** For frames of a few words: a round trip of control messages, a keystroke. */
const SMALL_BYTES = 4 * 1024;
const LARGE_BYTES = 64 * 1024;
/** How many of each size wait for the next taker. */
const MOST_SPARE = 16;

const spare: Record<number, Uint8Array[]> = { [SMALL_BYTES]: [], [LARGE_BYTES]: [] };

/** The size of the largest buffer that {@link takeScratch} gives. */
export const MAX_SCRATCH_BYTES = LARGE_BYTES;

/**
 * A buffer for the time of one write, of at least `length` bytes: to bring back with {@link giveScratch}. A buffer of
 * each connection's own would be the most of what an idle tunnel costs.
 */
export function takeScratch(length: number): Uint8Array {
  const size = length <= SMALL_BYTES ? SMALL_BYTES : LARGE_BYTES;
  return spare[size]?.pop() ?? new Uint8Array(size);
}

/** Takes a buffer back that nothing reads any more. */
export function giveScratch(buffer: Uint8Array): void {
  const list = spare[buffer.length];
  if (list !== undefined && list.length < MOST_SPARE) list.push(buffer);
}
