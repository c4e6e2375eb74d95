import type { ByteStream } from "../byte_stream.ts";

/** A client that waits for a decision says no more than the end of its first flight, as a rule. */
const READ_AHEAD_BYTES = 4096;

const NOTHING = new Uint8Array();

/**
 * A client that waits while a plugin decides. Only a pending read shows that it has left, so this reads ahead, one
 * piece at most, and hands that out first. A client that sends more than a piece is not watched any further.
 */
export class WatchedClient implements ByteStream {
  readonly #stream: ByteStream;
  #ahead: Promise<number | null> | undefined;
  #piece: Uint8Array = new Uint8Array(READ_AHEAD_BYTES);

  /** @param onLeft Called when the client ends its side, or when it fails with `failed`. */
  constructor(stream: ByteStream, onLeft: (how: "ended" | "failed") => void) {
    this.#stream = stream;
    this.#ahead = stream.read(this.#piece);
    this.#ahead.then((length) => length === null && onLeft("ended"), () => onLeft("failed"));
  }

  read(into: Uint8Array): Promise<number | null> {
    return this.#ahead === undefined ? this.#stream.read(into) : this.#readPiece(this.#ahead, into);
  }

  async #readPiece(ahead: Promise<number | null>, into: Uint8Array): Promise<number | null> {
    const length = await ahead;
    if (length === null) return null;
    const taken = Math.min(length, into.length);
    into.set(this.#piece.subarray(0, taken));
    const isEmpty = taken === length;
    this.#piece = isEmpty ? NOTHING : this.#piece.subarray(taken);
    this.#ahead = isEmpty ? undefined : Promise.resolve(length - taken);
    return taken;
  }

  write(data: Uint8Array): Promise<number> {
    return this.#stream.write(data);
  }

  closeWrite(): Promise<void> {
    return this.#stream.closeWrite();
  }

  close(): void {
    this.#stream.close();
  }
}
