/** The most that a datagram of UDP over IPv4 can hold (RFC 768, RFC 791). Larger ones, which IPv6 can carry, are not taken. */
export const MAX_DATAGRAM_BYTES = 65_507;
/** The length that goes before each datagram. */
export const FRAME_HEADER_BYTES = 2;
/** What any datagram fits into with room to spare: one that is cut would look like a whole one. */
export const RECEIVE_BYTES = 64 * 1024;

/** A stream of datagrams that breaks the format. */
export class DatagramFault extends Error {
  override readonly name = "DatagramFault";
}

/**
 * Takes a byte stream apart into datagrams: each is its length (2 bytes, big-endian), and as many bytes. Holds one datagram at most,
 * and only when it comes in pieces.
 */
export class DatagramFrames {
  #input: Uint8Array = new Uint8Array();
  #at = 0;
  /** The first byte of a length whose second has not come; -1: none. */
  #high = -1;
  /** Of the datagram that has begun; -1: none has. */
  #length = -1;
  #partial: Uint8Array | undefined;
  #filled = 0;

  /** Whether what has come ends where a datagram does. */
  get isBetween(): boolean {
    return this.#high < 0 && this.#length < 0 && this.#at >= this.#input.length;
  }

  /** More of the stream; only once {@link next} has given all of what came before. */
  feed(bytes: Uint8Array): void {
    this.#input = bytes;
    this.#at = 0;
  }

  /**
   * The next whole datagram: a view that is good until the next {@link feed}. `undefined`: more has to come first.
   *
   * @throws {DatagramFault} One that is too long.
   */
  next(): Uint8Array | undefined {
    if (this.#length < 0 && !this.#readLength()) return undefined;
    const length = this.#length;
    const available = this.#input.length - this.#at;
    if (this.#partial === undefined) {
      if (available >= length) return this.#finish(this.#input.subarray(this.#at, this.#at += length));
      if (available === 0) return undefined;
      this.#partial = new Uint8Array(length);
      this.#filled = 0;
    }
    const taken = Math.min(available, length - this.#filled);
    this.#partial.set(this.#input.subarray(this.#at, this.#at + taken), this.#filled);
    this.#filled += taken;
    this.#at += taken;
    return this.#filled === length ? this.#finish(this.#partial) : undefined;
  }

  #finish(datagram: Uint8Array): Uint8Array {
    this.#length = -1;
    this.#partial = undefined;
    return datagram;
  }

  #readLength(): boolean {
    if (this.#high < 0) {
      if (this.#at >= this.#input.length) return false;
      this.#high = this.#input[this.#at++] ?? 0;
    }
    if (this.#at >= this.#input.length) return false;
    const length = this.#high << 8 | (this.#input[this.#at++] ?? 0);
    this.#high = -1;
    if (length > MAX_DATAGRAM_BYTES) throw new DatagramFault(`Datagram of ${length} bytes`);
    this.#length = length;
    return true;
  }
}
