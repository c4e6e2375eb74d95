import { BufferPool, type ByteStream, writeAll } from "../../core/plugin/mod.ts";

/** What still fits behind the header in one piece. Larger first writes go by themselves: a copy would cost more than a frame. */
const MAX_TOGETHER_BYTES = 16 * 1024;

/** What most headers and first requests fit into, for the time of one write. */
const buffers = new BufferPool(2048, Infinity, 256);

/**
 * A stream to an agent that begins with `header`. It goes out together with the first bytes, as one frame of the
 * multiplexer, or alone as soon as somebody waits for the other side: the service may be the first to speak.
 */
export function withHeader(stream: ByteStream, header: Uint8Array): ByteStream {
  return new TunnelStream(stream, header);
}

class TunnelStream implements ByteStream {
  readonly #stream: ByteStream;
  /** Not sent yet. */
  #header: Uint8Array | undefined;
  /** The header is on its way by itself; only one write may be pending. */
  #sending: Promise<void> | undefined;

  constructor(stream: ByteStream, header: Uint8Array) {
    this.#stream = stream;
    this.#header = header;
  }

  read(into: Uint8Array): Promise<number | null> {
    if (this.#header !== undefined) this.#sendAlone();
    return this.#stream.read(into);
  }

  write(data: Uint8Array): Promise<number> {
    if (this.#header === undefined && this.#sending === undefined) return this.#stream.write(data);
    return this.#writeFirst(data);
  }

  async closeWrite(): Promise<void> {
    if (this.#header !== undefined) this.#sendAlone();
    await this.#sending;
    await this.#stream.closeWrite();
  }

  close(): void {
    this.#header = undefined;
    this.#stream.close();
  }

  async #writeFirst(data: Uint8Array): Promise<number> {
    const header = this.#header;
    if (header === undefined || data.length === 0 || data.length > MAX_TOGETHER_BYTES) {
      if (header !== undefined) this.#sendAlone();
      await this.#sending;
      return await this.#stream.write(data);
    }
    this.#header = undefined;
    const length = header.length + data.length;
    const buffer = length <= buffers.size ? buffers.take() : undefined;
    const together = buffer?.subarray(0, length) ?? new Uint8Array(length);
    together.set(header);
    together.set(data, header.length);
    const sending = writeAll(this.#stream, together);
    this.#sending = quietly(sending);
    try {
      await sending;
    } finally {
      this.#sending = undefined;
      if (buffer !== undefined) buffers.give(buffer);
    }
    return data.length;
  }

  /** What goes wrong shows at the next operation. */
  #sendAlone(): void {
    const header = this.#header;
    if (header === undefined) return;
    this.#header = undefined;
    this.#sending = quietly(writeAll(this.#stream, header)).then(() => this.#sending = undefined);
  }
}

function quietly(promise: Promise<void>): Promise<void> {
  return promise.catch(() => {});
}
