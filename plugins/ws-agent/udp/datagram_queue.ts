import { FRAME_HEADER_BYTES } from "./datagram_frames.ts";

/** What may wait in one direction of one flow, with lengths: two datagrams of the largest kind, or some hundred ordinary ones. */
const MAX_WAITING_BYTES = 128 * 1024;
const FIRST_BUFFER_BYTES = 1024;
/** Twice of what may wait: it is moved to the front once for as many bytes as were put. */
const MAX_BUFFER_BYTES = 2 * MAX_WAITING_BYTES;
/** A larger buffer is given up when nothing waits. */
const KEPT_BUFFER_BYTES = 2048;
/** Of each buffer so much is not counted as shared: whatever others hold, an ordinary datagram always has room. */
const OWN_BUFFER_BYTES = 2048;
const NOTHING = new Uint8Array();

/** Memory that queues share. */
export class QueueMemory {
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  /** @returns False when so much is not left. */
  claim(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  release(bytes: number): void {
    this.#left += bytes;
  }
}

/**
 * Datagrams that wait for their stream, framed as they are sent. With too many, the oldest go: of a datagram protocol, the newest is
 * what counts. Two buffers take turns, so that putting costs one copy and nothing else.
 */
export class DatagramQueue {
  readonly #memory: QueueMemory;
  #buffer: Uint8Array = NOTHING;
  #spare: Uint8Array = NOTHING;
  #start = 0;
  #end = 0;
  #length = 0;

  constructor(memory: QueueMemory) {
    this.#memory = memory;
  }

  get isEmpty(): boolean {
    return this.#start === this.#end;
  }

  /** Datagrams that wait. */
  get length(): number {
    return this.#length;
  }

  /** Copies a datagram. @returns How many were dropped for it, or with it. */
  put(datagram: Uint8Array): number {
    const needed = FRAME_HEADER_BYTES + datagram.length;
    let dropped = 0;
    while (this.#end - this.#start + needed > MAX_WAITING_BYTES) dropped += this.#dropOldest();
    while (!this.#makeRoom(needed)) {
      if (this.isEmpty) return dropped + 1;
      dropped += this.#dropOldest();
    }
    const at = this.#end;
    this.#buffer[at] = datagram.length >>> 8;
    this.#buffer[at + 1] = datagram.length & 0xff;
    this.#buffer.set(datagram, at + FRAME_HEADER_BYTES);
    this.#end = at + needed;
    this.#length++;
    return dropped;
  }

  /** Takes out all that waits. It stays as it is until the next call. */
  take(): Uint8Array {
    const taken = this.#buffer.subarray(this.#start, this.#end);
    [this.#buffer, this.#spare] = [this.#spare, this.#buffer];
    this.#start = this.#end = this.#length = 0;
    return taken;
  }

  /** What was taken is not needed any more. */
  trim(): void {
    if (this.isEmpty && this.#buffer.length > KEPT_BUFFER_BYTES) this.#buffer = this.#free(this.#buffer);
    if (this.#spare.length > KEPT_BUFFER_BYTES) this.#spare = this.#free(this.#spare);
  }

  /** Gives all memory back. */
  close(): void {
    this.#start = this.#end = this.#length = 0;
    this.#buffer = this.#free(this.#buffer);
    this.#spare = this.#free(this.#spare);
  }

  #free(buffer: Uint8Array): Uint8Array {
    this.#memory.release(shared(buffer.length));
    return NOTHING;
  }

  #dropOldest(): 1 {
    const length = (this.#buffer[this.#start] ?? 0) << 8 | (this.#buffer[this.#start + 1] ?? 0);
    this.#start += FRAME_HEADER_BYTES + length;
    this.#length--;
    return 1;
  }

  /** @returns False when there is no memory for it. */
  #makeRoom(needed: number): boolean {
    if (this.#end + needed <= this.#buffer.length) return true;
    const waiting = this.#end - this.#start;
    // Moving what waits pays when that frees half of the buffer; else a larger one does.
    const mayGrow = this.#buffer.length < MAX_BUFFER_BYTES;
    const fits = waiting + needed <= this.#buffer.length;
    if (mayGrow && !(fits && waiting + needed <= this.#buffer.length / 2) && this.#grow(waiting, needed)) {
      return true;
    }
    if (!fits) return false;
    this.#buffer.copyWithin(0, this.#start, this.#end);
    this.#start = 0;
    this.#end = waiting;
    return true;
  }

  #grow(waiting: number, needed: number): boolean {
    let size = Math.max(FIRST_BUFFER_BYTES, 2 * this.#buffer.length);
    while (size < waiting + needed) size *= 2;
    if (!this.#memory.claim(shared(size) - shared(this.#buffer.length))) return false;
    const larger = new Uint8Array(size);
    larger.set(this.#buffer.subarray(this.#start, this.#end));
    this.#buffer = larger;
    this.#start = 0;
    this.#end = waiting;
    return true;
  }
}

/** How much of a buffer of `bytes` is of the shared memory. */
function shared(bytes: number): number {
  return Math.max(0, bytes - OWN_BUFFER_BYTES);
}
