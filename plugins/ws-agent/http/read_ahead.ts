import { type ByteStream, closeQuietly } from "../../../core/plugin/mod.ts";
import { ByteReader } from "../../../core/http1/mod.ts";

/** What may lie ready before reading ahead stops: half of what a {@link ByteReader} holds at the most. */
const MAX_AHEAD_BYTES = 16 * 1024;

/**
 * The reading side of a stream, which may be read from before its bytes are due: that is how the end of a peer shows who
 * owes nothing. Owns the stream.
 */
export class ReadAhead {
  readonly stream: ByteStream;
  readonly bytes: ByteReader;
  /** The last read that was started. */
  #last: Promise<boolean> | undefined;
  /** That same one while nobody has asked for it. */
  #unasked: Promise<boolean> | undefined;
  #closed = false;

  constructor(stream: ByteStream) {
    this.stream = stream;
    this.bytes = new ByteReader(stream);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** As {@link ByteReader.fill}: goes on with the read that waits, if one does. */
  fill(): Promise<boolean> {
    const pending = this.#unasked;
    if (pending === undefined) return this.#last = this.bytes.fill();
    this.#unasked = undefined;
    return pending;
  }

  /**
   * Reads already. Harmless when it does so, and when so much lies ready that there is no room.
   *
   * @param surprise Called when the read has ended before anyone asked for it by {@link fill}: with whether bytes came, or
   * `undefined` when the stream died. Not called once the stream was closed here.
   */
  ahead(surprise: (came: boolean | undefined) => void): void {
    if (this.#unasked !== undefined || this.#closed || this.bytes.available > MAX_AHEAD_BYTES) return;
    const pending = this.bytes.fill();
    this.#last = this.#unasked = pending;
    pending.then((came) => {
      if (this.#unasked === pending && !this.#closed) surprise(came);
    }, () => {
      if (this.#unasked === pending && !this.#closed) surprise(undefined);
    });
  }

  /** What is still to come as a stream of its own, for a relay. Nothing else may read then; closing it closes this. */
  rest(): ByteStream {
    return {
      read: (into) => this.#readRest(into),
      write: (data) => this.stream.write(data),
      closeWrite: () => this.stream.closeWrite(),
      close: () => this.close(),
    };
  }

  #readRest(into: Uint8Array): Promise<number | null> {
    if (this.#unasked !== undefined || this.bytes.available > 0) return this.#readReady(into);
    this.bytes.release();
    return this.stream.read(into);
  }

  async #readReady(into: Uint8Array): Promise<number | null> {
    if (this.bytes.available === 0 && !await this.fill()) return null;
    const ready = this.bytes.bytes.subarray(0, into.length);
    into.set(ready);
    this.bytes.consume(ready.length);
    return ready.length;
  }

  /** Closes the stream. What is pending rejects; closing twice is harmless. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeQuietly(this.stream);
  }

  /** Closes, and gives the memory back: nothing that was read may be looked at any more, by a write neither. */
  release(): void {
    this.close();
    const release = () => this.bytes.release();
    if (this.#last === undefined) release();
    else this.#last.then(release, release);
  }
}
