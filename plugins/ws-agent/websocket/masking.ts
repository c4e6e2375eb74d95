/** Below this, finding the words costs more than they save. */
const LEAST_WORD_BYTES = 48;

/** How many keys one call of the generator gives: it costs about a microsecond, whatever it is asked for. */
const KEYS_AT_ONCE = 1024;

const keys = new Int32Array(KEYS_AT_ONCE);
let keysLeft = 0;

/**
 * A fresh key from the system's strong generator, as RFC 6455 §5.3 asks for every frame. It is the four bytes of the
 * wire as a little-endian word, which is the order of every machine that Deno runs on.
 */
export function freshMaskingKey(): number {
  if (keysLeft === 0) {
    crypto.getRandomValues(keys);
    keysLeft = KEYS_AT_ONCE;
  }
  const key = keys[--keysLeft] ?? 0;
  keys[keysLeft] = 0;
  return key;
}

/** The key for a payload of which `bytes` more have gone by. */
export function rotatedKey(key: number, bytes: number): number {
  const bits = (bytes & 3) << 3;
  return bits === 0 ? key : key >>> bits | key << 32 - bits;
}

/** The words of buffers that are used again and again. A view made anew for each frame would cost as much as masking 1 KiB. */
const wordsOf = new WeakMap<ArrayBufferLike, Int32Array>();

function words(buffer: ArrayBufferLike): Int32Array {
  let view = wordsOf.get(buffer);
  if (view === undefined) {
    view = new Int32Array(buffer, 0, buffer.byteLength >> 2);
    wordsOf.set(buffer, view);
  }
  return view;
}

/**
 * Masks or unmasks `bytes[from, to)` in place (RFC 6455 §5.3).
 *
 * @param key As {@link freshMaskingKey} gives it, rotated to where `from` is in the payload.
 */
export function applyMask(bytes: Uint8Array, from: number, to: number, key: number): void {
  if (to - from < LEAST_WORD_BYTES) {
    applyByteWise(bytes, from, to, key);
    return;
  }
  const unaligned = (4 - (bytes.byteOffset + from & 3)) & 3;
  applyByteWise(bytes, from, from + unaligned, key);
  const first = bytes.byteOffset + from + unaligned >> 2;
  const end = bytes.byteOffset + to >> 2;
  applyWordWise(words(bytes.buffer), first, end, rotatedKey(key, unaligned));
  const tail = (end << 2) - bytes.byteOffset;
  applyByteWise(bytes, tail, to, rotatedKey(key, unaligned));
}

function applyByteWise(bytes: Uint8Array, from: number, to: number, key: number): void {
  for (let at = from; at < to; at++) {
    bytes[at]! ^= key;
    key = key >>> 8 | key << 24;
  }
}

/** Eight a round: V8 checks the bounds of a plain loop at each step, which makes it 2.5 times as slow (measured). */
function applyWordWise(view: Int32Array, from: number, to: number, key: number): void {
  let at = from;
  for (const lastRound = to - 7; at < lastRound; at += 8) {
    view[at]! ^= key;
    view[at + 1]! ^= key;
    view[at + 2]! ^= key;
    view[at + 3]! ^= key;
    view[at + 4]! ^= key;
    view[at + 5]! ^= key;
    view[at + 6]! ^= key;
    view[at + 7]! ^= key;
  }
  for (; at < to; at++) view[at]! ^= key;
}
