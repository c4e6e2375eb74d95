import type { ByteStream } from "../../byte_stream.ts";
import type { ByteCount } from "../relay.ts";

/** A stream that counts what passes: `read` what came from it, `written` what went to it. */
export function counting(stream: ByteStream, read: ByteCount, written: ByteCount): ByteStream {
  return new CountingStream(stream, read, written);
}

class CountingStream implements ByteStream {
  readonly #stream: ByteStream;
  /** Made once: a closure for each chunk would be garbage for each chunk. */
  readonly #countRead: (length: number | null) => number | null;
  readonly #countWritten: (length: number) => number;

  constructor(stream: ByteStream, read: ByteCount, written: ByteCount) {
    this.#stream = stream;
    this.#countRead = (length) => {
      read.bytes += length ?? 0;
      return length;
    };
    this.#countWritten = (length) => {
      written.bytes += length;
      return length;
    };
  }

  read(into: Uint8Array): Promise<number | null> {
    return this.#stream.read(into).then(this.#countRead);
  }

  write(data: Uint8Array): Promise<number> {
    return this.#stream.write(data).then(this.#countWritten);
  }

  closeWrite(): Promise<void> {
    return this.#stream.closeWrite();
  }

  close(): void {
    this.#stream.close();
  }
}
