/** What is smaller than this is left to the garbage collector. */
const LEAST_BYTES = 4096;

/** Whether nothing else can lie in the memory of `bytes`. */
export function isAlone({ buffer, byteOffset, byteLength }: Uint8Array): boolean {
  return byteOffset === 0 && byteLength === buffer.byteLength && buffer instanceof ArrayBuffer;
}

/**
 * Frees the memory that `bytes` lie in, at once: they are empty from now on. For bulk only, and for whom that memory belongs
 * to alone.
 *
 * The garbage collector looks through its whole heap to find it free, and does so again after every few ten MiB of it:
 * measured, that was half of the processor time that bulk took within TLS.
 */
export function freeMemory({ buffer }: Uint8Array): void {
  if (buffer.byteLength >= LEAST_BYTES && buffer instanceof ArrayBuffer) buffer.transfer(0);
}
