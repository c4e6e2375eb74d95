import { Buffer } from "node:buffer";
import { BufferPool } from "../buffers.ts";

/** What an idle stream holds for its next read. */
const SMALL_BYTES = 4096;
/** The same where the memory is lent: beneath TLS, of which there is a lot that says little, as idle tunnels do. */
const SMALL_LENT_BYTES = 2048;
/** What a busy one reads into: measured, 16 KiB moves a third less through TLS. */
const LARGE_BYTES = 65536;
/**
 * Bulk for readers that are lent the memory: measured, 256 KiB takes TLS a fifth less time for each byte than 64 KiB
 * does. At most 16 MiB of these are out, 4 MiB lie spare.
 */
const bigBuffers = new BufferPool(256 * 1024, 64, 16);

/** Memory to read into, over and over: small while little comes, large as soon as a read has filled the small one. */
export interface ReadMemory {
  /** Where the next read goes. */
  readonly bytes: Uint8Array;
  /** What a read of `length` bytes has brought, for the reader. */
  hand(length: number): Buffer;
  /**
   * The reader has seen what it was handed. Chooses the memory for the next read.
   *
   * @param length How much that was.
   * @param waits Whether the reader has laid these very bytes aside.
   * @param behind Whether the reader is behind with what it made of them.
   */
  handed(length: number, waits: boolean, behind: boolean): void;
  /** Back to the small one. Nothing may be reading into {@link bytes} any more. */
  release(): void;
}

/** For readers that may keep what they get: it is theirs. */
export class GivenMemory implements ReadMemory {
  readonly #small = new Uint8Array(SMALL_BYTES);
  #large: Uint8Array<ArrayBuffer> | undefined;

  get bytes(): Uint8Array {
    return this.#large ?? this.#small;
  }

  /** A large buffer that came back well filled is given away rather than copied. */
  hand(length: number): Buffer {
    const large = this.#large;
    if (large !== undefined && length >= LARGE_BYTES / 2) {
      this.#large = new Uint8Array(LARGE_BYTES);
      return asBuffer(large, length);
    }
    const copy = Buffer.allocUnsafe(length);
    copy.set(this.bytes.subarray(0, length));
    return copy;
  }

  handed(length: number): void {
    if (this.#large === undefined) {
      if (length === SMALL_BYTES) this.#large = new Uint8Array(LARGE_BYTES);
    } else if (length <= SMALL_BYTES) {
      this.#large = undefined;
    }
  }

  release(): void {
    this.#large = undefined;
  }
}

/** For readers that copy at once what they get: the same memory is read into again, and nothing is allocated. */
export class LentMemory implements ReadMemory {
  #bytes = new Uint8Array(SMALL_LENT_BYTES);

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  hand(length: number): Buffer {
    return asBuffer(this.#bytes, length);
  }

  handed(length: number, waits: boolean, behind: boolean): void {
    if (waits) this.#replace();
    else if (length === SMALL_LENT_BYTES && this.#bytes.length === SMALL_LENT_BYTES) {
      this.#bytes = bigBuffers.take() ?? new Uint8Array(LARGE_BYTES);
    } else if (length <= SMALL_LENT_BYTES && !behind) {
      // Who is behind keeps its big buffer, so that their bound is one on what was made of them, too.
      this.release();
    }
  }

  release(): void {
    if (this.#bytes.length === SMALL_LENT_BYTES) return;
    if (this.#bytes.length === bigBuffers.size) bigBuffers.give(this.#bytes);
    this.#bytes = new Uint8Array(SMALL_LENT_BYTES);
  }

  /** Leaves the memory to the reader, who is not finished with it. */
  #replace(): void {
    if (this.#bytes.length === bigBuffers.size) bigBuffers.give(new Uint8Array(bigBuffers.size));
    this.#bytes = new Uint8Array(SMALL_LENT_BYTES);
  }
}

function asBuffer({ buffer, byteOffset }: Uint8Array, length: number): Buffer {
  return Buffer.from(buffer, byteOffset, length);
}
