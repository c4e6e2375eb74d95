import type { ByteStream } from "../../../core/plugin/mod.ts";
import { decodePayload, HEADER_BYTES, MAX_MESSAGE_BYTES, messageLength } from "./codec.ts";
import { ControlFault } from "./fault.ts";
import type { ControlMessage } from "./messages.ts";

/** Most messages have some 20 bytes, and an idle tunnel should cost little. */
const SMALL_BYTES = 256;

/**
 * Reads control messages that follow each other on a stream. It reads on only when it is asked for a message, so a peer
 * that sends more than is taken is held back by the stream.
 */
export class ControlReader {
  readonly #stream: Pick<ByteStream, "read">;
  readonly #maxBytes: number;
  #buffer = new Uint8Array(SMALL_BYTES);
  /** What was received and not taken yet. */
  #from = 0;
  #to = 0;

  /** @param options.maxBytes The most of one message, with its header. @default 65_536 */
  constructor(stream: Pick<ByteStream, "read">, options: { readonly maxBytes?: number } = {}) {
    this.#stream = stream;
    this.#maxBytes = options.maxBytes ?? MAX_MESSAGE_BYTES;
  }

  /**
   * The next message, or `null` when the stream has ended behind the last.
   *
   * @throws {ControlFault} See its codes for which of them can be read on after. Else what the stream throws.
   */
  async read(): Promise<ControlMessage | null> {
    for (;;) {
      const seen = this.#buffer.subarray(this.#from, this.#to);
      const length = messageLength(seen, this.#maxBytes);
      if (length !== undefined && length <= seen.length) return this.#take(length);
      this.#makeRoom(length ?? HEADER_BYTES);
      const read = await this.#stream.read(this.#buffer.subarray(this.#to));
      if (read === null) return this.#end();
      this.#to += read;
    }
  }

  #take(length: number): ControlMessage {
    const [type = 0] = this.#buffer.subarray(this.#from);
    const payload = this.#buffer.subarray(this.#from + HEADER_BYTES, this.#from + length);
    this.#from += length; // before it is decoded: behind a malformed message, the next one is in its place
    return decodePayload(type, payload);
  }

  #end(): null {
    if (this.#from < this.#to) {
      throw new ControlFault(
        "truncated",
        "The control stream ended inside a message",
        this.#buffer[this.#from],
      );
    }
    return null;
  }

  /** Makes room for more of a message of `length` bytes: as its bytes come, not as they are announced. */
  #makeRoom(length: number): void {
    if (this.#from === this.#to) {
      if (this.#buffer.length > SMALL_BYTES) this.#buffer = new Uint8Array(SMALL_BYTES);
      this.#from = this.#to = 0;
    }
    if (this.#from + length <= this.#buffer.length) return;
    this.#buffer.copyWithin(0, this.#from, this.#to);
    this.#to -= this.#from;
    this.#from = 0;
    if (this.#to < this.#buffer.length) return;
    const larger = new Uint8Array(Math.min(length, 2 * this.#buffer.length));
    larger.set(this.#buffer);
    this.#buffer = larger;
  }
}
