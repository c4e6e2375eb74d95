import type { ByteStream } from "../../../core/plugin/mod.ts";
import { ControlFault } from "../control/fault.ts";

/** The longest line that is taken: room for a token and some hundred hosts. */
export const MAX_LINE_BYTES = 64 * 1024;
/** What a pong needs, and a few to spare: an idle tunnel should cost little. */
const SMALL_BYTES = 256;
const LINE_FEED = 0x0a;

/** Reads lines off a stream, and no more than it is asked for: who sends more than is taken is held back by the stream. */
export class LineReader {
  readonly #stream: Pick<ByteStream, "read">;
  readonly #maxBytes: number;
  #buffer = new Uint8Array(SMALL_BYTES);
  /** What was received and not taken yet, and how much of it is known to have no end of a line. */
  #from = 0;
  #looked = 0;
  #to = 0;

  /** @param maxBytes The most of one line, without its end. */
  constructor(stream: Pick<ByteStream, "read">, maxBytes: number = MAX_LINE_BYTES) {
    this.#stream = stream;
    this.#maxBytes = maxBytes;
  }

  /**
   * The next line without its end, or `null` when the stream has ended behind the last. It is a copy.
   *
   * @throws {ControlFault} `too_long`, `truncated`. Else what the stream throws.
   */
  async read(): Promise<Uint8Array | null> {
    for (;;) {
      const end = this.#buffer.subarray(0, this.#to).indexOf(LINE_FEED, this.#looked);
      if ((end < 0 ? this.#to : end) - this.#from > this.#maxBytes) {
        throw new ControlFault("too_long", `A line of more than ${this.#maxBytes} bytes`);
      }
      if (end >= 0) return this.#take(end);
      this.#looked = this.#to;
      this.#makeRoom();
      const read = await this.#stream.read(this.#buffer.subarray(this.#to));
      if (read !== null) this.#to += read;
      else if (this.#from === this.#to) return null;
      else throw new ControlFault("truncated", "The control stream ended inside a line");
    }
  }

  #take(end: number): Uint8Array {
    const line = this.#buffer.slice(this.#from, end);
    this.#from = this.#looked = end + 1;
    return line;
  }

  #makeRoom(): void {
    if (this.#from === this.#to) {
      if (this.#buffer.length > SMALL_BYTES) this.#buffer = new Uint8Array(SMALL_BYTES);
      this.#from = this.#looked = this.#to = 0;
      return;
    }
    this.#buffer.copyWithin(0, this.#from, this.#to);
    this.#looked -= this.#from;
    this.#to -= this.#from;
    this.#from = 0;
    if (this.#to < this.#buffer.length) return;
    const larger = new Uint8Array(Math.min(this.#maxBytes + 1, 2 * this.#buffer.length));
    larger.set(this.#buffer);
    this.#buffer = larger;
  }
}
