import type { ByteStream } from "../byte_stream.ts";
import { BufferPool } from "../data_plane/buffers.ts";

/**
 * Room in front of what was read, for the head of a chunk (16 hexadecimal digits and CRLF at most), and behind it, for
 * CRLF and the last chunk (7): so a body is framed anew where it lies.
 */
const HEADROOM = 24;
const TAILROOM = 8;

/** What a silent peer is waited for with. A browser's head has 500 to 1,500 bytes. */
const smallBuffers = new BufferPool(2048, Infinity, 1024);
/** Heads and trailers that do not fit: 32 KiB at most. As many as there are connections, each for as long as a head may take. */
const headBuffers = new BufferPool(36 * 1024, Infinity, 32);
/** Bodies that come fast: at most 32 MiB of these are out, 8 MiB lie spare. */
const bigBuffers = new BufferPool(256 * 1024, 128, 32);
/** Bodies when every big buffer is out. At most 32 MiB of these are out. */
const mediumBuffers = new BufferPool(16 * 1024, 2048, 64);

/**
 * The one owner of the bytes that were read ahead from a stream. Waits with a small buffer, reads with a larger one while
 * much comes. Owns no stream: whoever made it closes the stream, and then calls {@link release}.
 */
export class ByteReader {
  readonly stream: ByteStream;
  #pool = smallBuffers;
  #buffer: Uint8Array<ArrayBuffer> | undefined;
  /** What lies ready is between these. */
  #start = HEADROOM;
  #end = HEADROOM;
  /** Whether the last read left no room: more is waiting then. */
  #filled = false;
  #finished = false;

  /** @param first Bytes that were read from the stream before; copied. At most 32 KiB. */
  constructor(stream: ByteStream, first?: Uint8Array) {
    this.stream = stream;
    if (first === undefined || first.length === 0) return;
    if (first.length > smallBuffers.size - HEADROOM - TAILROOM) this.#pool = headBuffers;
    this.#buffer = take(this.#pool);
    this.#buffer.set(first, HEADROOM);
    this.#end = HEADROOM + first.length;
  }

  /** Whether the peer's FIN has come. */
  get finished(): boolean {
    return this.#finished;
  }

  /** How many bytes lie ready. */
  get available(): number {
    return this.#end - this.#start;
  }

  /** The bytes that lie ready: a view that is valid until the next {@link fill} or {@link release}. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#buffer === undefined ? new Uint8Array() : this.#buffer.subarray(this.#start, this.#end);
  }

  /**
   * Reads at least one byte more behind those that lie ready. One at a time.
   *
   * @returns `false` after the peer's FIN.
   * @throws {RangeError} when 32 KiB lie ready that nobody consumes. And what the stream throws.
   */
  async fill(): Promise<boolean> {
    if (this.#finished) return false;
    const buffer = this.#start === this.#end ? this.#emptyBuffer() : this.#roomyBuffer();
    const room = buffer.subarray(this.#end, buffer.length - TAILROOM);
    const length = await this.stream.read(room);
    if (length === null) {
      this.#finished = true;
      return false;
    }
    this.#end += length;
    this.#filled = length === room.length;
    return true;
  }

  /** Takes the first `length` of the bytes that lie ready as dealt with. They stay where they are until the next fill. */
  consume(length: number): void {
    if (length < 0 || length > this.available) throw new RangeError(`No ${length} bytes lie ready`);
    this.#start += length;
  }

  /** Gives the buffer back; what lay ready is lost. Only when no fill is pending. Harmless twice. */
  release(): void {
    if (this.#buffer !== undefined) this.#pool.give(this.#buffer);
    this.#buffer = undefined;
    this.#pool = smallBuffers;
    this.#start = this.#end = HEADROOM;
    this.#filled = false;
  }

  /** The buffer to read into when nothing lies ready: large while reads fill it, small again as soon as one does not. */
  #emptyBuffer(): Uint8Array<ArrayBuffer> {
    this.#start = this.#end = HEADROOM;
    const wanted = this.#filled ? bulkPool(this.#pool) : smallBuffers;
    if (this.#buffer !== undefined && wanted === this.#pool) return this.#buffer;
    const next = wanted.take();
    if (next === undefined) return this.#buffer ?? this.#replace(take(smallBuffers), smallBuffers);
    return this.#replace(next, wanted);
  }

  /** The buffer with room behind what lies ready, which is moved to the front or into a larger buffer for it. */
  #roomyBuffer(): Uint8Array<ArrayBuffer> {
    const buffer = this.#buffer ?? take(this.#pool);
    const length = this.available;
    const most = buffer.length - HEADROOM - TAILROOM;
    if (length <= most / 2 || (length < most && buffer.length >= headBuffers.size)) {
      // Moved only when needed: what is moved is at most half of the room that this makes.
      if (this.#start > HEADROOM && this.#end > buffer.length - TAILROOM - most / 2) {
        buffer.copyWithin(HEADROOM, this.#start, this.#end);
        this.#start = HEADROOM;
        this.#end = HEADROOM + length;
      }
      return buffer;
    }
    if (buffer.length >= headBuffers.size) throw new RangeError("Nobody consumes what was read");
    const next = take(headBuffers);
    next.set(buffer.subarray(this.#start, this.#end), HEADROOM);
    this.#start = HEADROOM;
    this.#end = HEADROOM + length;
    return this.#replace(next, headBuffers);
  }

  #replace(next: Uint8Array<ArrayBuffer>, pool: BufferPool): Uint8Array<ArrayBuffer> {
    if (this.#buffer !== undefined) this.#pool.give(this.#buffer);
    this.#buffer = next;
    this.#pool = pool;
    return next;
  }
}

/** From a pool without a bound. */
function take(pool: BufferPool): Uint8Array<ArrayBuffer> {
  return pool.take() ?? new Uint8Array(pool.size);
}

function bulkPool(current: BufferPool): BufferPool {
  return current !== bigBuffers && !bigBuffers.available ? mediumBuffers : bigBuffers;
}
