import { CR, LF } from "./characters.ts";

const DIGITS = new TextEncoder().encode("0123456789abcdef");

/** How many bytes {@link writeChunkHead} writes: the digits and CRLF. */
export function chunkHeadLength(size: number): number {
  let digits = 1;
  for (let left = Math.floor(size / 16); left > 0; left = Math.floor(left / 16)) digits++;
  return digits + 2;
}

/** Writes the line that begins a chunk of `size` bytes so that it ends at `end`. */
export function writeChunkHead(into: Uint8Array, end: number, size: number): void {
  into[end - 1] = LF;
  into[end - 2] = CR;
  let at = end - 2;
  let left = size;
  do {
    into[--at] = DIGITS[left % 16] as number;
    left = Math.floor(left / 16);
  } while (left > 0);
}
